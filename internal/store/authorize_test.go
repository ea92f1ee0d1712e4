package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// caller registers a key, and returns it as it is identified.
func caller(t *testing.T, s *Store, k app.Key) app.Caller {
	t.Helper()
	if k.Fingerprint == "" {
		k.Fingerprint = "SHA256:" + k.Name
	}
	if err := s.AddKey(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	k, err := s.KeyByFingerprint(t.Context(), k.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return app.Caller{Key: k}
}

func enter(s *Store, by app.Caller, name string, id int64) (app.Release, error) {
	return s.Enter(context.Background(), by, app.Release{App: name, AppID: id, Commit: "c", Ref: "refs/heads/main"})
}

func wantError(t *testing.T, err error, code app.Code, words string) {
	t.Helper()
	if app.CodeOf(err) != code || err != nil && !strings.Contains(err.Error(), words) {
		t.Fatalf("%q (%s), want %s: …%s…", err, app.CodeOf(err), code, words)
	}
}

// The attack: a push is authorised while no app has its name; when it comes to the release, the app belongs to another key. Or it was
// authorised for an app that was destroyed meanwhile, and the name belongs to another app.
func TestAttack_Enter(t *testing.T) {
	s, _ := mustOpen(t)
	owner, other := caller(t, s, app.Key{Name: "owner"}), caller(t, s, app.Key{Name: "other"})
	for _, c := range []app.Caller{owner, other} {
		if a, err := s.Authorize(t.Context(), c, "shop", app.VerbPush); err != nil || a.ID != 0 {
			t.Fatal(a, err)
		}
	}
	r, err := enter(s, owner, "shop", 0)
	if err != nil || r.Version != 1 || r.AppID != 1 || r.Key != "owner" {
		t.Fatal(r, err)
	}
	_, err = enter(s, other, "shop", 0)
	wantError(t, err, app.CodeForbidden, `the key "other" has no right to push the app "shop"`)
	_, err = s.CreateAppAs(t.Context(), other, "shop")
	wantError(t, err, app.CodeForbidden, "no right")
	wantError(t, s.WhileAbsent(t.Context(), "shop", func() error { t.Error("called"); return nil }), "", "")
	if _, err := enter(s, owner, "shop", r.AppID); err != nil {
		t.Fatal(err)
	}
	deleteApp(t, s, "shop")
	_, err = enter(s, owner, "shop", r.AppID)
	wantError(t, err, app.CodeNotFound, "destroyed meanwhile")
	if _, err := s.CreateAppAs(t.Context(), owner, "shop"); err != nil {
		t.Fatal(err)
	}
	_, err = enter(s, owner, "shop", r.AppID)
	wantError(t, err, app.CodeNotFound, "destroyed meanwhile")
	if page, err := s.Ledger("shop").Page(t.Context(), 0, 10); err != nil || len(page) != 0 {
		t.Fatal(page, err)
	}
}

// Many keys create the same app at once: it belongs to one of them, and the others are refused.
func TestAttack_CreateAtOnce(t *testing.T) {
	s, _ := mustOpen(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []string
	for i := range 8 {
		c := caller(t, s, app.Key{Name: fmt.Sprint("key", i)})
		wg.Go(func() {
			if _, err := enter(s, c, "shop", 0); err == nil {
				mu.Lock()
				won = append(won, c.Key.Name)
				mu.Unlock()
			} else if app.CodeOf(err) != app.CodeForbidden {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	a, err := s.App(t.Context(), "shop")
	if err != nil || !slices.Equal(won, []string{a.Owner}) {
		t.Fatalf("%+v, %v; entered: %v", a, err, won)
	}
}

// A key that was removed, or registered again in another way, has no rights on what was begun with it.
func TestAttack_ChangedKey(t *testing.T) {
	for _, tt := range []struct {
		name   string
		again  *app.Key
		words  string
		allows bool
	}{
		{"Removed", nil, "the key temp was removed", false},
		{"AnotherPublicKey", &app.Key{Name: "temp", Fingerprint: "SHA256:new"}, "the key temp was changed", false},
		{"Scoped", &app.Key{Name: "temp", Fingerprint: "SHA256:temp", Apps: []app.Scope{{Name: "blog"}}}, "the key temp was changed", false},
		{"Admin", &app.Key{Name: "temp", Fingerprint: "SHA256:temp", Admin: true}, "the key temp was changed", false},
		{"TheSameAgain", &app.Key{Name: "temp", Fingerprint: "SHA256:temp"}, "the key temp was changed", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := mustOpen(t)
			c := caller(t, s, app.Key{Name: "temp"})
			r, err := enter(s, c, "shop", 0)
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, s.RemoveKey(t.Context(), "temp"), "")
			if tt.again != nil {
				caller(t, s, *tt.again)
			}
			_, err = enter(s, c, "shop", r.AppID)
			wantError(t, err, app.CodeForbidden, tt.words)
			wantError(t, s.Confirm(t.Context(), c, "shop", r.AppID, app.VerbPush), app.CodeForbidden, tt.words)
			wantError(t, s.Confirm(t.Context(), c, "", 0, app.VerbUse), app.CodeForbidden, tt.words)
			_, err = s.Authorize(t.Context(), c, "shop", app.VerbRead)
			wantError(t, err, app.CodeForbidden, tt.words)
		})
	}
}

// A key with --app is bound to that app: to the one that exists, or to the first that is created. Another that comes under its name is not meant.
func TestAttack_ScopeFollowsNoName(t *testing.T) {
	s, _ := mustOpen(t)
	owner, third := caller(t, s, app.Key{Name: "owner"}), caller(t, s, app.Key{Name: "third"})
	before := caller(t, s, app.Key{Name: "before", Apps: []app.Scope{{Name: "shop"}}})
	_, err := enter(s, before, "shop", 0)
	wantError(t, err, app.CodeForbidden, "no right")
	if _, err := enter(s, owner, "shop", 0); err != nil {
		t.Fatal(err)
	}
	after := caller(t, s, app.Key{Name: "after", Apps: []app.Scope{{Name: "shop"}}})
	for _, c := range []app.Caller{before, after} { // before was identified before its app was there: that is no change of the key
		if _, err := enter(s, c, "shop", 0); err != nil {
			t.Fatal(c.Key.Name, err)
		}
	}
	deleteApp(t, s, "shop")
	for _, c := range []app.Caller{before, after} {
		_, err = s.Authorize(t.Context(), c, "shop", app.VerbPush)
		wantError(t, err, app.CodeForbidden, "no right")
	}
	if _, err := enter(s, third, "shop", 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []app.Caller{before, after} {
		for _, verb := range []app.Verb{app.VerbRead, app.VerbPush, app.VerbDelete} {
			_, err = s.Authorize(t.Context(), c, "shop", verb)
			wantError(t, err, app.CodeForbidden, "no right")
		}
	}
}

func TestMigration_Scopes(t *testing.T) {
	s, err := Open(openAt(t, 3, `INSERT INTO apps (id, name, owner, created) VALUES (7, 'shop', 'x', 5)`,
		`INSERT INTO keys VALUES ('ci', 'p', 'f', 0, '["shop","later"]', 5), ('all', 'p', 'g', 0, 'null', 5), ('root', 'p', 'h', 1, '[]', 5)`))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	keys, err := s.Keys(t.Context())
	if err != nil || len(keys) != 3 || len(keys[0].Apps) != 0 || !slices.Equal(keys[1].Apps, []app.Scope{{Name: "later"}, {Name: "shop", ID: 7}}) || len(keys[2].Apps) != 0 ||
		!keys[0].Added.Equal(time.UnixMilli(5)) {
		t.Fatalf("%+v, %v", keys, err)
	}
}

func TestStore_Watch(t *testing.T) {
	s, file := mustOpen(t)
	other, err := Open(file) // as another process
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ctx, stop := context.WithCancel(t.Context())
	called, ended := make(chan struct{}, 100), make(chan error, 1)
	fail := true
	go func() {
		ended <- s.Watch(ctx, func() error {
			called <- struct{}{}
			if fail { // once: it is called again
				fail = false
				return context.DeadlineExceeded
			}
			return nil
		})
	}()
	next := func(what string) {
		t.Helper()
		select {
		case <-called:
		case <-time.After(time.Minute):
			t.Fatal("not called:", what)
		}
	}
	next("at first")
	next("after a failure")
	c := caller(t, s, app.Key{Name: "a"})
	next("a key was added here")
	wantCode(t, other.RemoveKey(ctx, "a"), "")
	next("a key was removed by another process")
	caller(t, s, app.Key{Name: "b"})
	next("another key was added")
	wantError(t, s.Confirm(ctx, c, "", 0, app.VerbUse), app.CodeForbidden, "removed")
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// TestStore_AppsFor: a list has the apps for which Authorize says yes, one by one, and no other.
func TestStore_AppsFor(t *testing.T) {
	s, _ := mustOpen(t)
	owner, other := caller(t, s, app.Key{Name: "owner"}), caller(t, s, app.Key{Name: "other"})
	for _, name := range []string{"shop", "blog"} {
		a, err := s.CreateAppAs(t.Context(), owner, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.EnterPreview(t.Context(), owner, name, a.ID, "feature", time.Hour, 10); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.CreateAppAs(t.Context(), other, "wiki"); err != nil {
		t.Fatal(err)
	}
	bot := caller(t, s, app.Key{Name: "bot", Apps: []app.Scope{{Name: "shop"}, {Name: "later"}}})
	admin := caller(t, s, app.Key{Name: "admin", Admin: true})
	all, err := s.Apps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, c := range []app.Caller{owner, other, bot, admin, app.Root} {
		for _, verb := range []app.Verb{app.VerbRead, app.VerbPush, app.VerbChange, app.VerbDelete} {
			var want []app.App
			for _, a := range all {
				if _, err := s.Authorize(t.Context(), c, a.Name, verb); err == nil {
					want = append(want, a)
				}
			}
			seen[len(want)] = true
			if got, err := s.AppsFor(t.Context(), c, verb); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, %s: %v, %v; want %v", c.Name(), verb, got, err, want)
			}
		}
	}
	if len(seen) < 3 {
		t.Errorf("the keys have too much in common: %v", seen)
	}
	if err := s.RemoveKey(t.Context(), "owner"); err != nil {
		t.Fatal(err)
	}
	_, err = s.AppsFor(t.Context(), owner, app.VerbRead)
	wantError(t, err, app.CodeForbidden, "the key owner was removed")
}
