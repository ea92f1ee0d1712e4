package store

import (
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// An app is stopped until it is started, or until the next release goes live.
func TestStore_Stops(t *testing.T) {
	s, _ := mustOpen(t)
	if _, err := s.CreateApp(t.Context(), "hello", "dev"); err != nil {
		t.Fatal(err)
	}
	live := func() app.Release {
		t.Helper()
		r, err := s.AddRelease(t.Context(), app.Release{App: "hello", Key: "dev"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddEvent(t.Context(), "hello", r.Version, Event{State: app.StateLive, Revision: app.RevisionName("hello", r.Version)}); err != nil {
			t.Fatal(err)
		}
		return r
	}
	want := func(r app.Release, stopped bool) {
		t.Helper()
		st, err := s.Ledger("hello").Stopped(t.Context(), r.Version)
		if err != nil || (st != nil) != stopped {
			t.Errorf("v%d: %+v, %v", r.Version, st, err)
		}
		all, err := s.Stops(t.Context())
		if _, listed := all["hello"]; err != nil || listed != stopped {
			t.Errorf("v%d: %+v, %v", r.Version, all, err)
		}
	}
	v1 := live()
	want(v1, false)
	for _, stopped := range []bool{true, false, true} {
		if err := s.SetStopped(t.Context(), app.Root, "hello", v1.Version, stopped); err != nil {
			t.Fatal(err)
		}
		want(v1, stopped)
	}
	want(live(), false)
	if err := s.SetStopped(t.Context(), app.Caller{Key: app.Key{Name: "other"}}, "hello", 2, true); app.CodeOf(err) != app.CodeForbidden {
		t.Errorf("a stranger: %v", err)
	}
}
