package local

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// opened is a Platform whose apps are h.
func opened(t *testing.T, file string, h http.HandlerFunc, set func(*Options)) *Platform {
	t.Helper()
	o := Options{File: file, Domain: "test", Log: t.Logf, Proxy: h}
	if set != nil {
		set(&o)
	}
	p, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	p.Start()
	return p
}

var (
	owner = event.Owner{App: "hello", ID: 7, Release: 1}
	key   = event.Sender{Kind: event.FromKey, Name: "laptop"}
)

// triggerOn is a trigger on one type.
func triggerOn(kind string) event.Trigger {
	return event.Trigger{Name: "on-" + kind, Broker: event.DefaultBroker, Path: "/x", Filters: []event.Filter{{Exact: map[string]string{"type": kind}}}, Delivery: event.Defaults()}
}

// settled waits until nothing of an event is queued.
func settled(t *testing.T, p *Platform, number int64) event.Record {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		r, err := p.Show(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		waits := false
		for _, d := range r.Deliveries {
			waits = waits || d.State == event.StateQueued
		}
		if !waits {
			return r
		}
		if time.Now().After(end) {
			t.Fatalf("still queued: %+v", r)
		}
	}
}

// post sends an event over HTTP, as an app does.
func post(p *Platform, id string, size int) *httptest.ResponseRecorder {
	q := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(make([]byte, size)))
	for name, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "s", "Ce-Type": "a"} {
		q.Header.Set(name, v)
	}
	w := httptest.NewRecorder()
	p.Inside(owner).ServeHTTP(w, q)
	return w
}

// An event reaches the app whose trigger takes it, once, and no other.
func TestSend(t *testing.T) {
	got := make(chan string, 10)
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- r.Host + r.URL.Path + " " + r.Header.Get("Ce-Id") + " " + string(b)
	}, nil)
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{triggerOn("a"), triggerOn("b")}); err != nil {
		t.Fatal(err)
	}
	e := event.Event{ID: "1", Source: "s", Type: "a", Data: []byte("hi")}
	first, err := p.Send(t.Context(), "", e, key)
	if err != nil || first.Triggers != 1 || first.Duplicate {
		t.Fatal(first, err)
	}
	if again, err := p.Send(t.Context(), "", e, key); err != nil || !again.Duplicate || again.Number != first.Number {
		t.Fatal(again, err)
	}
	r := settled(t, p, first.Number)
	if d := r.Deliveries; len(d) != 1 || d[0].Trigger != "on-a" || d[0].State != event.StateDelivered || d[0].Attempts != 1 || len(d[0].Log) != 1 || d[0].Log[0].Status != 200 {
		t.Errorf("%+v", r)
	}
	if s := <-got; s != "hello.test/x 1 hi" || len(got) != 0 {
		t.Errorf("%s, and %d more", s, len(got))
	}
}

// A trigger's URL for dead letters gets them, unless it is an address of this machine.
func TestDeadLetterURL(t *testing.T) {
	got := make(chan http.Header, 1)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }))
	defer web.Close()
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }, nil)
	one := triggerOn("a")
	one.Delivery = event.Delivery{Policy: event.Linear, DeadLetter: web.URL + "/dead"}
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{one}); err != nil {
		t.Fatal(err)
	}
	send := func(id string) event.DeliveryRecord {
		r, err := p.Send(t.Context(), "", event.Event{ID: id, Source: "s", Type: "a"}, key)
		if err != nil {
			t.Fatal(err)
		}
		return settled(t, p, r.Number).Deliveries[0]
	}
	if d := send("1"); d.State != event.StateDead || !strings.Contains(d.Reason, errOwn.Error()) {
		t.Errorf("%+v", d)
	}
	p.outside = http.DefaultTransport
	if d := send("2"); d.State != event.StateSunk || (<-got).Get("Ce-Knativeerrorcode") != "400" {
		t.Errorf("%+v", d)
	}
}

// No app can have another's event taken for a duplicate, or pass for gitd's clock.
func TestSend_OthersEvent(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(http.ResponseWriter, *http.Request) {}, nil)
	tick := event.OfSchedule("hello", "tick", "", time.Unix(60, 0))
	stranger := event.Sender{Kind: event.FromApp, Name: "stranger", ID: 9}
	if _, err := p.Send(t.Context(), "", tick, stranger); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("an app sends what the clock sends: %v", err)
	}
	same := event.Event{ID: "1", Source: "/shop", Type: "a"}
	for _, from := range []event.Sender{stranger, {Kind: event.FromApp, Name: "shop", ID: 8}} {
		if r, err := p.Send(t.Context(), "", same, from); err != nil || r.Duplicate {
			t.Errorf("from %s: %+v, %v", from.Name, r, err)
		}
		if r, err := p.Send(t.Context(), "", same, from); err != nil || !r.Duplicate {
			t.Errorf("again from %s: %+v, %v", from.Name, r, err)
		}
	}
}

// waitFor waits until f holds.
func waitFor(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}
