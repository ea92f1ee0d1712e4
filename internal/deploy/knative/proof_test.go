package knative

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube/kubetest"
)

// applied is a cluster that keeps what is applied as it is: nothing becomes ready.
type applied struct {
	sync.Mutex
	objects map[string]map[string]any // by path
	deleted []string
}

func (a *applied) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.Lock()
	defer a.Unlock()
	w.Header().Set("Content-Type", "application/json")
	var answer any = map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"}
	switch there := a.objects[r.URL.Path]; {
	case r.Method == http.MethodPatch:
		var o map[string]any
		_ = json.NewDecoder(r.Body).Decode(&o)
		o["metadata"].(map[string]any)["uid"] = r.URL.Path
		a.objects[r.URL.Path], answer = o, o
	case r.Method == http.MethodDelete && there != nil:
		delete(a.objects, r.URL.Path)
		a.deleted = append(a.deleted, r.URL.Path)
		answer = there
	case r.Method == http.MethodGet && there != nil:
		answer = there
	case r.URL.Query().Has("labelSelector") || r.URL.Query().Has("fieldSelector"):
		items := []any{}
		for path, o := range a.objects {
			if strings.HasPrefix(path, r.URL.Path+"/") {
				items = append(items, o)
			}
		}
		answer = map[string]any{"kind": "List", "apiVersion": "v1", "metadata": map[string]any{}, "items": items}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// find returns the path of an object of a kind of resource; "" for none.
func (a *applied) find(resource string) string {
	a.Lock()
	defer a.Unlock()
	for path := range a.objects {
		if strings.Contains(path, "/"+resource+"/") {
			return path
		}
	}
	return ""
}

// on is a platform on that cluster.
func (a *applied) on(t *testing.T) *Platform {
	t.Helper()
	return &Platform{c: kubetest.Client(t, a), o: Options{Namespace: "apps", Log: t.Logf, Pod: func(context.Context) (string, error) { return "gitd/pod", nil }}}
}

// The domains of an app are told again while the Pod of a proof starts, as `domains add` does: the Pod stays. The next gitd, which knows nothing of it, removes it.
func TestProve_DomainsAreTold(t *testing.T) {
	a := &applied{objects: map[string]map[string]any{}}
	p := a.on(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Prove(ctx, "shop", "www.shop.example", "token.text") }()
	for a.find("deployments") == "" {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	domains := []deploy.Domain{{Name: "www.shop.example"}}
	namespace := p.namespace("shop")
	if err := p.removeProofs(ctx, namespace, "shop", domains); err != nil {
		t.Fatal(err)
	}
	if a.find("deployments") == "" {
		t.Fatal("the proof that is being made was removed")
	}
	if err := a.on(t).removeProofs(ctx, namespace, "shop", domains); err != nil {
		t.Fatal(err)
	}
	if path := a.find("deployments"); path != "" {
		t.Errorf("the next gitd leaves %s", path)
	}
	select { // what was removed by another is not waited for
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "was removed") {
			t.Errorf("got %v", err)
		}
	case <-time.After(proofTime / 2):
		t.Error("it waits for what was removed")
	}
	cancel()
}
