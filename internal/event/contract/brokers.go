package contract

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// A broker takes its own events, for its own triggers.
func (s *suite) brokers(t *testing.T) {
	a := s.app(t)
	if err := s.Platform.CreateBroker(t.Context(), "team", "tester"); err != nil {
		t.Fatal(err)
	}
	if err := s.Platform.CreateBroker(t.Context(), "team", "tester"); app.CodeOf(err) != app.CodeExists {
		t.Errorf("a second one of that name: %v", err)
	}
	if err := s.Platform.CreateBroker(t.Context(), "No!", "tester"); app.CodeOf(err) != app.CodeInvalidName {
		t.Errorf("a bad name: %v", err)
	}
	mine := a.trigger("mine", "/mine", "")
	mine.Broker = "team"
	a.set(t, mine, a.trigger("all", "/all", ""))
	a.send(t, "default", "")
	if _, err := s.Platform.Send(t.Context(), "team", event.Event{ID: "team", Source: "/contract", Type: a.kind}, sender); err != nil {
		t.Fatal(err)
	}
	a.receives(t, "/all", "default")
	a.receives(t, "/mine", "team")
	all, err := s.Platform.Brokers(t.Context())
	if err != nil || len(all) < 2 || all[0].Name != event.DefaultBroker || !slices.ContainsFunc(all, func(b event.Broker) bool { return b.Name == "team" && b.By == "tester" }) {
		t.Errorf("%+v, %v", all, err)
	}
	if err := s.Platform.DeleteBroker(t.Context(), event.DefaultBroker); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("the default broker: %v", err)
	}
	s.eventually(t, func() string { // its delivery may not be noted yet
		if err := s.Platform.DeleteBroker(t.Context(), "team"); app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), "live triggers of "+a.of.App) {
			return fmt.Sprintf("a broker of a live trigger: %v", err)
		}
		return ""
	})
	a.set(t, a.trigger("all", "/all", ""))
	s.eventually(t, func() string {
		if err := s.Platform.DeleteBroker(t.Context(), "team"); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := s.Platform.DeleteBroker(t.Context(), "team"); app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("a broker that is gone: %v", err)
	}
}

// A broker that was given to keys takes events from these alone, until it is given up again.
func (s *suite) shared(t *testing.T) {
	a := s.app(t)
	if err := s.Platform.CreateBroker(t.Context(), "given", "tester"); err != nil {
		t.Fatal(err)
	}
	one := a.trigger("one", "/ok", "")
	one.Broker = "given"
	a.set(t, a.trigger("all", "/all", ".else"), one)
	send := func(key, id string) error {
		_, err := s.Platform.Send(t.Context(), "given", event.Event{ID: id, Source: "/contract", Type: a.kind}, event.Sender{Kind: event.FromKey, Name: key})
		return err
	}
	keys := func() []string {
		all, err := s.Platform.Brokers(t.Context())
		at := slices.IndexFunc(all, func(b event.Broker) bool { return b.Name == "given" })
		if err != nil || at < 0 {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[at].Keys
	}
	if err := s.Platform.ShareBroker(t.Context(), "given", []string{"ann", "ben"}); err != nil {
		t.Fatal(err)
	}
	if got := keys(); !slices.Equal(got, []string{"ann", "ben"}) {
		t.Errorf("given to %q", got)
	}
	if err := send("tester", "s1"); app.CodeOf(err) != app.CodeForbidden {
		t.Errorf("a key that it was not given to: %v", err)
	}
	if err := send("ben", "s2"); err != nil {
		t.Error(err)
	}
	if err := s.Platform.ShareBroker(t.Context(), "given", nil); err != nil {
		t.Fatal(err)
	}
	if got := keys(); len(got) != 0 {
		t.Errorf("given up, but for %q", got)
	}
	if err := send("tester", "s3"); err != nil {
		t.Error(err)
	}
	a.receives(t, "/ok", "s2", "s3")
	if err := s.Platform.ShareBroker(t.Context(), event.DefaultBroker, []string{"ann"}); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("the default broker: %v", err)
	}
	if err := s.Platform.ShareBroker(t.Context(), "nowhere", nil); app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("a broker that does not exist: %v", err)
	}
	for name, of := range map[string]func(context.Context, string, []int64) (int, error){"retry": s.Platform.RetryRefused, "discard": s.Platform.DiscardRefused} {
		if n, err := of(t.Context(), "given", nil); n != 0 || err != nil {
			t.Errorf("%s of what a broker refused later, that refuses nothing: %d, %v", name, n, err)
		}
	}
}

// post sends what the broker's HTTP side is asked.
func (s *suite) post(t *testing.T, method, url, token string, header map[string]string, body string) *http.Response {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range header {
		q.Header.Set(name, v)
	}
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	r.Body = io.NopCloser(strings.NewReader(string(text)))
	return r
}

