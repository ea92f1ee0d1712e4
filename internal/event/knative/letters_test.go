package knative_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/keeper"
	"github.com/gitd-io/gitd/internal/event/knative"
	"github.com/gitd-io/gitd/internal/kube/kubetest"
)

// fakeAPI is an API server with one live trigger, behind which a real keeper runs with these letters.
func fakeAPI(t *testing.T, letters []keeper.Letter) (p *knative.Platform, asked func() []string) {
	t.Helper()
	dir := t.TempDir()
	for _, l := range letters {
		text, _ := json.Marshal(l)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(l.ID, ".json")), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k, err := keeper.New(dir, "token")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	trigger, _ := json.Marshal(event.Trigger{Name: "orders", Broker: "default", Path: "/", Filters: []event.Filter{{Exact: map[string]string{"type": "order"}}}})
	owner, _ := json.Marshal(event.Owner{App: "shop", ID: 7, Release: 1})
	var mu sync.Mutex
	var all []string
	c := kubetest.Client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		all = append(all, r.URL.String())
		mu.Unlock()
		path, proxied := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/apps/services/gitd-events:80/proxy")
		answer := func(v map[string]any) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v)
		}
		switch {
		case proxied:
			r.URL.Path = path
			k.ServeHTTP(w, r)
		case r.URL.Path == "/apis/eventing.knative.dev/v1":
			answer(map[string]any{"kind": "APIResourceList", "resources": []any{map[string]any{"name": "brokers"}, map[string]any{"name": "triggers"}}})
		case strings.HasSuffix(r.URL.Path, "/secrets/gitd-events"):
			answer(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "gitd-events"}, "data": map[string]any{"token": base64.StdEncoding.EncodeToString([]byte("token"))}})
		case strings.HasSuffix(r.URL.Path, "/triggers"):
			answer(map[string]any{"apiVersion": "eventing.knative.dev/v1", "kind": "TriggerList", "metadata": map[string]any{}, "items": []any{map[string]any{"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger",
				"metadata": map[string]any{"name": "shop.orders", "annotations": map[string]any{"gitd.io/trigger": string(trigger), "gitd.io/owner": string(owner)}}}}})
		default:
			t.Errorf("%s %s", r.Method, r.URL)
			http.NotFound(w, r)
		}
	}))
	return knative.Open(knative.Options{Client: c, Namespace: "apps", NamespaceOf: func(string) string { return "apps" }, Log: t.Logf}), func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := all
		all = nil
		return out
	}
}

func letter(id int64, kind string, failed bool) keeper.Letter {
	l := keeper.Letter{ID: id, Number: id, Broker: "default", App: "shop", AppID: 7, Trigger: "orders", Time: time.Now(),
		Event: fmt.Appendf(nil, `{"specversion":"1.0","id":"i%d","source":"/s","type":%q}`, id, kind)}
	if failed {
		l.Failure = event.Failure{Destination: "http://shop/", Status: 400}
	}
	return l
}

// A list of dead letters reads the events of those that it shows, and of those of which only the event tells whether they are some.
func TestLetters_Lists(t *testing.T) {
	var all []keeper.Letter
	for id := int64(1); id <= 1200; id++ {
		all = append(all, letter(id, "order", true))
	}
	all = append(all, letter(1201, "order", false), letter(1202, "other", false)) // the last is not the trigger's
	out := keeper.Letter{ID: 1203, Number: 1203, Broker: "default", From: event.Sender{Kind: event.FromKey, Name: "alice"}, Out: true, Time: time.Now(),
		Event: letter(1203, "order", true).Event, Failure: event.Failure{Destination: "http://broker/", Status: 413}}
	p, asked := fakeAPI(t, append(all, out))
	ctx := t.Context()

	live, err := p.Triggers(ctx, "shop")
	if err != nil || len(live) != 1 || live[0].Dead != 1201 || live[0].Queued != 0 {
		t.Fatalf("%+v, %v", live, err)
	}
	for _, url := range asked() {
		if strings.Contains(url, "full=") || strings.Contains(url, "ids=") && !strings.HasSuffix(url, "ids=1202%2C1201") {
			t.Error(url)
		}
	}
	list, err := p.List(ctx, event.Query{Dead: true, Apps: map[int64]bool{7: true}, Limit: 3, Before: 1201})
	if err != nil || len(list) != 3 || list[0].Number != 1200 || list[0].Event.ID != "i1200" || list[2].Number != 1198 {
		t.Errorf("%+v, %v", list, err)
	}
	// What a broker refused after gitd had accepted it is seen where all is seen, and by its sender.
	for _, q := range []event.Query{{Limit: 1}, {Limit: 1, Apps: map[int64]bool{}, Key: "alice"}} {
		list, err = p.List(ctx, q)
		if err != nil || len(list) != 1 || list[0].Number != 1203 || len(list[0].Deliveries) != 1 || list[0].Deliveries[0].State != event.StateDead || !strings.Contains(list[0].Deliveries[0].Reason, "413") {
			t.Errorf("%+v, %v", list, err)
		}
	}
	if r, err := p.Show(ctx, 1203); err != nil || r.From.Name != "alice" || r.Event.ID != "i1203" {
		t.Errorf("%+v, %v", r, err)
	}
	if n, err := p.Discard(ctx, event.Owner{App: "shop", ID: 7}, []int64{5, 6, 1203}); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
