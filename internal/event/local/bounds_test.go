package local

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// A full broker refuses an event, and says so; what is delivered makes room for what comes, what waits does not.
func TestFull(t *testing.T) {
	fails := atomic.Bool{}
	fails.Store(true)
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(w http.ResponseWriter, _ *http.Request) {
		if fails.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}, func(o *Options) { o.MaxBytes, o.Recognised, o.Rights = 200<<10, time.Nanosecond, bySender{} })
	waits := triggerOn("a")
	waits.Delivery = event.Delivery{Retry: 100, Policy: event.Linear, Delay: 20 * time.Millisecond}
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{waits}); err != nil {
		t.Fatal(err)
	}
	send := func(i int) (event.Receipt, error) {
		return p.Send(t.Context(), "", event.Event{ID: fmt.Sprint(i), Source: "s", Type: "a", Data: make([]byte, 20<<10)}, key)
	}
	var taken []int64
	var err error
	for i := 0; i < 10 && err == nil; i++ {
		var r event.Receipt
		if r, err = send(i); err == nil {
			taken = append(taken, r.Number)
		}
	}
	if app.CodeOf(err) != app.CodeUnavailable || !strings.Contains(err.Error(), "full") || len(taken) != 4 {
		t.Fatalf("%d taken, %v", len(taken), err)
	}
	posted := 0
	for w := post(p, "x", 20<<10); ; w = post(p, fmt.Sprint("x", posted), 20<<10) { // another one may have as much as is free then
		if w.Code == http.StatusAccepted && posted < 10 {
			posted++
			continue
		}
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || posted != 2 {
			t.Errorf("%d after %d: %v", w.Code, posted, w.Header())
		}
		break
	}
	fails.Store(false)
	for _, n := range taken {
		if r := settled(t, p, n); r.Deliveries[0].State != event.StateDelivered {
			t.Errorf("%+v", r.Deliveries)
		}
	}
	waitRoom(t, func() error { _, err := send(20); return err })
}

// waitRoom sends until there is room: a broker that has found none does not look again at once.
func waitRoom(t *testing.T, send func() error) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := send()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("what is delivered makes no room: %v", err)
		}
	}
}

// A disk without room refuses events; those that were accepted are delivered once there is room to note it, and not again for that.
func TestFullDisk(t *testing.T) {
	var got atomic.Int64
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(http.ResponseWriter, *http.Request) { got.Add(1) }, nil)
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{triggerOn("a")}); err != nil {
		t.Fatal(err)
	}
	pages := func(n int) {
		var pages int
		if err := p.w.write(t.Context(), func(tx *tx) error {
			if n == 0 {
				if err := tx.row("PRAGMA page_count", nil, &n); err != nil {
					return err
				}
			}
			return tx.row(fmt.Sprintf("PRAGMA max_page_count = %d", n), nil, &pages)
		}, nil); err != nil {
			t.Fatal(err)
		}
	}
	pages(0) // as many as there are
	_, err := p.Send(t.Context(), "", event.Event{ID: "1", Source: "s", Type: "a", Data: make([]byte, 900<<10)}, key)
	if app.CodeOf(err) != app.CodeUnavailable || !strings.Contains(err.Error(), "disk is full") {
		t.Fatal(err)
	}
	pages(1 << 30)
	r, err := p.Send(t.Context(), "", event.Event{ID: "1", Source: "s", Type: "a", Data: make([]byte, 900<<10)}, key)
	if err != nil || r.Duplicate {
		t.Fatal(r, err)
	}
	if d := settled(t, p, r.Number).Deliveries[0]; d.State != event.StateDelivered || got.Load() != 1 {
		t.Errorf("%+v, %d times", d, got.Load())
	}
}

// queuedVariable says how many events wait for each of the apps of TestFair.
const queuedVariable = "GITD_TEST_QUEUED"