// The rows of Knative's data plane contract, and of the HTTP binding of CloudEvents, on the broker's HTTP side.
func (s *suite) ingress(t *testing.T) {
	if s.Ingress == nil {
		t.Skip("nothing outside reaches the broker")
	}
	a := s.app(t)
	a.set(t, a.trigger("all", "/ok", ""))
	token, err := s.Platform.CreateToken(t.Context(), "", "conformance", "tester")
	if err != nil {
		t.Fatal(err)
	}
	url := s.Ingress(t, event.DefaultBroker)
	binary := func(change map[string]string) map[string]string {
		h := map[string]string{"ce-specversion": "1.0", "ce-id": "binary", "ce-source": "/ingress", "ce-type": a.kind, "content-type": "text/plain"}
		for name, v := range change {
			if h[name] = v; v == "" {
				delete(h, name)
			}
		}
		return h
	}
	structured := map[string]string{"content-type": "application/cloudevents+json; charset=utf-8"}
	const rest = `"specversion":"1.0","source":"/ingress","type":"`
	for _, c := range []struct {
		name, method string
		header       map[string]string
		body         string
		status       []int
		says         string
	}{
		{"binary", "POST", binary(nil), "hello", []int{202}, ""},
		{"binary without data", "POST", binary(map[string]string{"ce-id": "empty", "content-type": ""}), "", []int{202}, ""},
		{"extensions", "POST", binary(map[string]string{"ce-id": "ext", "ce-region": "eu"}), "", []int{202}, ""},
		{"structured", "POST", structured, `{"id":"structured",` + rest + a.kind + `","data":{"a":1}}`, []int{202}, ""},
		{"structured, base64", "POST", structured, `{"id":"base64",` + rest + a.kind + `","datacontenttype":"text/plain","data_base64":"aGVsbG8="}`, []int{202}, ""},
		{"options", "OPTIONS", map[string]string{"WebHook-Request-Origin": "example.com"}, "", []int{200}, ""},
		{"get", "GET", nil, "", []int{405}, "POST"},
		{"put", "PUT", binary(nil), "", []int{405}, "POST"},
		{"delete", "DELETE", nil, "", []int{405}, "POST"},
		{"no id", "POST", binary(map[string]string{"ce-id": ""}), "", []int{400}, "id is missing"},
		{"no source", "POST", binary(map[string]string{"ce-source": ""}), "", []int{400}, "source is missing"},
		{"no type", "POST", binary(map[string]string{"ce-type": ""}), "", []int{400}, "type is missing"},
		{"no specversion", "POST", binary(map[string]string{"ce-specversion": ""}), "", []int{400}, "specversion is missing"},
		{"version 9", "POST", binary(map[string]string{"ce-specversion": "9.0"}), "", []int{400}, "9.0"},
		{"bad time", "POST", binary(map[string]string{"ce-time": "now"}), "", []int{400}, "time"},
		{"used up", "POST", binary(map[string]string{"ce-knativebrokerttl": "0"}), "", []int{400}, "circles"},
		{"structured without id", "POST", structured, `{` + rest + a.kind + `"}`, []int{400}, "id is missing"},
		{"structured, no JSON", "POST", structured, `{"id":`, []int{400}, "JSON"},
		{"structured, empty", "POST", structured, ``, []int{400}, ""},
		{"batch", "POST", map[string]string{"content-type": "application/cloudevents-batch+json"}, `[]`, []int{415}, "batch"},
		{"avro", "POST", map[string]string{"content-type": "application/cloudevents+avro"}, `x`, []int{415}, "avro"},
		{"no mode", "POST", map[string]string{"content-type": "application/json"}, `{}`, []int{415}, "content mode"},
		{"2 MB", "POST", binary(map[string]string{"ce-id": "large"}), strings.Repeat("x", 2<<20), []int{413}, "1 MiB"},
		{"much more", "POST", binary(map[string]string{"ce-id": "larger"}), strings.Repeat("x", 3<<20), []int{413}, "1 MiB"},
	} {
		r := s.post(t, c.method, url, token, c.header, c.body)
		text, _ := io.ReadAll(r.Body)
		if !slices.Contains(c.status, r.StatusCode) || !strings.Contains(string(text), c.says) {
			t.Errorf("%s: %d %s, want %d with %q", c.name, r.StatusCode, text, c.status, c.says)
		}
		if (c.method == "OPTIONS" || r.StatusCode == 405) && !strings.Contains(r.Header.Get("Allow"), "POST") {
			t.Errorf("%s: Allow: %q", c.name, r.Header.Get("Allow"))
		}
		if c.name == "options" && r.Header.Get("WebHook-Allowed-Origin") != "example.com" {
			t.Errorf("%v", r.Header)
		}
	}
	got := a.receives(t, "/ok", "binary", "empty", "ext", "structured", "base64")
	for _, g := range got {
		want := map[string]string{"binary": "hello", "structured": `{"a":1}`, "base64": "hello"}[g.Header["ce-id"]]
		if string(g.Body) != want {
			t.Errorf("%s: %q, want %q", g.Header["ce-id"], g.Body, want)
		}
	}
}

