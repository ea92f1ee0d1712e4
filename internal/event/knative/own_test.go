package knative_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/contract"
	"github.com/gitd-io/gitd/internal/event/keeper"
	"github.com/gitd-io/gitd/internal/event/knative"
	"github.com/gitd-io/gitd/internal/kube/kubetest"
)

// objects are an API server that keeps what it is given, with everything ready at once, and a real keeper behind it.
type objects struct {
	t      *testing.T
	keeper *keeper.Keeper

	mu  sync.Mutex
	all map[string]map[string]any // by path
}

func (o *objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path, proxied := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/apps/services/gitd-events:80/proxy"); proxied {
		r.URL.Path = path
		o.keeper.ServeHTTP(w, r)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	answer := func(v map[string]any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	path := r.URL.Path
	there, isThere := o.all[path]
	body, _ := io.ReadAll(r.Body)
	var given map[string]any
	_ = json.Unmarshal(body, &given)
	switch {
	case path == "/apis/eventing.knative.dev/v1":
		answer(map[string]any{"kind": "APIResourceList", "resources": []any{map[string]any{"name": "brokers"}, map[string]any{"name": "triggers"}}})
	case r.Method == http.MethodPatch && r.Header.Get("Content-Type") == "application/merge-patch+json":
		merge(there, given)
		answer(there)
	case r.Method == http.MethodPatch:
		o.all[path] = ready(path[strings.LastIndex(path, "/")+1:], given)
		answer(given)
	case r.Method == http.MethodDelete:
		delete(o.all, path)
		answer(map[string]any{"kind": "Status", "status": "Success"})
	case isThere:
		answer(there)
	case strings.HasSuffix(path, "/triggers"):
		items := []any{}
		for _, p := range slices.Sorted(maps.Keys(o.all)) {
			if strings.HasPrefix(p, path+"/") && selected(o.all[p], r.URL.Query().Get("labelSelector")) {
				items = append(items, o.all[p])
			}
		}
		answer(map[string]any{"apiVersion": "eventing.knative.dev/v1", "kind": "TriggerList", "metadata": map[string]any{}, "items": items})
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"})
	}
}

// merge changes the data of an object.
func merge(there, given map[string]any) {
	data, _ := there["data"].(map[string]any)
	if data == nil {
		data = map[string]any{}
		there["data"] = data
	}
	for key, v := range given["data"].(map[string]any) {
		if data[key] = v; v == nil {
			delete(data, key)
		}
	}
}

// ready is an object that was given, as those who make it ready leave it.
func ready(name string, given map[string]any) map[string]any {
	given["status"] = map[string]any{"observedGeneration": 1, "url": "http://" + name + ".apps.test", "conditions": []any{map[string]any{"type": "Ready", "status": "True"}},
		"address": map[string]any{"url": "http://broker-ingress.knative-eventing.svc.cluster.local/apps/" + name}}
	given["metadata"].(map[string]any)["generation"] = 1
	given["metadata"].(map[string]any)["uid"] = name
	if s, ok := given["stringData"].(map[string]any); ok {
		data := map[string]any{}
		for k, v := range s {
			data[k] = base64.StdEncoding.EncodeToString([]byte(v.(string)))
		}
		given["data"] = data
	}
	return given
}

// selected says whether an object has the labels that are asked for.
func selected(o map[string]any, selector string) bool {
	labels, _ := o["metadata"].(map[string]any)["labels"].(map[string]any)
	return !slices.ContainsFunc(strings.Split(selector, ","), func(one string) bool {
		name, v, _ := strings.Cut(one, "=")
		return labels[name] != v
	})
}

// object returns what the API server has at a path; nil for nothing.
func (o *objects) object(path string) map[string]any {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all[path]
}

// onObjects is a platform on such an API server.
func onObjects(t *testing.T, rights event.Rights) (*knative.Platform, *objects) {
	t.Helper()
	const token = "token"
	k, err := keeper.New(t.TempDir(), token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	o := &objects{t: t, keeper: k, all: map[string]map[string]any{
		"/api/v1/namespaces/apps/secrets/gitd-events": {"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "gitd-events", "labels": map[string]any{}}, "data": map[string]any{"token": base64.StdEncoding.EncodeToString([]byte(token))}},
	}}
	return knative.Open(knative.Options{Client: kubetest.Client(t, o), Namespace: "apps", NamespaceOf: func(string) string { return "apps" }, Log: t.Logf, Rights: rights,
		Image: func(context.Context) (string, error) { return "image", nil }}), o
}

const triggersPath = "/apis/eventing.knative.dev/v1/namespaces/apps/triggers/"

// Knative's triggers of apps take no event that says that it is gitd's own, and those who may not see an app are not told of it.
func TestOwn(t *testing.T) {
	rights := &contract.Rights{}
	p, o := onObjects(t, rights)
	rights.Hide(3, 1)
	e := event.Event{ID: "1", Source: "/apps/shop", Type: "io.gitd.app.created", Extensions: map[string]string{event.AppAttribute: "shop"}}
	gitd := event.Sender{Kind: event.FromSource, Name: "gitd", ID: 1}
	if r, err := p.Announce(t.Context(), e, gitd); err != nil || r != (event.Receipt{}) {
		t.Errorf("where no one listens: %+v, %v", r, err)
	}
	for i, name := range []string{"shop", "friend", "spy"} {
		one := event.Trigger{Name: "told", Broker: event.DefaultBroker, Path: "/told", Filters: []event.Filter{{Prefix: map[string]string{"type": "io.gitd."}}}, Delivery: event.Delivery{Retry: 100, Delay: time.Hour, Policy: event.Linear}}
		if err := p.SetTriggers(t.Context(), event.Owner{App: name, ID: int64(i + 1), Release: 1}, []event.Trigger{one}); err != nil {
			t.Fatal(err)
		}
	}
	filters := o.object(triggersPath + "shop.told")["spec"].(map[string]any)["filters"].([]any)
	if text, _ := json.Marshal(filters); len(filters) != 2 || !strings.Contains(string(text), "EXISTS gitdapp") {
		t.Errorf("%s", text)
	}
	r, err := p.Announce(t.Context(), e, gitd)
	if err != nil || r.Triggers != 2 || r.Number == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if again, err := p.Announce(t.Context(), e, gitd); err != nil || !again.Duplicate {
		t.Errorf("%+v, %v", again, err)
	}
	record, err := p.Show(t.Context(), r.Number)
	if err != nil || len(record.Deliveries) != 2 || record.Deliveries[0].App != "friend" || record.Deliveries[1].App != "shop" || record.Deliveries[0].State != event.StateQueued || record.From.Name != "gitd" {
		t.Errorf("%+v, %v", record, err)
	}
	if _, err := p.Send(t.Context(), "", e, event.Sender{Kind: event.FromKey, Name: "alice"}); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("a key sends one: %v", err)
	}
}

// A trigger whose delivery changes has another one stand in for it; one that goes takes nothing before it is deleted, and what comes to it is forgotten.
func TestTriggersChange(t *testing.T) {
	p, o := onObjects(t, nil)
	of := event.Owner{App: "shop", ID: 1, Release: 1}
	one := event.Trigger{Name: "orders", Broker: event.DefaultBroker, Path: "/", Delivery: event.Defaults()}
	set := func(all ...event.Trigger) {
		t.Helper()
		if err := p.SetTriggers(t.Context(), of, all); err != nil {
			t.Fatal(err)
		}
	}
	set(one)
	one.Path = "/other"
	set(one)
	if o.object(triggersPath+"shop.orders.next") != nil {
		t.Error("another trigger stands in where the path alone changes")
	}
	one.Delivery.Retry = 3
	changed := make(chan error, 1)
	go func() { changed <- p.SetTriggers(t.Context(), of, []event.Trigger{one}) }()
	var bridge map[string]any
	for bridge == nil {
		bridge = o.object(triggersPath + "shop.orders.next")
		time.Sleep(time.Millisecond)
	}
	if spec := bridge["spec"].(map[string]any); spec["delivery"].(map[string]any)["retry"] != 3.0 {
		t.Errorf("%v", spec)
	}
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	live, err := p.Triggers(t.Context(), "shop")
	if err != nil || len(live) != 1 || live[0].Delivery.Retry != 3 {
		t.Errorf("%+v, %v", live, err)
	}
	set()
	for _, name := range []string{"shop.orders", "shop.orders.next"} {
		for end := time.Now().Add(10 * time.Second); o.object(triggersPath+name) != nil; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s is left: %v", name, o.object(triggersPath+name))
			}
		}
	}
}

