package contract

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// An event arrives with all of its attributes and its data as they were sent, in binary mode, and with the header that says that an answer may be an event.
func (s *suite) whole(t *testing.T) {
	a := s.app(t)
	a.set(t, a.trigger("all", "/ok", ""))
	a.send(t, "whole-1", "", func(e *event.Event) {
		e.Subject, e.Time, e.Schema, e.ContentType = "Zürich 100 %", "2026-01-31T12:00:00.5Z", "https://example.com/schema", "application/octet-stream"
		e.Extensions = map[string]string{"traceparent": "00-abc", "n": "42"}
		e.Data = []byte{0, 1, 2, 0xff, '\n'}
	})
	g := a.receives(t, "/ok", "whole-1")[0]
	for name, want := range map[string]string{"ce-specversion": "1.0", "ce-id": "whole-1", "ce-source": a.source(), "ce-type": a.kind, "ce-time": "2026-01-31T12:00:00.5Z",
		"ce-dataschema": "https://example.com/schema", "content-type": "application/octet-stream", "ce-traceparent": "00-abc", "ce-n": "42", "prefer": "reply"} {
		if g.Header[name] != want {
			t.Errorf("%s: %q, want %q", name, g.Header[name], want)
		}
	}
	h := http.Header{}
	for name, v := range g.Header {
		h.Set(name, v)
	}
	if e, err := event.FromHTTP(h, g.Body); err != nil || e.Subject != "Zürich 100 %" || string(e.Data) != "\x00\x01\x02\xff\n" {
		t.Errorf("%+v, %v", e, err)
	}
	if g.Header["ce-knativebrokerttl"] != "" {
		t.Error("the app gets the time to live, which is the brokers' own")
	}
	a.send(t, "whole-2", "", func(e *event.Event) { e.Data, e.ContentType = nil, "" })
	a.receives(t, "/ok", "whole-1", "whole-2")
}

// A trigger takes the events that pass its filters, and no other.
func (s *suite) filters(t *testing.T) {
	a := s.app(t)
	with := func(path string, filters ...event.Filter) event.Trigger {
		one := a.trigger(strings.Trim(path, "/"), path, "")
		one.Filters = filters
		return one
	}
	kind := func(suffix string) map[string]string { return map[string]string{"type": a.kind + suffix} }
	a.set(t,
		with("/exact", event.Filter{Exact: kind(".a")}), with("/prefix", event.Filter{Prefix: kind(".")}), with("/suffix", event.Filter{Suffix: map[string]string{"type": a.kind[4:] + ".b"}}),
		with("/any", event.Filter{Any: []event.Filter{{Exact: kind(".a")}, {Exact: kind(".b")}}}),
		with("/not", event.Filter{Prefix: kind(".")}, event.Filter{Not: &event.Filter{Exact: kind(".a")}}),
		with("/all", event.Filter{All: []event.Filter{{Prefix: kind(".")}, {Exact: map[string]string{"region": "eu"}}}}),
		with("/cesql", event.Filter{CESQL: "type LIKE '" + a.kind + ".%' AND EXISTS region AND n > 3"}))
	a.send(t, "f1", ".a")
	a.send(t, "f2", ".b", func(e *event.Event) { e.Extensions = map[string]string{"region": "eu", "n": "4"} })
	a.send(t, "f3", ".c", func(e *event.Event) { e.Extensions = map[string]string{"region": "us", "n": "3"} })
	for path, ids := range map[string][]string{"/exact": {"f1"}, "/prefix": {"f1", "f2", "f3"}, "/suffix": {"f2"}, "/any": {"f1", "f2"}, "/not": {"f2", "f3"}, "/all": {"f2"}, "/cesql": {"f2"}} {
		a.receives(t, path, ids...)
	}
}

// Events are the same by source and id: an id alone may be another source's.
func (s *suite) duplicates(t *testing.T) {
	a := s.app(t)
	a.set(t, a.trigger("all", "/ok", ""))
	first := a.send(t, "same", "")
	again := a.send(t, "same", "", func(e *event.Event) { e.Data = []byte("other") })
	if !again.Duplicate || again.Number != first.Number {
		t.Errorf("%+v after %+v", again, first)
	}
	if other := a.send(t, "same", "", func(e *event.Event) { e.Source = "/elsewhere" }); other.Duplicate {
		t.Error("the same id of another source is taken for a duplicate")
	}
	a.receives(t, "/ok", "same", "same")
	time.Sleep(s.Quiet)
	a.receives(t, "/ok", "same", "same")
}

// What is no event is refused, with the reason.
func (s *suite) refused(t *testing.T) {
	good := event.Event{ID: "1", Source: "/contract", Type: "test.refused"}
	for name, c := range map[string]struct {
		set  func(*event.Event)
		code app.Code
		says string
	}{
		"no id":     {func(e *event.Event) { e.ID = "" }, app.CodeInvalidInput, "id is missing"},
		"no source": {func(e *event.Event) { e.Source = "" }, app.CodeInvalidInput, "source is missing"},
		"no type":   {func(e *event.Event) { e.Type = "" }, app.CodeInvalidInput, "type is missing"},
		"name":      {func(e *event.Event) { e.Extensions = map[string]string{"Not-OK": "x"} }, app.CodeInvalidInput, "Not-OK"},
		"time":      {func(e *event.Event) { e.Time = "yesterday" }, app.CodeInvalidInput, "yesterday"},
		"2 MB":      {func(e *event.Event) { e.Data = make([]byte, 2<<20) }, app.CodeLimitExceeded, "1 MiB"},
		"ttl":       {func(e *event.Event) { e.Extensions = map[string]string{"knativebrokerttl": "0"} }, app.CodeInvalidInput, "circles"},
	} {
		e := good
		c.set(&e)
		if _, err := s.Platform.Send(t.Context(), "", e, sender); app.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Platform.Send(t.Context(), "nowhere", good, sender); app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("a broker that does not exist: %v", err)
	}
}

