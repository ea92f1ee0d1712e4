package store

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// What becomes of apps and releases is entered to be told together with it, in order, and stays until it was told.
func TestOutbox(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gitd.db")
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.CreateApp(t.Context(), "shop", "ann")
	if err != nil {
		t.Fatal(err)
	}
	released(t, s, app.KindPush, Event{State: app.StateFailed, Reason: "no"})
	released(t, s, app.KindPush, Event{State: app.StateLive})
	released(t, s, app.KindConfig, Event{State: app.StateLive})
	deleteApp(t, s, "shop")
	if err := s.Close(); err != nil { // the process ends before it has told any of it
		t.Fatal(err)
	}
	if s, err = Open(file); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, err := s.Untold(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	var what []string
	ids := map[string]bool{}
	for _, u := range all {
		what = append(what, u.What)
		ids[u.ID] = true
		if u.App.Name != "shop" || u.App.ID != a.ID || u.App.Owner != "ann" || u.At.IsZero() {
			t.Errorf("%+v", u)
		}
	}
	if want := []string{"created", "received", "failed", "received", "live", "received", "live", "destroyed"}; !slices.Equal(what, want) || len(ids) != len(want) {
		t.Fatalf("%q, want %q", what, want)
	}
	if u := all[2]; u.Version != 1 || u.Reason != "no" || !u.First || u.Kind != app.KindPush || u.Commit != "c0ffee" || u.Digest != "sha256:ab" {
		t.Errorf("%+v", u)
	}
	if u := all[4]; u.Version != 2 || !u.First || u.GetsEvents || u.Revision != "shop-v1" {
		t.Errorf("%+v", u)
	}
	if u := all[6]; u.Version != 3 || u.First || !u.GetsEvents || u.Kind != app.KindConfig {
		t.Errorf("%+v", u)
	}
	if u := all[7]; u.Version != 3 {
		t.Errorf("%+v", u)
	}
	knownUntilTold(t, s, a.ID, all[6].Number, all[7].Number)
}

// released enters a release of the app shop that ends so.
func released(t *testing.T, s *Store, kind app.Kind, end Event) {
	t.Helper()
	r, err := s.AddRelease(t.Context(), app.Release{App: "shop", Commit: "c0ffee", Ref: "refs/heads/main", Key: "ann", Kind: kind})
	for _, e := range []Event{{State: app.StateStarting, Digest: "sha256:ab", Repository: "shop", Revision: "shop-v1", Service: []byte("{}"), GetsEvents: kind == app.KindConfig}, end} {
		if err == nil {
			err = s.AddEvent(t.Context(), "shop", r.Version, e)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// knownUntilTold checks that whose a destroyed app was is known until that is told: before is the number of what is told before, last that of its end.
func knownUntilTold(t *testing.T, s *Store, id, before, last int64) {
	t.Helper()
	for _, c := range []struct {
		upTo int64
		want string
	}{{before, "ann"}, {last, ""}} {
		if err := s.Told(t.Context(), c.upTo); err != nil {
			t.Fatal(err)
		}
		r, err := s.Rights(t.Context(), nil)
		if err != nil || r.Owner(id) != c.want {
			t.Errorf("%q, %v, want %q", r.Owner(id), err, c.want)
		}
	}
	if left, err := s.Untold(t.Context(), 100); len(left) > 0 || err != nil {
		t.Error(left, err)
	}
}
