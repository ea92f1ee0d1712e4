package store

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

func mustOpen(t testing.TB) (*Store, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "with space & ?.db")
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, file
}

func create(s *Store, name, owner string) error {
	_, err := s.CreateApp(context.Background(), name, owner)
	return err
}

func wantCode(t *testing.T, err error, want app.Code) {
	t.Helper()
	if got := app.CodeOf(err); got != want {
		t.Fatalf("code = %q (%v), want %q", got, err, want)
	}
}

func TestStore_Apps(t *testing.T) {
	ctx := context.Background()
	s, file := mustOpen(t)
	wantCode(t, create(s, "hello", "laptop"), "")
	wantCode(t, create(s, "hello", "other"), app.CodeExists)
	wantCode(t, create(s, "green-hello", "other"), app.CodeInvalidName)
	wantCode(t, create(s, "hello-v3", "laptop"), app.CodeInvalidName)
	wantCode(t, create(s, "broker", "laptop"), app.CodeInvalidName)
	again, err := Open(file) // what was written is there for another process
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	a, err := again.App(ctx, "hello")
	if err != nil || a.Owner != "laptop" || a.ID != 1 || a.Created.IsZero() {
		t.Fatalf("App = %+v, %v", a, err)
	}
	_, err = s.App(ctx, "none")
	wantCode(t, err, app.CodeNotFound)
	deleteApp(t, s, "hello")
	if all, err := s.Apps(ctx); err != nil || len(all) != 0 {
		t.Fatalf("Apps = %v, %v", all, err)
	}
}

func TestStore_Keys(t *testing.T) {
	ctx := context.Background()
	s, _ := mustOpen(t)
	k := app.Key{Name: "laptop", Public: "ssh-ed25519 AAAA", Fingerprint: "SHA256:a", Admin: true, Apps: []app.Scope{{Name: "x"}}}
	wantCode(t, s.AddKey(ctx, k), "")
	wantCode(t, s.AddKey(ctx, app.Key{Name: "laptop", Fingerprint: "SHA256:b"}), app.CodeExists)
	wantCode(t, s.AddKey(ctx, app.Key{Name: "second", Fingerprint: "SHA256:a"}), app.CodeExists)
	got, err := s.KeyByFingerprint(ctx, "SHA256:a")
	if err != nil || got.Name != "laptop" || !got.Admin || len(got.Apps) != 1 {
		t.Fatalf("KeyByFingerprint = %+v, %v", got, err)
	}
	if got, err := s.KeyByName(ctx, "laptop"); err != nil || got.Fingerprint != "SHA256:a" {
		t.Fatalf("KeyByName = %+v, %v", got, err)
	}
	_, err = s.KeyByName(ctx, "none")
	wantCode(t, err, app.CodeNotFound)
	_, err = s.KeyByFingerprint(ctx, "SHA256:none")
	wantCode(t, err, app.CodeNotFound)
	wantCode(t, s.RemoveKey(ctx, "laptop"), "")
	wantCode(t, s.RemoveKey(ctx, "laptop"), app.CodeNotFound)
}

func TestStore_Releases(t *testing.T) {
	ctx := context.Background()
	s, _ := mustOpen(t)
	wantCode(t, create(s, "hello", "laptop"), "")
	var wg sync.WaitGroup
	for range 20 { // versions are handed out one by one
		wg.Go(func() {
			if _, err := s.AddRelease(ctx, app.Release{App: "hello", Commit: "c", Ref: "refs/heads/main", Key: "laptop", Message: "what it is"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	steps := []Event{
		{State: app.StateBuilding},
		{State: app.StateBuilt, Repository: "hello", Digest: "sha256:1", Processes: []app.Process{{Type: "web"}}},
		{State: app.StateStarting, Revision: "hello-v20", Service: []byte("{}")},
		{State: app.StateLive},
	}
	for _, e := range steps {
		if err := s.AddEvent(ctx, "hello", 20, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddEvent(ctx, "hello", 19, Event{State: app.StateFailed, Reason: "build failed"}); err != nil {
		t.Fatal(err)
	}
	all, err := s.Ledger("hello").Page(ctx, 0, 100)
	if err != nil || len(all) != 20 {
		t.Fatalf("%d releases, %v", len(all), err)
	}
	last := all[0]
	if last.Version != 20 || last.State != app.StateLive || last.Digest != "sha256:1" || last.Revision != "hello-v20" || last.Message != "what it is" ||
		len(last.Processes) != 1 || last.Finished.IsZero() {
		t.Fatalf("last = %+v", last)
	}
	if all[1].State != app.StateFailed || all[1].Reason != "build failed" {
		t.Fatalf("v19 = %+v", all[1])
	}
	open, err := s.Unfinished(ctx)
	if err != nil || len(open) != 18 {
		t.Fatalf("%d unfinished, %v", len(open), err)
	}
	if _, err := s.db.Exec("UPDATE release_events SET state = 'live'"); err == nil {
		t.Fatal("the ledger was rewritten")
	}
	if err := s.AddEvent(ctx, "nope", 1, Event{State: app.StateLive}); err == nil {
		t.Fatal("an event without a release was taken")
	}
	deleteApp(t, s, "hello")
	if all, err := s.Ledger("hello").Page(ctx, 0, 100); err != nil || len(all) != 0 {
		t.Fatalf("after delete: %v, %v", all, err)
	}
}

// A database that a later version has migrated is refused, named, and left as it is.
func TestOpen_NewerDatabase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gitd.db")
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Exec(fmt.Sprintf("PRAGMA user_version = %d", len(migrations)+1)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for range 2 {
		_, err = Open(file)
		if app.CodeOf(err) != app.CodeUnavailable || !strings.Contains(err.Error(), file+" was written by a newer gitd") {
			t.Fatalf("%v", err)
		}
	}
}
