package local

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// What comes for an app that is stopped waits until it is back, also what is under way when it stops; no attempt counts. What has waited for too long is dead.
func TestAway(t *testing.T) {
	var away atomic.Bool
	var got atomic.Int64
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Ce-Id") == "cut" && got.Add(1) == 1 { // it stops meanwhile
			away.Store(true)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}, func(o *Options) { o.Away = func(app string) bool { return app == owner.App && away.Load() } })
	once := triggerOn("a")
	once.Delivery = event.Delivery{Policy: event.Linear} // without a retry
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{once}); err != nil {
		t.Fatal(err)
	}
	send := func(id string) int64 {
		r, err := p.Send(t.Context(), "", event.Event{ID: id, Source: "s", Type: "a"}, key)
		if err != nil {
			t.Fatal(err)
		}
		return r.Number
	}
	cut := send("cut")
	for end := time.Now().Add(time.Minute); !away.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it was not tried")
		}
	}
	late := send("late")
	if err := p.giveUp(t.Context(), p.clock.now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{cut, late} {
		if r, err := p.Show(t.Context(), n); err != nil || r.Deliveries[0].State != event.StateQueued || r.Deliveries[0].Attempts != 0 {
			t.Errorf("while the app is away: %+v, %v", r.Deliveries, err)
		}
	}
	away.Store(false)
	for _, n := range []int64{cut, late} {
		if d := settled(t, p, n).Deliveries[0]; d.State != event.StateDelivered || d.Attempts != 1 {
			t.Errorf("when it is back: %+v", d)
		}
	}
	away.Store(true)
	old := send("old")
	if err := p.giveUp(t.Context(), p.clock.now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if d := settled(t, p, old).Deliveries[0]; d.State != event.StateDead || !strings.Contains(d.Reason, "stopped or in maintenance") {
		t.Errorf("after a long time: %+v", d)
	}
}
