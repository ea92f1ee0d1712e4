package knative

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/kube/kubetest"
)

// What stays in a channel of a subscription that is gone is removed, also while the channel changes; what others have put there stays.
func TestTidy(t *testing.T) {
	has := []string{"u1", "gone", "by-hand", "u2", "gone-too"}
	moved := false
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var answer any
		switch what := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]; {
		case what == "default":
			answer = anObject("Broker", what, 1, withAChannel)
		case what == "subscriptions":
			var items []any
			for _, uid := range []string{"u1", "u2"} {
				s := anObject("Subscription", "s-"+uid, 1)
				s["metadata"].(map[string]any)["uid"] = uid
				items = append(items, s)
			}
			answer = map[string]any{"kind": "SubscriptionList", "apiVersion": "messaging.knative.dev/v1", "items": items}
		case r.Method == http.MethodPatch:
			var ops []struct{ Op, Path, Value string }
			body, _ := io.ReadAll(r.Body)
			if err := json.Unmarshal(body, &ops); err != nil || len(ops) != 2 || ops[0].Op != "test" || ops[1].Op != "remove" {
				t.Fatalf("%v: %s", err, body)
			}
			var i int
			if _, err := fmt.Sscanf(ops[1].Path, "/spec/subscribers/%d", &i); err != nil {
				t.Fatal(err)
			}
			if !moved { // another one comes first
				moved = true
				has = append([]string{"u1"}, has...)
			}
			if has[i] != ops[0].Value {
				w.WriteHeader(http.StatusUnprocessableEntity)
				answer = map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422}
				break
			}
			has = slices.Delete(has, i, i+1)
			answer = anObject("InMemoryChannel", what, 2)
		default:
			var subs []any
			for _, uid := range has {
				to := "http://broker-filter.knative-eventing.svc.cluster.local/triggers/apps/x"
				if uid == "by-hand" {
					to = "http://audit.apps.svc.cluster.local/"
				}
				subs = append(subs, map[string]any{"uid": uid, "subscriberUri": to})
			}
			answer = anObject("InMemoryChannel", what, 2, map[string]any{"spec": map[string]any{"subscribers": subs}})
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	p := Open(Options{Client: kubetest.Client(t, api), Namespace: "apps", Log: t.Logf})
	if err := p.tidy(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"u1", "u1", "by-hand", "u2"}; !slices.Equal(has, want) {
		t.Errorf("left %q, want %q", has, want)
	}
}
