package knative_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/deploy/knative"
)

// Two gitd on one cluster leave each other's apps alone, in one namespace and with a namespace for each app.
func TestInstances(t *testing.T) {
	t.Parallel()
	c := client(t)
	_, ref := image(t)
	namespace := newNamespace(t, c, "instances")
	prefix := "two-" + strings.TrimPrefix(namespace, "instances-") + "-"
	t.Cleanup(func() {
		_ = c.Resource(namespaces, "").Delete(context.Background(), prefix+"shop", metav1.DeleteOptions{})
	})
	one, two := options(t, c, namespace), options(t, c, namespace)
	apart := func(o knative.Options, instance string) knative.Options {
		o.Instance, o.PullConfig = instance, func(string) ([]byte, error) { return []byte(`{"auths":{}}`), nil }
		return o
	}
	one, two = apart(one, "one"), apart(two, "two")
	first, second := open(t, one), open(t, two)
	if told, err := roll(t, first, service("shop", "v1", ref)); err != nil {
		t.Fatalf("%v\n%s", err, told)
	}
	refused := func(p deploy.Platform, message string) {
		t.Helper()
		_, err := roll(t, p, service("shop", "v1", ref, "COLOUR=red"))
		if app.CodeOf(err) != app.CodeExists || err == nil || err.Error() != message {
			t.Errorf("another one's app: %v, want %q", err, message)
		}
	}
	refused(second, "the Service shop exists already in the namespace "+namespace+", of another gitd")
	if _, err := second.Get(t.Context(), "shop"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("it is shown: %v", err)
	}
	if err := second.Delete(t.Context(), "shop"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("it is deleted: %v", err)
	}
	if all, err := second.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("it is listed: %v, %v", all, err)
	}
	if _, err := first.Get(t.Context(), "shop"); err != nil {
		t.Errorf("its own does not find it: %v", err)
	}
	if code, _ := request(t, "shop."+namespace+"."+domain, "/"); code != 200 {
		t.Errorf("it answers %d", code)
	}
	if _, err := c.Resource(core("secrets"), namespace).Get(t.Context(), "gitd-pull-one", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}

	// A process of the one goes on while the other starts.
	var runs sync.WaitGroup
	defer runs.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := make(chan struct{})
	ended := make(chan error, 1)
	w := writer(sync.OnceFunc(func() { close(started) }))
	runs.Go(func() { ended <- deploy.RunProcess(ctx, first, service("job", "v1", ref), "job", w) })
	select {
	case <-started:
	case err := <-ended:
		t.Fatalf("the process ended: %v", err)
	case <-time.After(3 * time.Minute):
		t.Fatal("the process does not start")
	}
	open(t, two)
	jobs := func() int {
		l, err := c.Resource(schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "gitd.io/app=job"})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, j := range l.Items {
			if j.GetDeletionTimestamp() == nil {
				n++
			}
		}
		return n
	}
	if n := jobs(); n != 1 {
		t.Errorf("%d processes run after another gitd has started", n)
	}
	open(t, one) // what its own earlier process left goes
	if n := jobs(); n != 0 {
		t.Errorf("%d processes run after their own gitd has started again", n)
	}
	cancel()

	// With a namespace for each app.
	one.Namespace, one.NamespacePrefix, two.Namespace, two.NamespacePrefix = "", prefix, "", prefix
	first, second = open(t, one), open(t, two)
	if told, err := roll(t, first, service("shop", "v1", ref)); err != nil {
		t.Fatalf("%v\n%s", err, told)
	}
	refused(second, "the namespace "+prefix+"shop belongs to another gitd")
	if err := first.Delete(t.Context(), "shop"); err != nil {
		t.Error(err)
	}
}

type writer func()

func (w writer) Write(b []byte) (int, error) { w(); return len(b), nil }