// A delivery that fails is tried again, after a pause that grows.
func (s *suite) retry(t *testing.T) {
	a := s.app(t)
	one := a.trigger("retried", "/fail/2/503", "")
	one.Delivery.Delay = 100 * time.Millisecond
	a.set(t, one)
	began := time.Now()
	r := a.becomes(t, a.send(t, "r1", "").Number, event.StateDelivered)
	a.receives(t, "/fail/2/503", "r1", "r1", "r1")
	if d := r.Deliveries[0]; !s.Blind && (d.Attempts != 3 || len(d.Log) != 3 || d.Log[0].Status != 503 || d.Log[2].Status != 202) {
		t.Errorf("%+v", d)
	}
	if took := time.Since(began); took < 300*time.Millisecond { // 100 and 200
		t.Errorf("two retries after %s", took)
	}
}

// Which answers are tried again is Knative's table.
func (s *suite) statuses(t *testing.T) {
	a := s.app(t)
	type row struct {
		status, attempts int
		state            event.State
	}
	rows := []row{{200, 1, event.StateDelivered}, {202, 1, event.StateDelivered}, {204, 1, event.StateDelivered}, {299, 1, event.StateDelivered}}
	for _, status := range []int{404, 408, 409, 429, 500, 502, 503, 504} {
		rows = append(rows, row{status, 3, event.StateDead})
	}
	for _, status := range []int{302, 400, 401, 403, 405, 410, 413, 418} {
		rows = append(rows, row{status, 1, event.StateDead})
	}
	var all []event.Trigger
	for _, r := range rows {
		one := a.trigger(fmt.Sprintf("s%d", r.status), pathOf(r.status), fmt.Sprintf(".%d", r.status))
		one.Delivery = fast(2)
		all = append(all, one)
	}
	a.set(t, all...)
	numbers := make([]int64, len(rows))
	for i, r := range rows {
		numbers[i] = a.send(t, "s", fmt.Sprintf(".%d", r.status), func(e *event.Event) { e.ID = fmt.Sprintf("s%d", r.status) }).Number
	}
	for i, r := range rows {
		d := a.becomes(t, numbers[i], r.state).Deliveries[0]
		if s.Blind && r.state == event.StateDelivered {
			continue
		}
		if !s.Blind && d.Attempts != r.attempts || d.Log[len(d.Log)-1].Status != r.status {
			t.Errorf("%d: %d attempts, want %d: %+v", r.status, d.Attempts, r.attempts, d)
		}
	}
}

// An app that does not answer in the trigger's time has failed.
func (s *suite) timeout(t *testing.T) {
	a := s.app(t)
	one := a.trigger("slow", "/slow/5s", "")
	one.Delivery.Timeout, one.Delivery.Retry = time.Second, 0
	a.set(t, one)
	d := a.becomes(t, a.send(t, "t1", "").Number, event.StateDead).Deliveries[0]
	if !s.Blind && (d.Attempts != 1 || !strings.Contains(d.Reason, "1s")) {
		t.Errorf("%+v", d)
	}
}

// An event in an answer of 200 goes to the broker.
func (s *suite) reply(t *testing.T) {
	a := s.app(t)
	a.set(t, a.trigger("ask", "/reply/"+a.kind+".reply", ".ask"), a.trigger("answer", "/ok", ".reply"))
	a.becomes(t, a.send(t, "a1", ".ask").Number, event.StateDelivered)
	g := a.receives(t, "/ok", "a1-r")[0]
	if g.Header["ce-source"] != "/receiver" || string(g.Body) != "reply" || g.Header["content-type"] != "text/plain" {
		t.Errorf("%+v", g)
	}
}

// An event in an answer of 202 does not go to the broker, and what is no event is no failure.
func (s *suite) noReply(t *testing.T) {
	a := s.app(t)
	a.set(t, a.trigger("quiet", "/quiet/"+a.kind+".reply", ".quiet"), a.trigger("broken", "/broken", ".broken"), a.trigger("answer", "/ok", ".reply"))
	a.becomes(t, a.send(t, "q1", ".quiet").Number, event.StateDelivered)
	a.becomes(t, a.send(t, "b1", ".broken").Number, event.StateDelivered)
	time.Sleep(s.Quiet)
	a.receives(t, "/ok")
}

// A loop of replies ends when the time to live of the first event is used up.
func (s *suite) loop(t *testing.T) {
	a := s.app(t)
	path := "/reply/" + a.kind
	a.set(t, a.trigger("loop", path, ""))
	a.send(t, "l", "", func(e *event.Event) {
		e.Extensions = map[string]string{"knativebrokerttl": fmt.Sprint(4 + s.FewerHops)}
	})
	a.receives(t, path, "l", "l-r", "l-r-r", "l-r-r-r")
	time.Sleep(s.Quiet)
	a.receives(t, path, "l", "l-r", "l-r-r", "l-r-r-r")
}
