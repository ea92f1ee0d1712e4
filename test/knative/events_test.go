package knative_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build/cluster"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/dataplane"
	eventing "github.com/gitd-io/gitd/internal/event/knative"
	"github.com/gitd-io/gitd/internal/kube"
)

// inProcess is an app that is in this process: a Service of the cluster leads to it.
type inProcess struct {
	mu     sync.Mutex
	got    []event.Event
	paths  []string
	answer func(http.ResponseWriter, event.Event)
	other  http.Handler // that answers instead
}

func (r *inProcess) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	other := r.other
	r.mu.Unlock()
	if other != nil {
		other.ServeHTTP(w, q)
		return
	}
	body, _ := io.ReadAll(q.Body)
	e, err := event.FromHTTP(q.Header, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.got, r.paths = append(r.got, e), append(r.paths, q.URL.Path)
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		answer(w, e)
	}
}

func (r *inProcess) set(answer func(http.ResponseWriter, event.Event)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *inProcess) handle(h http.Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.other = h
}

// times is how often an event came.
func (r *inProcess) times(id string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.got {
		if e.ID == id {
			n++
		}
	}
	return n
}

// receive makes an app of this process. The node reaches this machine's loopback by an address.
func receive(t *testing.T, c *kube.Client, namespace, name string) *inProcess {
	t.Helper()
	r := &inProcess{}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	_, text, _ := net.SplitHostPort(s.Listener.Addr().String())
	port, _ := strconv.ParseInt(text, 10, 64)
	meta := map[string]any{"name": name, "namespace": namespace}
	apply(t, c, core("services"), &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": meta,
		"spec": map[string]any{"ports": []any{map[string]any{"name": "http", "port": int64(80), "protocol": "TCP"}}}}})
	endpoints := schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
	apply(t, c, endpoints, &unstructured.Unstructured{Object: map[string]any{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
		"metadata":    map[string]any{"name": name, "namespace": namespace, "labels": map[string]any{"kubernetes.io/service-name": name}},
		"addressType": "IPv4", "endpoints": []any{map[string]any{"addresses": []any{"10.0.2.2"}, "conditions": map[string]any{"ready": true}}},
		"ports": []any{map[string]any{"name": "http", "port": port, "protocol": "TCP"}}}})
	return r
}

func eventsIn(t *testing.T, c *kube.Client, namespace string) *eventing.Platform {
	t.Helper()
	return eventsWith(t, c, namespace, nil)
}

func eventsWith(t *testing.T, c *kube.Client, namespace string, rights event.Rights) *eventing.Platform {
	t.Helper()
	return eventing.Open(eventing.Options{Client: c, Namespace: namespace, NamespaceOf: func(string) string { return namespace }, Log: apptest.Logger(t), Rights: rights,
		Image: func(context.Context) (string, error) {
			img, err := cluster.Keeper()
			if err != nil {
				return "", err
			}
			return pullFrom + "/" + push(t, "gitd/keeper", img), nil
		}})
}

// asInstalled is a client with the rights that config/ gives gitd in the namespace of the apps, and no others.
func asInstalled(t *testing.T, c *kube.Client, namespace string) *kube.Client {
	t.Helper()
	f, err := os.Open("../../config/single-namespace/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		o := &unstructured.Unstructured{}
		if err := d.Decode(&o.Object); err != nil {
			break
		}
		o.SetNamespace(namespace)
		switch o.GetKind() {
		case "Role":
			apply(t, c, roles, o)
		case "RoleBinding":
			o.Object["subjects"] = []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "gitd-" + namespace}}
			apply(t, c, roleBindings, o)
		}
	}
	return clientAs(t, is("gitd-"+namespace))
}

func order(id string) event.Event {
	return event.Event{ID: id, Source: "/test", Type: "order.created", ContentType: "application/json", Data: []byte(`{"n":1}`)}
}

// story is an app and its events on a real broker.
type story struct {
	p, again *eventing.Platform
	shop     *inProcess
	of       event.Owner
	key      event.Sender
}

