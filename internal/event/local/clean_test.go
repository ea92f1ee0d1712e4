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

// alter changes rows of the database.
func alter(t *testing.T, p *Platform, query string, args ...any) {
	t.Helper()
	if err := p.w.write(t.Context(), func(tx *tx) error {
		_, err := tx.exec(query, args...)
		return err
	}, nil); err != nil {
		t.Fatal(err)
	}
}

func day(n int) int64 { return time.Now().Add(time.Duration(n) * 24 * time.Hour).UnixMilli() }

// A dead letter is kept from when it died: its retries may have taken longer than dead letters are kept.
func TestClean_DeadSince(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }, nil)
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{triggerOn("a")}); err != nil {
		t.Fatal(err)
	}
	r, err := p.Send(t.Context(), "", event.Event{ID: "1", Source: "s", Type: "a"}, key)
	if err != nil {
		t.Fatal(err)
	}
	if d := settled(t, p, r.Number).Deliveries[0]; d.State != event.StateDead {
		t.Fatalf("%+v", d)
	}
	is := func(want app.Code) {
		t.Helper()
		if err := p.cleanOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Show(t.Context(), r.Number); app.CodeOf(err) != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	alter(t, p, "UPDATE events SET accepted = ?", day(-39))
	is("")
	alter(t, p, "UPDATE deliveries SET died = ?, at = ?", day(-29), day(-31)) // the last attempt is not when it died: its trigger may go long after that
	is("")
	alter(t, p, "UPDATE deliveries SET died = ?", day(-31))
	is(app.CodeNotFound)
}

// What waits for a trigger that is gone becomes a dead letter, is kept as one, and says why; what a trigger is there for waits on, also where it cannot be read.
func TestClean_NoTrigger(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, nil)
	waits := triggerOn("a")
	waits.Delivery = event.Delivery{Retry: 100, Policy: event.Linear, Delay: time.Hour}
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{waits}); err != nil {
		t.Fatal(err)
	}
	r, err := p.Send(t.Context(), "", event.Event{ID: "1", Source: "s", Type: "a"}, key)
	if err != nil {
		t.Fatal(err)
	}
	alter(t, p, "UPDATE events SET accepted = ?", day(-40))
	alter(t, p, `INSERT INTO owners (app, id, release, triggers) VALUES ('later', 9, 1, '[{"name":"unread","filters":[{}]}]'), ('broken', 10, 1, '{')`)
	for _, of := range []struct {
		id   int64
		name string
	}{{owner.ID, "gone"}, {8, "on-a"}, {9, "unread"}, {9, "gone"}, {10, "x"}} {
		alter(t, p, "INSERT INTO deliveries (event, app, app_id, trigger, state, due) VALUES (?, 'x', ?, ?, 0, 1)", r.Number, of.id, of.name)
	}
	if err := p.cleanOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := p.Show(t.Context(), r.Number)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range got.Deliveries {
		all = append(all, fmt.Sprintf("%d/%s %s %s", d.AppID, d.Trigger, d.State, d.Reason))
	}
	const want = "7/on-a queued , 7/gone dead its trigger is gone, 8/on-a dead its trigger is gone, 9/unread queued , 9/gone dead its trigger is gone, 10/x queued "
	if s := strings.Join(all, ", "); s != want {
		t.Errorf("%s, want %s", s, want)
	}
}

// While nothing may go from a full broker, those who send do not hold up the writer, or each other, with looking for what may.
func TestFull_Cost(t *testing.T) {
	const most = 10_000
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(http.ResponseWriter, *http.Request) {}, func(o *Options) { o.MaxBytes = most * 512 })
	alter(t, p, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO events (broker, source, id, type, accepted, sender, sender_name, sender_id, size, attributes) SELECT 'default', 's', i, 'a', 1, 'key', '', 0, 512, '{}' FROM n`, most)
	alter(t, p, "INSERT INTO deliveries (event, app, app_id, trigger, state, due) SELECT number, 'x', 1, 'x', 0, 1 FROM events")
	alter(t, p, "UPDATE brokers SET events = ?, bytes = ?", most, most*512)
	if err := p.recount(t.Context()); err != nil {
		t.Fatal(err)
	}
	send := func() error {
		_, err := p.Send(t.Context(), "", event.Event{ID: "x", Source: "s", Type: "a"}, key)
		return err
	}
	began := time.Now()
	if err := send(); app.CodeOf(err) != app.CodeUnavailable {
		t.Fatal(err)
	}
	once := time.Since(began)
	began = time.Now()
	for range 1000 {
		if err := send(); app.CodeOf(err) != app.CodeUnavailable {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 500*once && took > 2*time.Second {
		t.Errorf("1000 take %s, and one %s", took, once)
	}
	alter(t, p, "UPDATE deliveries SET state = 1")
	waitRoom(t, send)
}
