// Package dataplane is Knative Eventing's contract of its data plane (specs/eventing/data-plane.md, and what the brokers' own conformance tests add) as tables:
// what a broker answers to senders, and what it makes of the answers of apps. They run against every implementation of event.Platform. Where one differs from
// the contract, the test that runs them says so, by row.
package dataplane

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// Env is one implementation, with an app.
type Env struct {
	Platform event.Platform
	Of       event.Owner
	// Do sends a request to a broker, as apps do by K_SINK: the path and the query of its URL are added to that of the broker.
	Do func(broker string, q *http.Request) (*http.Response, error)
	// Handle has a handler answer the app's requests.
	Handle func(http.Handler)
	// Differs names rows in which the implementation differs from the contract, and says how.
	Differs  map[string]string
	Patience time.Duration // default 20 s
	Settle   time.Duration // until new triggers get their first events; 0 for at once
}

// Run runs all tables.
func Run(t *testing.T, e *Env) {
	e.Patience = cmp.Or(e.Patience, 20*time.Second)
	t.Run("Ingress", e.ingress)
	t.Run("Delivery", e.delivery)
	t.Run("Filters", e.filters)
}

// check compares what a row is with what it should be.
func (e *Env) check(t *testing.T, row string, is, should any) {
	t.Helper()
	if fmt.Sprint(is) == fmt.Sprint(should) {
		if e.Differs[row] != "" {
			t.Errorf("%s: it is as it should be, and does not differ any more", row)
		}
		return
	}
	if e.Differs[row] != "" {
		t.Logf("%s: %v, not %v: %s", row, is, should, e.Differs[row])
		return
	}
	t.Errorf("%s: %v, not %v", row, is, should)
}

// attributes are those of an event in binary mode.
func attributes(id string, more ...string) http.Header {
	h := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Source": {"/dataplane"}, "Ce-Type": {"none"}, "Content-Type": {"application/json"}}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
		if more[i+1] == "" {
			h.Del(more[i])
		}
	}
	return h
}

const structuredEvent = `{"specversion":"1.0","id":"%s","source":"/dataplane","type":"none","data":{"n":1}}`

func (e *Env) ingress(t *testing.T) {
	structured := http.Header{"Content-Type": {event.StructuredType}}
	for i, row := range []struct {
		name, method string
		header       http.Header
		body         string
		status       int
	}{
		{"binary mode", "POST", attributes("i1"), `{}`, 202},
		{"binary mode without data", "POST", attributes("i2", "Content-Type", ""), "", 202},
		{"structured mode", "POST", structured, fmt.Sprintf(structuredEvent, "i3"), 202},
		{"structured mode with a charset", "POST", http.Header{"Content-Type": {event.StructuredType + "; charset=utf-8"}}, fmt.Sprintf(structuredEvent, "i4"), 202},
		{"the same event again", "POST", attributes("i1"), `{}`, 202},
		{"an extension", "POST", attributes("i5", "Ce-Comexampleextension", "x"), `{}`, 202},
		{"GET", "GET", nil, "", 405},
		{"PUT", "PUT", attributes("i6"), `{}`, 405},
		{"DELETE", "DELETE", nil, "", 405},
		{"OPTIONS", "OPTIONS", nil, "", 200},
		{"no event", "POST", http.Header{"Content-Type": {"application/json"}}, `{}`, 400},
		{"no id", "POST", attributes(""), `{}`, 400},
		{"no source", "POST", attributes("i7", "Ce-Source", ""), `{}`, 400},
		{"no type", "POST", attributes("i8", "Ce-Type", ""), `{}`, 400},
		{"no specversion", "POST", attributes("i9", "Ce-Specversion", ""), `{}`, 400},
		{"an unknown specversion", "POST", attributes("i10", "Ce-Specversion", "9.9"), `{}`, 400},
		{"a time that is none", "POST", attributes("i11", "Ce-Time", "yesterday"), `{}`, 400},
		{"structured mode, not JSON", "POST", structured, `{"specversion":`, 400},
		{"structured mode, no id", "POST", structured, `{"specversion":"1.0","source":"/s","type":"t"}`, 400},
		{"a batch", "POST", http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, "[" + fmt.Sprintf(structuredEvent, "i12") + "]", 400},
		{"time to live used up", "POST", attributes("i13", "Ce-Knativebrokerttl", "0"), `{}`, 400},
		{"time to live below zero", "POST", attributes("i14", "Ce-Knativebrokerttl", "-1"), `{}`, 400},
	} {
		q, err := http.NewRequestWithContext(t.Context(), row.method, "/", strings.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header = row.header
		if q.Header == nil {
			q.Header = http.Header{}
		}
		status, header := e.do(t, event.DefaultBroker, q)
		e.check(t, row.name, status, row.status)
		if row.method == "OPTIONS" && status == http.StatusOK && !strings.Contains(header.Get("Allow"), "POST") {
			t.Errorf("%d: OPTIONS is answered without POST in Allow: %v", i, header)
		}
	}
	q, _ := http.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader("{}"))
	q.Header = attributes("i20")
	status, _ := e.do(t, "none", q)
	e.check(t, "a broker that does not exist", status, 404)
	q, _ = http.NewRequestWithContext(t.Context(), "POST", "/some/path", strings.NewReader("{}"))
	q.Header = attributes("i21")
	status, _ = e.do(t, event.DefaultBroker, q)
	e.check(t, "a path that does not exist", status, 404)
}