// Thousands of events that wait for an app that fails, and as many for one that hangs, do not delay those of another.
func TestFair(t *testing.T) {
	waiting := cmp.Or(os.Getenv(queuedVariable), "5000")
	release := make(chan struct{})
	defer close(release)
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.Host, "fails"):
			w.WriteHeader(http.StatusInternalServerError)
		case strings.HasPrefix(r.Host, "hangs"):
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	}, nil)
	first, err := p.Send(t.Context(), "", event.Event{ID: "1", Source: "s", Type: "other"}, key)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"fails", "hangs"} {
		of := event.Owner{App: name, ID: int64(100 + i), Release: 1}
		if err := p.w.write(t.Context(), func(tx *tx) error {
			_, err := tx.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < CAST(? AS INTEGER))
				INSERT INTO deliveries (event, app, app_id, trigger, state, due) SELECT ?, ?, ?, 'on-b', 0, 1 FROM n`, waiting, first.Number, of.App, of.ID)
			return err
		}, nil); err != nil {
			t.Fatal(err)
		}
		if err := p.SetTriggers(t.Context(), of, []event.Trigger{triggerOn("b")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{triggerOn("a")}); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for i := range 20 {
		began := time.Now()
		r, err := p.Send(t.Context(), "", event.Event{ID: fmt.Sprint("a", i), Source: "s", Type: "a"}, key)
		if err != nil {
			t.Fatal(err)
		}
		settled(t, p, r.Number)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	if took[10] > 5*time.Second {
		t.Errorf("beside twice %s that wait, an event takes %s", waiting, took)
	}
}

// dayAhead makes what was written that of a clock which is a day ahead.
func dayAhead(t *testing.T, p *Platform) {
	t.Helper()
	if err := p.w.write(t.Context(), func(tx *tx) error {
		if _, err := tx.exec("UPDATE events SET accepted = accepted + 86400000"); err != nil {
			return err
		}
		_, err := tx.exec("UPDATE deliveries SET due = due + 86400000, at = iif(at = 0, 0, at + 86400000)")
		return err
	}, nil); err != nil {
		t.Fatal(err)
	}
}

// What waits for a retry is not held up when the clock goes back between two processes.
func TestClock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.db")
	p, err := Open(t.Context(), Options{File: file, Domain: "test", Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{triggerOn("a")}); err != nil {
		t.Fatal(err)
	}
	r, err := p.Send(t.Context(), "", event.Event{ID: "1", Source: "s", Type: "a"}, key)
	if err != nil {
		t.Fatal(err)
	}
	dayAhead(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = opened(t, file, func(http.ResponseWriter, *http.Request) {}, nil)
	if d := settled(t, p, r.Number).Deliveries[0]; d.State != event.StateDelivered {
		t.Errorf("%+v", d)
	}
}

// What waits goes back with the clock once, and not again at each start until the clock has caught up.
func TestClock_Once(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.db")
	fails := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	start := func() *Platform {
		p, err := Open(t.Context(), Options{File: file, Domain: "test", Log: t.Logf, Proxy: http.HandlerFunc(fails)})
		if err != nil {
			t.Fatal(err)
		}
		p.Start()
		return p
	}
	p := start()
	one := triggerOn("a")
	one.Delivery = event.Delivery{Retry: 5, Policy: event.Exponential, Delay: time.Hour}
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{one}); err != nil {
		t.Fatal(err)
	}
	number := sendOf(t, p, "1", "a")
	due := func(p *Platform) (d event.DeliveryRecord) {
		waitFor(t, func() bool {
			r, err := p.Show(t.Context(), number)
			if err == nil {
				d = r.Deliveries[0]
			}
			return err == nil && d.Attempts == 1
		})
		return d
	}
	due(p)
	dayAhead(t, p)
	var at []time.Time
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		p = start()
		at = append(at, due(p).Due)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if wait := time.Until(at[0]); wait < 30*time.Minute || wait > time.Hour || !at[1].Equal(at[0]) {
		t.Errorf("due at %s, then at %s", at[0], at[1])
	}
}

// Many senders of the same event at once have it delivered once.
func TestConcurrentDuplicates(t *testing.T) {
	var got atomic.Int64
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(http.ResponseWriter, *http.Request) { got.Add(1) }, nil)
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{triggerOn("a")}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var number atomic.Int64
	for range 50 {
		all.Go(func() {
			r, err := p.Send(t.Context(), "", event.Event{ID: "1", Source: "s", Type: "a"}, key)
			if err != nil {
				t.Error(err)
			}
			number.Store(r.Number)
		})
	}
	all.Wait()
	settled(t, p, number.Load())
	if got.Load() != 1 {
		t.Errorf("delivered %d times", got.Load())
	}
}
