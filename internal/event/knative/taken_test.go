package knative

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/kube/kubetest"
)

// channelState is what a cluster has of the channel of a broker, and of the subscription u1 of a trigger.
type channelState struct {
	observed, subscriber int64 // of the channel's generation, 2; of the subscription's, 1
	uid, ready           string
	terminating          bool
}

var taken = channelState{2, 1, "u1", "True", false}

func TestChannelHas(t *testing.T) {
	for name, c := range map[string]struct {
		channelState
		want bool
	}{
		"it has":                             {taken, true},
		"its controller has not seen it":     {channelState{1, 1, "u1", "True", false}, false},
		"it is not ready":                    {channelState{2, 1, "u1", "False", false}, false},
		"it has another subscription":        {channelState{2, 1, "u0", "True", false}, false},
		"it has the subscription as it was":  {channelState{2, 0, "u1", "True", false}, false},
		"the subscription is on its way out": {channelState{2, 1, "u1", "True", true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := withChannel(t, func() channelState { return c.channelState })
			if has, err := p.channelHas(t.Context(), "default-kne-trigger", []string{"shop.orders"}); has != c.want || err != nil {
				t.Errorf("got %t, %v, want %t", has, err, c.want)
			}
		})
	}
}

// A trigger that is ready waits until its channel's controller has seen it.
func TestWaitTaken(t *testing.T) {
	var looks atomic.Int32
	p := withChannel(t, func() channelState {
		if looks.Add(1) <= 2 { // the first look at the subscription, and at the channel
			return channelState{1, 1, "u1", "True", false}
		}
		return taken
	})
	if err := p.waitTaken(t.Context(), &unstructured.Unstructured{Object: anObject("Trigger", "shop.orders", 1, ofBroker)}); err != nil || looks.Load() != 4 {
		t.Errorf("%v after %d looks, want 4", err, looks.Load())
	}
}

// A trigger is not waited for once its broker goes: it never becomes ready.
func TestWaitTaken_BrokerGoes(t *testing.T) {
	var looks atomic.Int32
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		answer := anObject("Trigger", what, 1, ofBroker, readiness("False", 1))
		if what == "default" {
			answer = anObject("Broker", what, 1)
			if looks.Add(1) > 2 {
				answer["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	})
	p := Open(Options{Client: kubetest.Client(t, api), Namespace: "apps", Log: t.Logf})
	began := time.Now()
	err := p.waitTaken(t.Context(), &unstructured.Unstructured{Object: anObject("Trigger", "shop.orders", 1, ofBroker)})
	if app.CodeOf(err) != app.CodeUnavailable || !strings.Contains(err.Error(), "the broker default is gone") || time.Since(began) > readyTime/2 {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

// withAChannel is the status of a broker.
var withAChannel = map[string]any{"status": map[string]any{"annotations": map[string]any{channelKindNote: inMemoryChannel, channelNameNote: "default-kne-trigger"}}}

var ofBroker = map[string]any{"spec": map[string]any{"broker": "default"}}

// withChannel is a platform on a cluster with a broker, a trigger that is ready, and a channel.
func withChannel(t *testing.T, now func() channelState) *Platform {
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any
		switch what := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]; what {
		case "shop.orders":
			answer = anObject("Trigger", what, 1, ofBroker, readiness("True", 1))
		case "default":
			answer = anObject("Broker", what, 1, withAChannel)
		case "subscriptions":
			s := anObject("Subscription", "s", 1)
			m := s["metadata"].(map[string]any)
			m["uid"], m["labels"] = "u1", map[string]any{triggerLabel: "shop.orders"}
			if now().terminating {
				m["deletionTimestamp"] = "2026-01-01T00:00:00Z"
			}
			answer = map[string]any{"kind": "SubscriptionList", "apiVersion": "messaging.knative.dev/v1", "items": []any{s}}
		case "default-kne-trigger":
			c := now()
			answer = anObject("InMemoryChannel", what, 2, map[string]any{"spec": map[string]any{"subscribers": []any{map[string]any{"uid": c.uid, "generation": c.subscriber}}}}, readiness(c.ready, c.observed))
		default:
			t.Errorf("%s %s", r.Method, r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	})
	return Open(Options{Client: kubetest.Client(t, api), Namespace: "apps", Log: t.Logf})
}

func anObject(kind, name string, generation int64, parts ...map[string]any) map[string]any {
	o := map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": name, "namespace": "apps", "generation": generation}}
	for _, part := range parts {
		for k, v := range part {
			o[k] = v
		}
	}
	return o
}

func readiness(is string, observed int64) map[string]any {
	return map[string]any{"status": map[string]any{"observedGeneration": observed, "conditions": []any{map[string]any{"type": "Ready", "status": is}}}}
}