// Over HTTP, a broker takes events from those who have a token of it, and from no others.
func (s *suite) tokens(t *testing.T) {
	if s.Ingress == nil {
		t.Skip("nothing outside reaches the broker")
	}
	if err := s.Platform.CreateBroker(t.Context(), "guarded", "tester"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Platform.DeleteBroker(context.WithoutCancel(t.Context()), "guarded") }()
	token, err := s.Platform.CreateToken(t.Context(), "guarded", "ci", "tester")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Platform.CreateToken(t.Context(), "guarded", "ci", "tester"); app.CodeOf(err) != app.CodeExists {
		t.Errorf("a second one of that name: %v", err)
	}
	if _, err := s.Platform.CreateToken(t.Context(), "nowhere", "ci", "tester"); app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("a broker that does not exist: %v", err)
	}
	header := map[string]string{"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/tokens", "ce-type": "test.tokens"}
	guarded, other := s.Ingress(t, "guarded"), s.Ingress(t, event.DefaultBroker)
	for _, c := range []struct {
		url, token string
		status     int
	}{{guarded, token, 202}, {guarded, "", 401}, {guarded, "wrong", 401}, {guarded, token + "x", 401}, {other, token, 403}} {
		if r := s.post(t, "POST", c.url, c.token, header, ""); r.StatusCode != c.status {
			t.Errorf("%s with %q: %d, want %d", c.url, c.token, r.StatusCode, c.status)
		}
	}
	list, err := s.Platform.Tokens(t.Context(), "guarded")
	if err != nil || len(list) != 1 || list[0].Name != "ci" || list[0].By != "tester" || list[0].Used.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	if err := s.Platform.RevokeToken(t.Context(), "guarded", "ci"); err != nil {
		t.Fatal(err)
	}
	if err := s.Platform.RevokeToken(t.Context(), "guarded", "ci"); app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("a token that is gone: %v", err)
	}
	if r := s.post(t, "POST", guarded, token, header, ""); r.StatusCode != 401 {
		t.Errorf("a revoked token: %d", r.StatusCode)
	}
}

// Who follows the events sees those that come from then on.
func (s *suite) tail(t *testing.T) {
	a := s.app(t)
	ctx, cancel := context.WithTimeout(t.Context(), s.Wait)
	defer cancel()
	seen := make(chan event.Record, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Platform.Tail(ctx, event.Query{Filters: []event.Filter{{Prefix: map[string]string{"type": a.kind}}}}, func(r event.Record, _ int) error {
			seen <- r
			return nil
		})
	}()
	for i := 0; ; i++ { // it may not follow yet
		a.send(t, "n", "", func(e *event.Event) { e.ID = event.NewID() })
		select {
		case r := <-seen:
			if r.Event.Type != a.kind || r.Event.Source != a.source() {
				t.Errorf("%+v", r)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			return
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("nothing is seen")
		}
	}
}

// Events are listed newest first, by what is asked for.
func (s *suite) list(t *testing.T) {
	a := s.app(t)
	a.set(t, a.trigger("all", "/ok", ".a"))
	one := a.send(t, "i1", ".a").Number
	two := a.send(t, "i2", ".b").Number
	mine := event.Query{Filters: []event.Filter{{Prefix: map[string]string{"type": a.kind + "."}}}, Limit: 10}
	numbers := func(q event.Query) (n []int64) {
		list, err := s.Platform.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			n = append(n, r.Number)
		}
		return n
	}
	check := func(name string, q event.Query, want ...int64) {
		if n := numbers(q); !slices.Equal(n, want) {
			t.Errorf("%s: %d, want %d", name, n, want)
		}
	}
	check("all", mine, two, one)
	q := mine
	q.Limit = 1
	check("one", q, two)
	q = mine
	q.Before = two
	check("before", q, one)
	q = mine
	q.Apps = map[int64]bool{a.of.ID: true}
	check("of an app", q, one)
	q.Key = sender.Name
	check("of a key", q, two, one)
	q = mine
	q.Broker = "nowhere"
	check("of another broker", q)
	q = mine
	q.Since = time.Now().Add(time.Hour)
	check("later", q)
	if _, err := s.Platform.Show(t.Context(), 1<<40); app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("one that is not there: %v", err)
	}
}

// What was accepted is delivered by the process that comes after, if the one before ends.
func (s *suite) restart(t *testing.T) {
	if s.Reopen == nil {
		t.Skip("the process has no part in the delivery")
	}
	a := s.app(t)
	one := a.trigger("waits", "/fail/3/503", "")
	one.Delivery.Delay, one.Delivery.Policy, one.Delivery.Retry = 100*time.Millisecond, event.Linear, 100
	a.set(t, one)
	number := a.send(t, "w1", "").Number
	s.Platform = s.Reopen(t)
	d := a.becomes(t, number, event.StateDelivered).Deliveries[0]
	if d.Attempts < 4 {
		t.Errorf("%+v", d)
	}
	list, err := s.Platform.Triggers(t.Context(), a.of.App)
	if err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if owners, err := s.Platform.Owners(t.Context()); err != nil || owners[a.of.App] != a.of {
		t.Errorf("%+v, %v", owners, err)
	}
}
