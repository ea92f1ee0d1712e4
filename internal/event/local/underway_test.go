package local

import (
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// heldBy is what the deliveries under way of the app hold.
func (u *underWay) heldBy(app int64) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.held[app]
}

// Of large events, no more are under way for an app than fit; the others wait, and all are delivered.
func TestUnderWay_Events(t *testing.T) {
	var now, most atomic.Int64
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
	}, func(o *Options) { o.UnderWay = 2 << 20 })
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{triggerOn("a")}); err != nil {
		t.Fatal(err)
	}
	var all []int64
	for i := range 8 {
		r, err := p.Send(t.Context(), "", event.Event{ID: fmt.Sprint(i), Source: "s", Type: "a", Data: make([]byte, 900<<10)}, key)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r.Number)
	}
	for _, n := range all {
		if d := settled(t, p, n).Deliveries[0]; d.State != event.StateDelivered || d.Attempts != 1 {
			t.Errorf("%+v", d)
		}
	}
	if most.Load() > 2 {
		t.Errorf("%d at once", most.Load())
	}
	waitFor(t, func() bool { return p.under.heldBy(owner.ID) == 0 })
}

// An app that answers with much and hangs has no more of it in memory than fits; its events are tried again.
func TestUnderWay_Answers(t *testing.T) {
	var refused, hang atomic.Int64
	hang.Store(1)
	release := make(chan struct{})
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(w http.ResponseWriter, r *http.Request) {
		if hang.Load() == 0 {
			return
		}
		replies(w, r)
		for range 16 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				refused.Add(1)
				panic(http.ErrAbortHandler)
			}
		}
		<-release
	}, func(o *Options) { o.UnderWay = 3 << 20 })
	one := triggerOn("a")
	one.Delivery = event.Delivery{Retry: 100, Policy: event.Linear, Delay: 20 * time.Millisecond}
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{one}); err != nil {
		t.Fatal(err)
	}
	var all []int64
	for i := range 8 {
		all = append(all, sendOf(t, p, fmt.Sprint(i), "a"))
	}
	waitFor(t, func() bool { return refused.Load() > 0 })
	if n := p.under.heldBy(owner.ID); n > 3<<20 {
		t.Errorf("%d bytes are held", n)
	}
	hang.Store(0)
	close(release)
	for _, n := range all {
		if d := settled(t, p, n).Deliveries[0]; d.State != event.StateDelivered {
			t.Errorf("%+v", d)
		}
	}
	waitFor(t, func() bool { return p.under.heldBy(owner.ID) == 0 })
}
