package knative_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/contract"
	"github.com/gitd-io/gitd/internal/event/contract/receiver"
	eventing "github.com/gitd-io/gitd/internal/event/knative"
)

// outside is where those outside reach the brokers: the ingress, to which they come by a name that this machine's resolver does not know.
func outside(t *testing.T, p *eventing.Platform) (to func(*testing.T, string) string) {
	t.Helper()
	door, err := p.Door(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.AnswerDoor(ctx, p.Outside())
	}()
	u, err := url.Parse(door)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: ingress})
		r.Out.Host = u.Host
	}})
	t.Cleanup(func() { web.Close(); stop(); <-ended })
	return func(_ *testing.T, broker string) string {
		if broker == event.DefaultBroker {
			return web.URL + "/"
		}
		return web.URL + "/" + broker
	}
}

// TestEventsContract runs the suite that the broker on one machine passes as well.
func TestEventsContract(t *testing.T) {
	t.Parallel()
	c := client(t)
	namespace := newNamespace(t, c, "eventcontract")
	rights := &contract.Rights{}
	p := eventsWith(t, c, namespace, rights)
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	post := asApp(t, c, namespace)
	var ids atomic.Int64
	contract.Run(t, &contract.Env{Platform: p, Rights: rights, Wait: 2 * time.Minute, Quiet: time.Second, LaterTriggers: true, Blind: true, FewerHops: 1, Ingress: outside(t, p),
		App: func(t *testing.T, name string) (event.Owner, func(*testing.T) []receiver.Got) {
			r := &receiver.Receiver{}
			receive(t, c, namespace, name).handle(r)
			return event.Owner{App: name, ID: ids.Add(1)}, func(t *testing.T) (got []receiver.Got) {
				w := httptest.NewRecorder()
				r.ServeHTTP(w, httptest.NewRequest("GET", "/got", nil))
				if err := json.NewDecoder(w.Body).Decode(&got); err != nil {
					t.Fatal(err)
				}
				return got
			}
		},
		AsApp: func(t *testing.T, _ event.Owner, e event.Event) {
			q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(e.Data))
			if err != nil {
				t.Fatal(err)
			}
			e.ToHeader(q.Header)
			a, err := post(event.DefaultBroker, q)
			if err != nil {
				t.Fatal(err)
			}
			a.Body.Close()
		},
		Differs: map[string]string{
			"answers that are no reply":         "Knative takes an answer that is neither empty nor an event for a failure, and an event in an answer of 202 for a reply",
			"dead-letter app that fails":        "an event whose dead-letter sink fails is not kept: its sender is told",
			"triggers change while events wait": "what is being tried for a trigger that goes is tried on, as often and where it said",
		},
	})
}
