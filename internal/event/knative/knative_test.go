package knative_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/knative"
	"github.com/gitd-io/gitd/internal/kube/kubetest"
)

// On a cluster without Knative Eventing whatever needs a trigger or a broker says so, and what does not goes on.
func TestNotInstalled(t *testing.T) {
	c := kubetest.Client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/apis/eventing.knative.dev/") {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		http.NotFound(w, r)
	}))
	p := knative.Open(knative.Options{Client: c, Namespace: "apps", NamespaceOf: func(string) string { return "apps" }, Log: t.Logf})
	of := event.Owner{App: "shop", ID: 1, Release: 1}
	e := event.Event{ID: "1", Source: "/test", Type: "t"}
	for name, f := range map[string]func() error{
		"a push with triggers": func() error { return p.Ready(t.Context()) },
		"triggers": func() error {
			return p.SetTriggers(t.Context(), of, []event.Trigger{{Name: "all", Broker: event.DefaultBroker, Path: "/", Delivery: event.Defaults()}})
		},
		"events send":    func() error { _, err := p.Send(t.Context(), "", e, event.Sender{}); return err },
		"brokers":        func() error { _, err := p.Brokers(t.Context()); return err },
		"brokers create": func() error { return p.CreateBroker(t.Context(), "team", "alice") },
		"events list":    func() error { _, err := p.List(t.Context(), event.Query{}); return err },
	} {
		err := f()
		message, next := app.Explain(err)
		if app.CodeOf(err) != app.CodeUnavailable || !strings.Contains(message, "Knative Eventing is not installed on this cluster") || !strings.Contains(next, "install it") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, f := range map[string]func() error{
		"a push without triggers": func() error { return p.SetTriggers(t.Context(), of, nil) },
		"an app is destroyed":     func() error { return p.Forget(t.Context(), of) },
		"gitd starts":             func() error { _, err := p.Owners(t.Context()); return err },
	} {
		if err := f(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
