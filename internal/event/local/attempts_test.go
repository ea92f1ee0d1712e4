package local

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// Of many attempts the first one and the last ones are kept.
func TestAttempts_Kept(t *testing.T) {
	var n atomic.Int64
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(500 + int(n.Add(1)))
	}, nil)
	one := triggerOn("a")
	one.Delivery = event.Delivery{Retry: 24, Policy: event.Linear}
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{one}); err != nil {
		t.Fatal(err)
	}
	d := settled(t, p, sendOf(t, p, "1", "a")).Deliveries[0]
	if d.Attempts != 25 || len(d.Log) != 11 || d.Log[0].Status != 501 || d.Log[1].Status != 516 || d.Log[10].Status != 525 {
		t.Errorf("%+v", d)
	}
}

// A dead letter whose trigger has nothing any more that takes it says so.
func TestDeadLetter_TakenOut(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), refuses, nil)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer web.Close()
	p.outside = http.DefaultTransport
	one := triggerOn("a")
	one.Delivery = event.Delivery{Retry: 100, Policy: event.Linear, Delay: 50 * time.Millisecond, DeadLetter: web.URL}
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{one}); err != nil {
		t.Fatal(err)
	}
	number := sendOf(t, p, "1", "a")
	waitFor(t, func() bool {
		r, err := p.Show(t.Context(), number)
		return err == nil && len(r.Deliveries[0].Log) > 1 // one of the app, one of what takes dead letters
	})
	next := owner
	next.Release++
	one.Delivery.DeadLetter = ""
	if err := p.SetTriggers(t.Context(), next, []event.Trigger{one}); err != nil {
		t.Fatal(err)
	}
	if d := settled(t, p, number).Deliveries[0]; d.State != event.StateDead || !strings.HasPrefix(d.Reason, "the app failed with 400 Bad Request, and the trigger has nothing any more") {
		t.Errorf("%s: %q", d.State, d.Reason)
	}
}
