package contract

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// dead are the numbers of an app's dead letters.
func (a *testApp) dead(t *testing.T) []int64 {
	t.Helper()
	list, err := a.s.Platform.List(t.Context(), event.Query{Dead: true, Apps: map[int64]bool{a.of.ID: true}, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	numbers := []int64{}
	for _, r := range list {
		numbers = append(numbers, r.Number)
	}
	slices.Sort(numbers)
	return numbers
}

// What cannot be delivered is kept, listed with the reason, and delivered when it is asked for.
func (s *suite) deadLetters(t *testing.T) {
	a := s.app(t)
	bad := a.trigger("bad", pathOf(400), "")
	a.set(t, bad)
	one, two := a.send(t, "d1", "").Number, a.send(t, "d2", "").Number
	a.becomes(t, one, event.StateDead)
	if d := a.becomes(t, two, event.StateDead).Deliveries[0]; !strings.Contains(d.Reason, "400") {
		t.Errorf("%+v", d)
	}
	if n := a.dead(t); !slices.Equal(n, []int64{one, two}) {
		t.Errorf("dead letters: %d", n)
	}
	bad.Path = "/ok"
	a.set(t, bad)
	if n, err := s.Platform.RetryDead(t.Context(), a.of, []int64{two}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	a.becomes(t, two, event.StateDelivered)
	a.receives(t, "/ok", "d2")
	if n, err := s.Platform.RetryDead(t.Context(), a.of, nil); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	a.receives(t, "/ok", "d1", "d2")
	if n, err := s.Platform.RetryDead(t.Context(), event.Owner{App: a.of.App, ID: a.of.ID + 1000}, nil); n != 0 || err != nil {
		t.Errorf("another app of that name has %d dead letters, %v", n, err)
	}
}

// Dead letters go to the app that takes them, with the attributes that say why.
func (s *suite) deadLetterApp(t *testing.T) {
	a, sink := s.app(t), s.app(t)
	one := a.trigger("bad", "/fail/100/500", ".a")
	one.Delivery = fast(1)
	one.Delivery.DeadLetter = sink.of.App + "/ok"
	a.set(t, one)
	a.becomes(t, a.send(t, "x1", ".a").Number, event.StateSunk)
	g := sink.receives(t, "/ok", "x1")[0]
	if g.Header["ce-knativeerrorcode"] != "500" || !strings.Contains(g.Header["ce-knativeerrordest"], a.of.App) || !strings.HasSuffix(g.Header["ce-knativeerrordest"], "/fail/100/500") ||
		g.Header["ce-type"] != a.kind+".a" || string(g.Body) != "data" {
		t.Errorf("%+v", g)
	}
}

// Where the app that takes dead letters fails as well, they are kept.
func (s *suite) deadLetterAppFails(t *testing.T) {
	a, sink := s.app(t), s.app(t)
	both := a.trigger("worse", pathOf(400), ".b")
	both.Delivery = fast(1)
	both.Delivery.DeadLetter = sink.of.App + "/status/410"
	a.set(t, both)
	number := a.send(t, "x2", ".b").Number
	if d := a.becomes(t, number, event.StateDead).Deliveries[0]; !strings.Contains(d.Reason, "410") {
		t.Errorf("%+v", d)
	}
	sink.receives(t, "/status/410", "x2")
	if n := a.dead(t); !slices.Equal(n, []int64{number}) {
		t.Errorf("dead letters: %d", n)
	}
}

func (s *suite) discard(t *testing.T) {
	a := s.app(t)
	a.set(t, a.trigger("bad", pathOf(400), ""))
	number := a.send(t, "g1", "").Number
	a.becomes(t, number, event.StateDead)
	if n, err := s.Platform.Discard(t.Context(), a.of, nil); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n := a.dead(t); len(n) != 0 {
		t.Errorf("dead letters: %d", n)
	}
	a.becomes(t, number, event.StateDiscarded)
}

// The triggers of another release take the place of those before.
func (s *suite) triggersChange(t *testing.T) {
	a := s.app(t)
	stays := a.trigger("stays", "/before", ".a")
	a.set(t, stays, a.trigger("goes", "/before", ".b"))
	a.send(t, "t1", ".a")
	a.receives(t, "/before", "t1")
	stays.Path = "/ok"
	a.set(t, stays, a.trigger("new", "/ok", ".c"))
	a.send(t, "t2", ".a")
	a.send(t, "t3", ".b")
	a.send(t, "t4", ".c")
	a.receives(t, "/ok", "t2", "t4")
	list, err := s.Platform.Triggers(t.Context(), a.of.App)
	list = slices.DeleteFunc(list, func(l event.Live) bool { return l.Name == "fence" })
	if err != nil || len(list) != 2 || list[0].Name != "new" || list[1].Name != "stays" || list[1].Release != a.of.Release || list[1].Path != "/ok" {
		t.Errorf("%+v, %v", list, err)
	}
	owners, err := s.Platform.Owners(t.Context())
	if err != nil || owners[a.of.App] != a.of {
		t.Errorf("%+v, %v", owners[a.of.App], err)
	}
	a.set(t)
	if s.LaterTriggers { // nothing says when they are gone
		return
	}
	a.send(t, "t5", ".c")
	time.Sleep(s.Quiet)
	a.receives(t, "/ok", "t2", "t4")
	a.receives(t, "/before", "t1")
}

// What waits for a trigger that stays is delivered, what waits for one that goes is a dead letter.
func (s *suite) triggersChangeWaiting(t *testing.T) {
	a := s.app(t)
	stays, goes := a.trigger("stays", "/fail/1000/503", ".a"), a.trigger("goes", "/fail/1000/503", ".b")
	stays.Delivery, goes.Delivery = fast(100), fast(100)
	stays.Delivery.Policy, goes.Delivery.Policy = event.Linear, event.Linear
	a.set(t, stays, goes)
	one, two := a.send(t, "t1", ".a").Number, a.send(t, "t2", ".b").Number
	stays.Path = "/ok"
	a.set(t, stays, a.trigger("new", "/ok", ".c"))
	a.becomes(t, one, event.StateDelivered)
	if d := a.becomes(t, two, event.StateDead).Deliveries[0]; d.Trigger != "goes" || d.Reason == "" {
		t.Errorf("%+v", d)
	}
	a.receives(t, "/ok", "t1")
}

// What waits for an app that is destroyed is kept.
func (s *suite) destroyed(t *testing.T) {
	a := s.app(t)
	one := a.trigger("waits", "/fail/1000/503", "")
	one.Delivery = fast(100)
	if s.Blind { // it is tried as often as the trigger said, and is a dead letter then
		one.Delivery = fast(8)
	}
	a.set(t, one)
	number := a.send(t, "x", "").Number
	if err := s.Platform.Forget(t.Context(), a.of); err != nil {
		t.Fatal(err)
	}
	if d := a.becomes(t, number, event.StateDead).Deliveries[0]; !s.Blind && !strings.Contains(d.Reason, "destroyed") {
		t.Errorf("%+v", d)
	}
	if list, err := s.Platform.Triggers(t.Context(), a.of.App); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if r := a.send(t, "y", ""); r.Triggers != 0 {
		t.Errorf("%+v", r)
	}
}

// listed waits until the platform has so many events of the app's type since a time: an app may have an event before the platform's list has it.
func (a *testApp) listed(t *testing.T, since time.Time, n int) {
	t.Helper()
	a.s.eventually(t, func() string {
		list, err := a.s.Platform.List(t.Context(), event.Query{Filters: []event.Filter{{Exact: map[string]string{"type": a.kind}}}, Since: since, Limit: 10})
		if err != nil || len(list) != n {
			return fmt.Sprintf("%d events of %s are listed, want %d: %v", len(list), a.of.App, n, err)
		}
		return ""
	})
}

// A replay delivers to one trigger what came in since a time, also what it had, and nothing to others.
func (s *suite) replay(t *testing.T) {
	a := s.app(t)
	a.set(t, a.trigger("one", "/ok", ""), a.trigger("other", "/other", ""))
	a.send(t, "p1", "")
	a.receives(t, "/ok", "p1")
	a.listed(t, time.Time{}, 1)
	time.Sleep(20 * time.Millisecond)
	since := time.Now()
	time.Sleep(20 * time.Millisecond)
	a.send(t, "p2", "")
	a.send(t, "p3", ".unwanted")
	a.receives(t, "/ok", "p1", "p2")
	a.receives(t, "/other", "p1", "p2")
	a.listed(t, since, 1)
	if n, err := s.Platform.Replay(t.Context(), a.of, "one", since); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	a.receives(t, "/ok", "p1", "p2", "p2")
	a.receives(t, "/other", "p1", "p2")
	if _, err := s.Platform.Replay(t.Context(), a.of, "none", since); app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("a trigger that is not there: %v", err)
	}
}