// TestEvents tells the story of an app's events on a real broker, with the rights that config/ gives gitd.
func TestEvents(t *testing.T) {
	t.Parallel()
	c := client(t)
	namespace := newNamespace(t, c, "events")
	s := &story{eventsIn(t, asInstalled(t, c, namespace), namespace), eventsIn(t, asInstalled(t, c, namespace), namespace), receive(t, c, namespace, "shop"), event.Owner{App: "shop", ID: 7, Release: 3}, event.Sender{Kind: event.FromKey, Name: "alice"}}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	orders := event.Trigger{Name: "orders", Broker: event.DefaultBroker, Path: "/orders", Filters: []event.Filter{{Exact: map[string]string{"type": "order.created"}}},
		Delivery: event.Delivery{Retry: 1, Policy: event.Linear, Delay: 100 * time.Millisecond}}
	begin := time.Now()
	if err := s.p.SetTriggers(ctx, s.of, []event.Trigger{orders}); err != nil {
		t.Fatal(err)
	}
	t.Logf("the first triggers are live after %s", time.Since(begin))
	s.delivers(ctx, t)
	s.dies(ctx, t)
	s.replies(ctx, t)
	if n, err := s.p.Replay(ctx, s.of, "orders", begin); err != nil || n != 4 {
		t.Errorf("%d events are replayed: %v", n, err)
	}
	eventually(t, time.Minute, func() error { return errors.Join(came(s.shop, "1", 2), came(s.shop, "3-reply", 2)) })
	s.ends(ctx, t, orders)
}

func (s *story) delivers(ctx context.Context, t *testing.T) {
	if _, err := s.p.Send(ctx, "", event.Event{ID: "other", Source: "/test", Type: "other"}, s.key); err != nil {
		t.Fatal(err)
	}
	r, err := s.p.Send(ctx, "", order("1"), s.key)
	if err != nil || r.Triggers != 1 || r.Number == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if again, err := s.p.Send(ctx, "", order("1"), s.key); err != nil || !again.Duplicate || again.Number != r.Number {
		t.Errorf("%+v, %v", again, err)
	}
	eventually(t, time.Minute, func() error { return came(s.shop, "1", 1) })
	if s.shop.times("other") != 0 {
		t.Error("an event that the filter refuses came")
	}
	s.shop.mu.Lock()
	defer s.shop.mu.Unlock()
	if e := s.shop.got[0]; s.shop.paths[0] != "/orders" || string(e.Data) != `{"n":1}` || e.ContentType != "application/json" || e.Extensions["knativebrokerttl"] != "" {
		t.Errorf("%+v at %s", e, s.shop.paths[0])
	}
}

// dies: one that fails is a dead letter after its retries; it is listed, and sent again.
func (s *story) dies(ctx context.Context, t *testing.T) {
	s.shop.set(func(w http.ResponseWriter, _ event.Event) {
		http.Error(w, "the database is away", http.StatusServiceUnavailable)
	})
	if _, err := s.p.Send(ctx, "", order("2"), s.key); err != nil {
		t.Fatal(err)
	}
	var dead []event.Record
	eventually(t, time.Minute, func() (err error) {
		dead, err = s.p.List(ctx, event.Query{Dead: true, Apps: map[int64]bool{s.of.ID: true}})
		if err == nil && len(dead) != 1 {
			err = fmt.Errorf("%d dead letters", len(dead))
		}
		return err
	})
	if again, err := s.again.List(ctx, event.Query{Dead: true, Apps: map[int64]bool{s.of.ID: true}}); err != nil || len(again) != 1 { // a gitd that has just started
		t.Errorf("%+v, %v", again, err)
	}
	d := dead[0].Deliveries[0]
	if dead[0].Event.ID != "2" || d.State != event.StateDead || d.Reason != "503: the database is away" || dead[0].From.Name != "alice" {
		t.Errorf("%+v", dead[0])
	}
	if n := s.shop.times("2"); n != 2 {
		t.Errorf("it was tried %d times, not twice", n)
	}
	if r, err := s.p.Show(ctx, dead[0].Number); err != nil || len(r.Deliveries) != 1 || r.Event.ID != "2" {
		t.Errorf("%+v, %v", r, err)
	}
	s.shop.set(nil)
	if n, err := s.p.RetryDead(ctx, s.of, []int64{dead[0].Number}); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	eventually(t, time.Minute, func() error { return came(s.shop, "2", 3) })
	eventually(t, time.Minute, func() error {
		dead, err := s.p.List(ctx, event.Query{Dead: true})
		if err == nil && len(dead) != 0 {
			err = fmt.Errorf("it is still a dead letter: %+v", dead[0].Deliveries)
		}
		return err
	})
}