func (e *Env) do(t *testing.T, broker string, q *http.Request) (int, http.Header) {
	t.Helper()
	a, err := e.Do(broker, q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	_, _ = io.Copy(io.Discard, a.Body)
	return a.StatusCode, a.Header
}

// send sends an event that the broker has to take.
func (e *Env) send(t *testing.T, v event.Event) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(string(v.Data)))
	if err != nil {
		t.Fatal(err)
	}
	v.ToHeader(q.Header)
	if status, _ := e.do(t, event.DefaultBroker, q); status != http.StatusAccepted {
		t.Fatalf("%s: %d", v.ID, status)
	}
}

// request is one that the app got.
type request struct {
	method, path, prefer string
	event                event.Event
	err                  error
}

// book notes the requests of an app, by the ID of the event.
type book struct {
	mu  sync.Mutex
	all map[string][]request
}

func (b *book) add(q *http.Request) request {
	body, _ := io.ReadAll(q.Body)
	r := request{method: q.Method, path: q.URL.Path, prefer: q.Header.Get("Prefer")}
	r.event, r.err = event.FromHTTP(q.Header, body)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[r.event.ID] = append(b.all[r.event.ID], r)
	return r
}

func (b *book) of(id string) []request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.all[id])
}

// until waits for something to be so.
func (e *Env) until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(e.Patience); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("it does not come to that: %s", what)
			return
		}
	}
}

// answers is what the app answers, by row, and what has to become of the event. An answer with an event in it names it "reply to ROW".
var answers = []struct {
	name     string
	status   int  // 0: the connection is closed
	event    bool // in the answer
	attempts int  // with one retry
	dead     bool
	reply    bool // becomes an event
}{
	{"200", 200, false, 1, false, false},
	{"200 with text", 200, false, 1, false, false},
	{"200 with an event", 200, true, 1, false, true},
	{"201", 201, false, 1, false, false},
	{"202", 202, false, 1, false, false},
	{"202 with an event", 202, true, 1, false, false},
	{"204", 204, false, 1, false, false},
	{"304", 304, false, 1, true, false},
	{"400", 400, false, 1, true, false},
	{"401", 401, false, 1, true, false},
	{"404", 404, false, 2, true, false},
	{"408", 408, false, 1, true, false},
	{"409", 409, false, 2, true, false},
	{"410", 410, false, 1, true, false},
	{"413", 413, false, 1, true, false},
	{"429", 429, false, 2, true, false},
	{"500", 500, false, 2, true, false},
	{"501", 501, false, 2, true, false},
	{"503", 503, false, 2, true, false},
	{"503 with an event", 503, true, 2, true, false},
	{"no answer", 0, false, 2, true, false},
}

