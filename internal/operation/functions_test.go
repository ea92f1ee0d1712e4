package operation

import (
	"cmp"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/function"
)

func TestInvokeRequest(t *testing.T) {
	web, event := function.Spec{Contract: function.FunctionsFramework, Signature: function.HTTP}, function.Spec{Contract: function.Knative, Signature: function.CloudEvent}
	lambda, open := function.Spec{Contract: function.Lambda}, function.Spec{Contract: function.Lambda, Target: "open"}
	for _, tt := range []struct {
		name string
		spec function.Spec
		in   InvokeOf
		want string // method, path, type of the content, and the event's type
	}{
		{"a request", web, InvokeOf{Data: []byte(`{"a":1}`)}, "POST / application/json -"},
		{"text", web, InvokeOf{Data: []byte("a")}, "POST / text/plain; charset=utf-8 -"},
		{"bytes", web, InvokeOf{Data: []byte{0xff}}, "POST / application/octet-stream -"},
		{"nothing", web, InvokeOf{Method: "GET", Path: "/a?b=c"}, "GET /a?b=c - -"},
		{"a type of its own", web, InvokeOf{Headers: http.Header{"Content-Type": {"a/b"}}, Data: []byte("1")}, "POST / a/b -"},
		{"a request that is an event", web, InvokeOf{Event: EventOf{Type: "t.a"}}, "POST / - t.a"},
		{"an event", event, InvokeOf{Data: []byte("1")}, "POST / application/json io.gitd.invoke"},
		{"an event with attributes", event, InvokeOf{Event: EventOf{Type: "a b%é", Source: "/s", ID: "7"}}, "POST / - a%20b%25%C3%A9"},
		{"an event as it is", event, InvokeOf{Headers: http.Header{"Content-Type": {"application/cloudevents+json"}}}, "POST / application/cloudevents+json -"},
		{"its health", event, InvokeOf{Method: "GET", Path: "/health/readiness"}, "GET /health/readiness - -"},
		{"Lambda's event", open, InvokeOf{Data: []byte("{}")}, "POST " + lambdaPath + " application/json -"},
		{"Lambda's, which takes no event as it is", lambda, InvokeOf{Data: []byte("{}")}, "POST / application/json -"},
		{"Lambda's request", lambda, InvokeOf{Path: "/orders"}, "POST /orders - -"},
		{"Lambda's CloudEvent", lambda, InvokeOf{Event: EventOf{ID: "7"}}, "POST / - io.gitd.invoke"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := tt.in.request(tt.spec, func(r *http.Request) (*http.Response, error) {
				if r.Method != "GET" || r.URL.Path != "/2018-06-01/ping" {
					t.Errorf("%s %s is asked first", r.Method, r.URL)
				}
				h := http.Header{}
				if tt.spec.Target == "open" {
					h.Set("X-Gitd-Invoke-Api", "1")
				}
				return &http.Response{StatusCode: 200, Header: h, Body: http.NoBody}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			got := []string{r.Method, r.URL.RequestURI(), cmp.Or(r.Header.Get("Content-Type"), "-"), cmp.Or(r.Header.Get("Ce-Type"), "-")}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
	for _, in := range []InvokeOf{{Path: "a"}, {Path: "//host/a"}, {Method: "A B"}, {Path: "http://other/"}} {
		if _, err := in.request(web, nil); app.CodeOf(err) != app.CodeInvalidInput {
			t.Errorf("%+v: %v", in, err)
		}
	}
}

func TestInvokeAnswer(t *testing.T) {
	answer := func(body string, keep bool) (Answer, string, error) {
		var out strings.Builder
		in := InvokeOf{Keep: keep, Out: &out}
		a, err := in.answer(t.Context(), "f", &http.Response{StatusCode: 200, Header: http.Header{"B": {"2"}, "A": {"1", "3"}}, Body: io.NopCloser(strings.NewReader(body))})
		return a, out.String(), err
	}
	if a, out, err := answer("hello", false); err != nil || out != "hello" || a.Body != "" || len(a.Headers) != 3 || a.Headers[0] != (Header{"A", "1"}) || !a.OK() {
		t.Errorf("%+v %q %v", a, out, err)
	}
	if a, out, err := answer("\xff", true); err != nil || out != "" || a.Body != "/w==" || !a.Base64 {
		t.Errorf("%+v %q %v", a, out, err)
	}
	if _, _, err := answer(strings.Repeat("x", MaxAnswer+1), true); app.CodeOf(err) != app.CodeLimitExceeded {
		t.Error(err)
	}
	for _, a := range []Answer{{Status: 199}, {Status: 302}, {Status: 500}, {Status: 200, FunctionError: "Unhandled"}} {
		if a.OK() {
			t.Errorf("%+v", a)
		}
	}
}
