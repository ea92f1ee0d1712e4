package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

const week = 7 * 24 * time.Hour

func TestPreviews(t *testing.T) {
	s, _ := mustOpen(t)
	now := time.UnixMilli(1_800_000_000_000)
	s.Now = func() time.Time { return now }
	s.AppsPerKey = 1
	owner, other, bot := caller(t, s, app.Key{Name: "owner"}), caller(t, s, app.Key{Name: "other"}), caller(t, s, app.Key{Name: "bot", Apps: []app.Scope{{Name: "hello"}}})
	hello, err := s.CreateAppAs(t.Context(), owner, "hello")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateApp(t.Context(), "y--hello", "other"); err != nil { // of an older gitd
		t.Fatal(err)
	}
	bot.Key, _ = s.KeyByName(t.Context(), "bot")
	enter := func(by app.Caller, branch string, limit int) (app.App, bool, error) {
		return s.EnterPreview(t.Context(), by, "hello", hello.ID, branch, week, limit)
	}

	// Who may push the app may make previews, which belong to its owner and do not count as apps of the key.
	_, _, err = enter(other, "feature/x", 10)
	wantError(t, err, app.CodeForbidden, "has no right to push")
	for branch, want := range map[string]string{"feature/x": "feature-x--hello", "y": "y-a1fce4--hello", "green": "green--hello"} {
		a, made, err := enter(bot, branch, 10)
		if err != nil || !made || a.Name != want || a.Owner != "owner" || a.Parent != "hello" || a.Branch != branch {
			t.Errorf("%+v, %v, %v, want %s", a, made, err, want)
		}
	}
	now = now.Add(time.Hour)
	again, made, err := enter(owner, "feature/x", 1)
	if err != nil || made || again.Name != "feature-x--hello" {
		t.Errorf("the second push: %+v, %v, %v", again, made, err)
	}
	if a, _, err := enter(owner, "feature-x", 10); err != nil || a.Name != "feature-x-c791eb--hello" {
		t.Errorf("the same slug: %+v, %v", a, err)
	}
	if a, _, err := enter(owner, "green/x", 10); err != nil || a.Name == "green-feature-x--hello" {
		t.Errorf("%+v, %v", a, err)
	}
	// The name that an address of a release of another one has.
	if a, _, err := enter(owner, "green-feature-x", 10); err != nil || a.Name == "green-feature-x--hello" {
		t.Errorf("the address of feature-x--hello's releases: %+v, %v", a, err)
	}
	if _, _, err := enter(owner, "one-more", 6); !errors.Is(err, ErrPreviewsFull) {
		t.Errorf("beyond the limit: %v", err)
	}
	_, _, err = s.EnterPreview(t.Context(), owner, "hello", hello.ID+100, "z", week, 10)
	wantError(t, err, app.CodeNotFound, "destroyed meanwhile")

	testPreviewRights(t, s, owner, other, bot)
	if _, err := s.Authorize(t.Context(), other, "y--hello", app.VerbPush); err != nil {
		t.Errorf("an app with such a name from before: %v", err)
	}
	testPreviewList(t, s, hello, now, &now)
}

// testPreviewRights: the rights to a preview are those to its app, but that to destroy it, which a push has.
func testPreviewRights(t *testing.T, s *Store, owner, other, bot app.Caller) {
	t.Helper()
	for _, c := range []struct {
		by   app.Caller
		verb app.Verb
		may  bool
	}{{owner, app.VerbPush, true}, {bot, app.VerbRead, true}, {bot, app.VerbPush, true}, {bot, app.VerbChange, true}, {bot, app.VerbDelete, true}, {app.Root, app.VerbDelete, true},
		{other, app.VerbRead, false}, {other, app.VerbPush, false}, {other, app.VerbDelete, false}} {
		if _, err := s.Authorize(t.Context(), c.by, "feature-x--hello", c.verb); (err == nil) != c.may {
			t.Errorf("%s %s: %v", c.by.Name(), c.verb, err)
		}
	}
	_, err := s.Authorize(t.Context(), bot, "hello", app.VerbDelete)
	wantError(t, err, app.CodeForbidden, "has no right to delete")
	_, err = s.CreateAppAs(t.Context(), other, "z--hello")
	wantError(t, err, app.CodeInvalidName, "names with -- are those of previews")
}