// A full event, of which all arrives.
var full = event.Event{ID: "full", Source: "https://example.com/ä%20", Type: "row", Subject: "Grüße, \"50%\"", Time: "2026-01-31T12:00:00.123456Z", ContentType: "text/plain; charset=utf-8",
	Schema: "https://example.com/schema", Extensions: map[string]string{"comexampleone": "1", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, Data: []byte("line\r\n\x00 €")}

func (e *Env) delivery(t *testing.T) {
	b := &book{all: map[string][]request{}}
	e.Handle(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if r := b.add(q); r.path != "/dead" {
			answerRow(w, r.event.ID)
		}
	}))
	once := event.Delivery{Retry: 1, Policy: event.Linear, Delay: 20 * time.Millisecond}
	sunk := once
	sunk.DeadLetter = e.Of.App + "/dead"
	of := func(kind string) []event.Filter { return []event.Filter{{Exact: map[string]string{"type": kind}}} }
	if err := e.Platform.SetTriggers(t.Context(), e.Of, []event.Trigger{
		{Name: "rows", Broker: event.DefaultBroker, Path: "/rows", Filters: of("row"), Delivery: once},
		{Name: "sunk", Broker: event.DefaultBroker, Path: "/sunk", Filters: of("sunk"), Delivery: sunk},
	}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(e.Settle)
	e.send(t, full)
	e.send(t, event.Event{ID: "500", Source: "/sunk", Type: "sunk"})
	for _, row := range answers {
		e.send(t, event.Event{ID: "row " + row.name, Source: "/dataplane", Type: "row"})
	}
	var dead map[string]bool
	e.until(t, "each row is delivered or a dead letter", func() bool {
		dead = e.dead(t.Context())
		for _, row := range answers {
			if e.Differs[row.name] == "" && (row.dead && !dead["row "+row.name] || len(b.of("row "+row.name)) < row.attempts) {
				return false
			}
		}
		return len(b.of("full")) > 0 && len(b.of("reply to row 200 with an event")) > 0 && slices.ContainsFunc(b.of("500"), func(r request) bool { return r.path == "/dead" })
	})
	time.Sleep(300 * time.Millisecond) // what comes too often comes now
	for _, row := range answers {
		type fate struct {
			attempts    int
			dead, reply bool
		}
		is := fate{len(b.of("row " + row.name)), dead["row "+row.name], len(b.of("reply to row "+row.name)) > 0}
		e.check(t, row.name, fmt.Sprintf("%+v", is), fmt.Sprintf("%+v", fate{row.attempts, row.dead, row.reply}))
	}
	e.checkFull(t, b.of("full"))
	e.checkSunk(t, b.of("500"))
}

// answerRow answers an event as its row says.
func answerRow(w http.ResponseWriter, id string) {
	name, isRow := strings.CutPrefix(id, "row ")
	if id == "500" {
		http.Error(w, "the database is away", http.StatusInternalServerError)
		return
	}
	if !isRow {
		return
	}
	for _, row := range answers {
		if row.name != name {
			continue
		}
		if row.status == 0 {
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				c.Close()
			}
			return
		}
		if row.event {
			reply := event.Event{ID: "reply to " + id, Source: "/app", Type: "row", ContentType: "text/plain", Data: []byte("reply")}
			reply.ToHeader(w.Header())
		}
		w.WriteHeader(row.status)
		if row.event || strings.HasSuffix(name, "text") {
			_, _ = io.WriteString(w, "reply")
		}
	}
}

// dead are the IDs of the dead letters.
func (e *Env) dead(ctx context.Context) map[string]bool {
	out := map[string]bool{}
	all, _ := e.Platform.List(ctx, event.Query{Dead: true, Apps: map[int64]bool{e.Of.ID: true}, Limit: 1000})
	for _, r := range all {
		out[r.Event.ID] = true
	}
	return out
}

// checkFull looks at how an event arrives.
func (e *Env) checkFull(t *testing.T, got []request) {
	if len(got) == 0 {
		t.Error("the event does not arrive")
		return
	}
	r := got[0]
	e.check(t, "the request is a POST to the trigger's path", r.method+" "+r.path, "POST /rows")
	e.check(t, "replies are announced", r.prefer, "reply")
	if r.err != nil {
		t.Error(r.err)
	}
	v := r.event
	for _, name := range full.Attributes() {
		is, _ := v.Attribute(name)
		should, _ := full.Attribute(name)
		if name == "traceparent" { // may be another one
			continue
		}
		e.check(t, "attribute "+name, is, should)
	}
	e.check(t, "data", string(v.Data), string(full.Data))
	_, has := v.Extensions["knativebrokerttl"]
	e.check(t, "the time to live is not the app's business", has, false)
}

// checkSunk looks at a dead letter that an app takes.
func (e *Env) checkSunk(t *testing.T, got []request) {
	for _, r := range got {
		if r.path != "/dead" {
			continue
		}
		x := r.event.Extensions
		e.check(t, "knativeerrorcode", x["knativeerrorcode"], "500")
		u, err := url.Parse(x["knativeerrordest"])
		e.check(t, "knativeerrordest", err == nil && u.Scheme != "" && u.Path == "/sunk", true)
		e.check(t, "knativeerrordata", strings.TrimSpace(x["knativeerrordata"]), "the database is away")
		return
	}
	t.Error("the dead letter does not arrive")
}
