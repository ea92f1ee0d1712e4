package local

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// refuses is an app that takes nothing.
func refuses(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }

// sendOf sends an event of a type.
func sendOf(t *testing.T, p *Platform, id, kind string) int64 {
	t.Helper()
	r, err := p.Send(t.Context(), "", event.Event{ID: id, Source: "s", Type: kind, Data: []byte("data")}, key)
	if err != nil {
		t.Fatal(err)
	}
	return r.Number
}

// A dead letter whose trigger is gone stays one when dead letters are delivered again, and that is said.
func TestRetryDead_TriggerGone(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), refuses, nil)
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{triggerOn("a"), triggerOn("b")}); err != nil {
		t.Fatal(err)
	}
	one, two := sendOf(t, p, "1", "a"), sendOf(t, p, "2", "b")
	settled(t, p, one)
	settled(t, p, two)
	next := owner
	next.Release++
	if err := p.SetTriggers(t.Context(), next, []event.Trigger{triggerOn("a")}); err != nil {
		t.Fatal(err)
	}
	n, err := p.RetryDead(t.Context(), owner, nil)
	if n != 1 || app.CodeOf(err) != app.CodeNotFound || !strings.Contains(err.Error(), "1 queued for delivery, 1 left") || !strings.Contains(err.Error(), "called on-b") {
		t.Errorf("%d, %v", n, err)
	}
	settled(t, p, one)
	if d := settled(t, p, two).Deliveries[0]; d.State != event.StateDead || d.Reason == "" {
		t.Errorf("%+v", d)
	}
	if err := p.SetTriggers(t.Context(), event.Owner{App: owner.App, ID: owner.ID, Release: 3}, nil); err != nil {
		t.Fatal(err)
	}
	if n, err := p.RetryDead(t.Context(), owner, []int64{two}); n != 0 || app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("none is live: %d, %v", n, err)
	}
	if err := p.Forget(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	if n, err := p.RetryDead(t.Context(), owner, nil); n != 0 || app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("of an app that is gone: %d, %v", n, err)
	}
}

// A replay queues no more than may wait for a trigger, says so, and leaves one row of an event, as often as it is repeated.
func TestReplay_Bound(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(http.ResponseWriter, *http.Request) {}, func(o *Options) { o.MaxReplay = 3 })
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{triggerOn("a")}); err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	for i := range 5 {
		last = sendOf(t, p, fmt.Sprint(i), "a")
		settled(t, p, last)
	}
	since := time.Now().Add(-time.Hour)
	n, err := p.Replay(t.Context(), owner, "on-a", since)
	if n != 3 || app.CodeOf(err) != app.CodeLimitExceeded {
		t.Fatalf("%d, %v", n, err)
	}
	for range 3 {
		settled(t, p, last)
		if _, err := p.Replay(t.Context(), owner, "on-a", since); app.CodeOf(err) != app.CodeLimitExceeded {
			t.Fatal(err)
		}
	}
	if all := settled(t, p, last).Deliveries; len(all) != 2 {
		t.Errorf("%d deliveries of an event that was replayed 4 times", len(all))
	}
}

// A replay that finds its trigger gone says so, and queues nothing for it.
func TestReplay_TriggerGoes(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(http.ResponseWriter, *http.Request) {}, nil)
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{triggerOn("a")}); err != nil {
		t.Fatal(err)
	}
	settled(t, p, sendOf(t, p, "1", "a"))
	release := held(t, p)
	gone, replayed := make(chan error, 1), make(chan error, 1)
	go func() { gone <- p.Forget(t.Context(), owner) }()
	waitFor(t, func() bool { return len(p.w.changes) == 1 })
	go func() {
		_, err := p.Replay(t.Context(), owner, "on-a", time.Now().Add(-time.Hour))
		replayed <- err
	}()
	waitFor(t, func() bool { return len(p.w.changes) == 2 })
	release()
	if err := <-gone; err != nil {
		t.Fatal(err)
	}
	if err := <-replayed; app.CodeOf(err) != app.CodeNotFound {
		t.Error(err)
	}
	if n := queuedRows(t, p); n != 0 {
		t.Errorf("%d wait for a trigger that is gone", n)
	}
}

// Lists have no data: there may be much of it. One event has.
func TestList_NoData(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), refuses, nil)
	n := sendOf(t, p, "1", "a")
	list, err := p.List(t.Context(), event.Query{Limit: 10})
	if err != nil || len(list) != 1 || list[0].Event.ID != "1" || list[0].Event.Data != nil {
		t.Errorf("%+v, %v", list, err)
	}
	if r, err := p.Show(t.Context(), n); err != nil || string(r.Event.Data) != "data" {
		t.Errorf("%+v, %v", r, err)
	}
}