// testPreviewList lists the previews of hello, six of which were pushed by now, four of them in this moment, and removes them.
func testPreviewList(t *testing.T, s *Store, hello app.App, pushed time.Time, now *time.Time) {
	t.Helper()
	var names []string
	all, err := s.Previews(t.Context(), "hello")
	for _, p := range all {
		names = append(names, p.Branch)
	}
	if err != nil || len(all) != 6 || all[0].Pushed != pushed || all[0].Expires != pushed.Add(week) || slices.Index(names, "feature/x") > 3 {
		t.Errorf("%v, %v", names, err)
	}
	*now = pushed.Add(week - time.Minute)
	expired, err := s.ExpiredPreviews(t.Context())
	if err != nil || len(expired) != 2 {
		t.Errorf("expired: %v, %v", expired, err)
	}
	if err := s.DeleteApp(t.Context(), hello.ID); err == nil {
		t.Error("an app is deleted before its previews")
	}
	if p, err := s.FindPreview(t.Context(), "hello", "feature-x--hello"); err != nil || p.Branch != "feature/x" {
		t.Errorf("%+v, %v", p, err)
	}
	_, err = s.FindPreview(t.Context(), "y--hello", "feature-x--hello")
	wantError(t, err, app.CodeNotFound, "has no preview of the branch")
	for _, p := range all {
		if err := s.DeleteApp(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteApp(t.Context(), hello.ID); err != nil {
		t.Error(err)
	}
}

// Two hundred branches that look the same where they are shortened have two hundred names, each of which is one of an app and of a host; the next finds no room.
func TestPreviews_Many(t *testing.T) {
	s, _ := mustOpen(t)
	hello, err := s.CreateApp(t.Context(), "hello", "dev")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	branches := []string{}
	for i := range 200 {
		branches = append(branches, fmt.Sprintf("%s/%d", strings.Repeat([]string{"a", "A", "a/", "-a", "é"}[i%5], 100), i))
	}
	for _, branch := range branches {
		a, made, err := s.EnterPreview(t.Context(), app.Root, "hello", hello.ID, branch, week, 200)
		if err != nil || !made || names[a.Name] != "" || len(a.Name) > 63 || !strings.HasSuffix(a.Name, "--hello") {
			t.Fatalf("%s: %+v, %v, %v, beside %q", branch, a, made, err, names[a.Name])
		}
		names[a.Name] = branch
	}
	for name, branch := range names {
		if p, err := s.FindPreview(t.Context(), "hello", name); err != nil || p.Branch != branch {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if p, err := s.FindPreview(t.Context(), "hello", branch); err != nil || p.App.Name != name {
			t.Errorf("%s: %+v, %v", branch, p, err)
		}
	}
	if _, _, err := s.EnterPreview(t.Context(), app.Root, "hello", hello.ID, "one-more", week, 200); !errors.Is(err, ErrPreviewsFull) {
		t.Errorf("one more: %v", err)
	}
	if all, err := s.Previews(t.Context(), "hello"); err != nil || len(all) != 200 {
		t.Errorf("%d, %v", len(all), err)
	}
}

// What an app's list of previews costs does not grow with those of others.
func TestPreviews_ReadIndexes(t *testing.T) {
	s, _ := mustOpen(t)
	for where, arg := range map[string]any{"WHERE p.parent = ? ORDER BY p.pushed DESC, p.app": "hello", "WHERE p.parent = ? AND p.branch = 'x'": "hello"} {
		rows, err := s.db.Query("EXPLAIN QUERY PLAN "+selectPreviews+where, arg)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			if len(step) > 4 && step[:4] == "SCAN" {
				t.Errorf("%s: %s", where, step)
			}
		}
		rows.Close()
	}
}

func BenchmarkPreviews(b *testing.B) {
	s, _ := mustOpen(b)
	a, err := s.CreateApp(b.Context(), "hello", "dev")
	if err != nil {
		b.Fatal(err)
	}
	for i := range 200 {
		if _, _, err := s.EnterPreview(b.Context(), app.Root, "hello", a.ID, fmt.Sprint("feature/", i), week, 1000); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("list 200", func(b *testing.B) {
		for b.Loop() {
			if all, err := s.Previews(b.Context(), "hello"); err != nil || len(all) != 200 {
				b.Fatal(len(all), err)
			}
		}
	})
	b.Run("push one of 200", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := s.EnterPreview(b.Context(), app.Root, "hello", a.ID, "feature/7", week, 1000); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A build cache is lent to previews while no build has had a variable that they do not have.
func TestKeptFromPreviews(t *testing.T) {
	s, _ := mustOpen(t)
	a, err := s.CreateApp(t.Context(), "hello", "dev")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		variables []app.Variable
		want      bool
	}{
		{nil, false},
		{[]app.Variable{{Name: "A"}, {Name: "B", Preview: true}, {Name: "C", Build: true, Preview: true}}, false},
		{[]app.Variable{{Name: "A"}, {Name: "D", Build: true}}, true},
		{[]app.Variable{{Name: "A"}}, true}, // an older version had one
	} {
		if _, err := s.AddConfiguration(t.Context(), a.ID, app.Configuration{Variables: c.variables, Sealed: []byte("x")}, true); err != nil {
			t.Fatal(err)
		}
		if got, err := s.KeptFromPreviews(t.Context(), a.ID); err != nil || got != c.want {
			t.Errorf("%+v: %v, %v", c.variables, got, err)
		}
	}
}