// Requests from outside are answered here, by way of the API server: those with a token are events.
func TestDoor(t *testing.T) {
	p, o := onObjects(t, nil)
	if _, err := p.Tokens(t.Context(), ""); err != nil {
		t.Error(err)
	}
	token, err := p.CreateToken(t.Context(), "", "ci", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.CreateToken(t.Context(), "", "ci", "alice"); app.CodeOf(err) != app.CodeExists {
		t.Errorf("a second one: %v", err)
	}
	door, err := p.Door(t.Context())
	if err != nil || door != "http://broker.apps.test" || o.object("/apis/serving.knative.dev/v1/namespaces/apps/services/broker") == nil {
		t.Fatal(door, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { p.AnswerDoor(ctx, p.Outside()); close(ended) }()
	k := httptest.NewServer(o.keeper)
	defer k.Close()
	to, _ := url.Parse(k.URL)
	outside := httptest.NewServer(keeper.Relay(to))
	defer outside.Close()
	post := func(token string) int {
		q, _ := http.NewRequest("POST", outside.URL+"/", strings.NewReader("text"))
		e := event.Event{ID: "1", Source: "/s", Type: "t", ContentType: "text/plain"}
		e.ToHeader(q.Header)
		q.Header.Set("Authorization", "Bearer "+token)
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		return a.StatusCode
	}
	if status := post("wrong"); status != 401 {
		t.Errorf("a wrong token: %d", status)
	}
	if status := post(token); status != 202 { // the broker does not exist: it is on the keeper's disk
		t.Errorf("%d", status)
	}
	list, err := p.Tokens(t.Context(), "")
	if err != nil || len(list) != 1 || list[0].By != "alice" || list[0].Used.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	if err := p.RevokeToken(t.Context(), "", "ci"); err != nil {
		t.Fatal(err)
	}
	if status := post(token); status != 401 {
		t.Errorf("a revoked token: %d", status)
	}
	stop()
	<-ended
	if err := p.RevokeToken(t.Context(), "", "ci"); app.CodeOf(err) != app.CodeNotFound {
		t.Errorf("%v", err)
	}
}
