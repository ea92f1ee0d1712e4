package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
)

func TestEventHandler(t *testing.T) {
	h, err := eventHandler(func(_ context.Context, e cloudevents.Event) (*cloudevents.Event, error) {
		switch e.Type() {
		case "t.panic":
			panic("oh no")
		case "t.error":
			return nil, errors.New("it did not work")
		case "t.status":
			return nil, cloudevents.NewHTTPResult(http.StatusConflict, "taken")
		case "t.bad":
			return &cloudevents.Event{}, nil
		case "t.reply":
			r := e.Clone()
			r.SetType("t.answer")
			return &r, nil
		}
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	structured := "application/cloudevents+json; charset=utf-8"
	event := func(kind string) string { return `{"specversion":"1.0","id":"1","source":"/s","type":"` + kind + `"}` }
	for _, tt := range []struct {
		name, method, kind, body string
		status                   int
		want                     string
	}{
		{"an event", "POST", structured, event("t.a"), 200, ""},
		{"a reply", "POST", structured, event("t.reply"), 200, ""},
		{"a panic", "POST", structured, event("t.panic"), 500, ""},
		{"an error", "POST", structured, event("t.error"), 500, ""},
		{"a status of the function's", "POST", structured, event("t.status"), 409, ""},
		{"an answer that is none", "POST", structured, event("t.bad"), 500, ""},
		{"no type", "POST", structured, `{"specversion":"1.0","id":"1","source":"/s"}`, 400, "type is missing"},
		{"no JSON", "POST", structured, `{`, 400, "not a JSON object"},
		{"a batch", "POST", "application/cloudevents-batch+json", `[]`, 415, "one by one"},
		{"an unknown format", "POST", "application/cloudevents+avro", ``, 415, "application/cloudevents+json"},
		{"no event", "POST", "application/json", `{}`, 400, "no header ce-specversion"},
		{"GET", "GET", structured, ``, 405, "by POST"},
		{"2 MB", "POST", structured, strings.Replace(event("t.a"), "}", `,"data":"`+strings.Repeat("x", 2<<20)+`"}`, 1), 200, ""},
		{"too much", "POST", structured, strings.Repeat("x", maxEvent+1), 413, "at most 10 MiB"},
		{"too much in binary mode", "POST", "text/plain", strings.Repeat("x", maxEvent+1), 413, "at most 10 MiB"},
		{"binary mode", "POST", "text/plain", "data", 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/", strings.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.kind)
			if tt.kind == "text/plain" {
				for name, value := range map[string]string{"Specversion": "1.0", "Id": "1", "Source": "/s", "Type": "t.a"} {
					r.Header.Set("Ce-"+name, value)
				}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, tt.status, tt.want)
			}
			if tt.name == "a reply" && w.Header().Get("Ce-Type") != "t.answer" {
				t.Errorf("%v", w.Header())
			}
		})
	}
}

// instance is a function with all that Knative's may have.
type instance struct {
	ready   bool
	alive   error
	start   error
	started chan struct{}
	stopped bool
}

func (i *instance) Start(context.Context, map[string]string) error { close(i.started); return i.start }
func (i *instance) Stop(context.Context) error                     { i.stopped = true; return nil }
func (i *instance) Ready(context.Context) (bool, error)            { return i.ready, nil }
func (i *instance) Alive(context.Context) (bool, error)            { return i.alive == nil, i.alive }

func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	i := &instance{alive: errors.New("no database"), started: make(chan struct{})}
	ended := make(chan error)
	go func() {
		ended <- serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer recovered(w)
			panic("oh no")
		}), i)
	}()
	<-i.started
	for path, want := range map[string]string{"/health/readiness": "503 not ready", "/health/liveness": "500 not alive: no database", "/": "500 the function panicked"} {
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := resp.Status[:4] + strings.TrimSuffix(strings.TrimPrefix(string(body), `{"message":"`), "\"}\n"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil || !i.stopped {
			t.Errorf("%v, stopped %v", err, i.stopped)
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
}

func TestServe_StartFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	err = serve(t.Context(), l, http.NotFoundHandler(), &instance{start: errors.New("no queue"), started: make(chan struct{})})
	if err == nil || err.Error() != "the function's Start: no queue" {
		t.Error(err)
	}
}

func TestHealth(t *testing.T) {
	w := httptest.NewRecorder()
	routes(http.NotFoundHandler(), nil).ServeHTTP(w, httptest.NewRequest("GET", "/health/readiness", nil))
	if w.Code != 200 || w.Body.String() != "READY" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