// replies: an answer with an event is one of the broker.
func (s *story) replies(ctx context.Context, t *testing.T) {
	back := order("3-reply")
	s.shop.set(func(w http.ResponseWriter, e event.Event) {
		if e.ID == "3" {
			back.ToHeader(w.Header())
			_, _ = w.Write(back.Data)
		}
	})
	if _, err := s.p.Send(ctx, "", order("3"), s.key); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() error { return came(s.shop, "3-reply", 1) })
	s.shop.set(nil)
}

// ends: other triggers take the place of these, and nothing of the old ones is left.
func (s *story) ends(ctx context.Context, t *testing.T, orders event.Trigger) {
	orders.Filters, orders.Name = nil, "all"
	if err := s.p.SetTriggers(ctx, event.Owner{App: "shop", ID: 7, Release: 4}, []event.Trigger{orders}); err != nil {
		t.Fatal(err)
	}
	live, err := s.p.Triggers(ctx, "shop")
	if err != nil || len(live) != 1 || live[0].Name != "all" || live[0].Release != 4 {
		t.Errorf("%+v, %v", live, err)
	}
	if err := s.p.Forget(ctx, s.of); err != nil {
		t.Fatal(err)
	}
	if live, err := s.p.Triggers(ctx, ""); err != nil || len(live) != 0 {
		t.Errorf("%+v, %v", live, err)
	}
	if _, err := s.p.Send(ctx, "none", order("4"), s.key); app.CodeOf(err) != app.CodeNotFound {
		t.Error(err)
	}
}

func came(r *inProcess, id string, n int) error {
	if got := r.times(id); got < n {
		return fmt.Errorf("%s came %d times, not %d", id, got, n)
	}
	return nil
}

// asApp sends requests to brokers as apps do, which know the URLs of all of them.
func asApp(t *testing.T, c *kube.Client, namespace string) func(broker string, q *http.Request) (*http.Response, error) {
	t.Helper()
	transport, err := rest.TransportFor(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	return func(broker string, q *http.Request) (*http.Response, error) {
		to, err := url.Parse(c.Config.Host + "/api/v1/namespaces/knative-eventing/services/broker-ingress:80/proxy/" + namespace + "/" + broker + strings.TrimSuffix(q.URL.Path, "/"))
		if err != nil {
			return nil, err
		}
		q.URL, q.Host = to, ""
		return transport.RoundTrip(q)
	}
}

// TestEventsDataPlane runs the tables that the broker on one machine is held to against Knative's own.
func TestEventsDataPlane(t *testing.T) {
	t.Parallel()
	c := client(t)
	namespace := newNamespace(t, c, "dataplane")
	p := eventsIn(t, c, namespace)
	shop := receive(t, c, namespace, "shop")
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	post := asApp(t, c, namespace)
	dataplane.Run(t, &dataplane.Env{Platform: p, Of: event.Owner{App: "shop", ID: 7, Release: 1}, Handle: shop.handle,
		Do: post, Settle: time.Second, Differs: map[string]string{
			"a path that does not exist": "Knative's broker takes it for an event that it cannot read",
			"202 with an event":          "Knative takes it for a reply all the same",
			"200 with text":              "Knative takes an answer that is neither empty nor an event for a failure",
			"408":                        "Knative tries again",
			"knativeerrordata":           "Knative writes it in base64",
		}})

	// While the keeper does not run, brokers take events as ever.
	if err := p.CreateBroker(t.Context(), "alone", "tester"); err != nil {
		t.Fatal(err)
	}
	if err := c.Resource(deployments, namespace).Delete(t.Context(), "gitd-events", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	q, _ := http.NewRequestWithContext(t.Context(), "POST", "/", nil)
	e := event.Event{ID: "alone", Source: "/test", Type: "none"}
	e.ToHeader(q.Header)
	a, err := post("alone", q)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode != http.StatusAccepted {
		t.Errorf("without the keeper: %d", a.StatusCode)
	}
}
