package knative

import (
	"context"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// A node may ask the registry before it sees the Secret that was made a moment before the pod. The pod is replaced, once, and the push says
// nothing of it; what goes on is told.
func TestStart_PodBeforeItsSecret(t *testing.T) {
	const pod, rev = "/api/v1/namespaces/app-app/pods/app-v1-a", "/apis/serving.knative.dev/v1/namespaces/app-app/revisions/app-v1"
	o := objects{}
	o.add("serving.knative.dev/v1", "Revision", rev, `"serving.knative.dev/service": "app"`, `, "spec": {"containers": [{"name": "user-container"}]}`)
	waits := func() {
		o.add("v1", "Pod", pod, `"serving.knative.dev/revision": "app-v1"`, `, "status": {"containerStatuses": [{"name": "user-container", "image": "r/app",
			"state": {"waiting": {"reason": "ErrImagePull", "message": "failed to authorize: 401 Unauthorized"}}}]}`)
	}
	var told []string
	ctx := app.WithNotice(t.Context(), func(format string, args ...any) { told = append(told, format) })
	s := o.on(t).newStart("app-app", "app", "app-v1")
	waits()
	if ready, err := s.look(ctx); ready || err != nil || o[pod] != "" {
		t.Fatalf("%v, %v; the pod: %q", ready, err, o[pod])
	}
	waits()
	if ready, err := s.look(ctx); ready || err != nil || o[pod] == "" || len(told) > 0 {
		t.Fatalf("again: %v, %v; the pod: %q; told %q", ready, err, o[pod], told)
	}
	s.replaced = s.replaced.Add(-replaceTime)
	if ready, err := s.look(ctx); ready || err != nil || len(told) != 1 || !strings.Contains(told[0], "for a change") {
		t.Fatalf("later: %v, %v; told %q", ready, err, told)
	}
}

func TestPullConfig(t *testing.T) {
	ask := func(app string) ([]byte, error) { return []byte(app), nil }
	for _, c := range []struct {
		namespace, want string
		config          func(string) ([]byte, error)
	}{{"", "shop", ask}, {"apps", "*", ask}, {"", "", nil}} {
		p := &Platform{o: Options{Namespace: c.namespace, PullConfig: c.config}}
		if got, err := p.pullConfig("shop"); err != nil || string(got) != c.want {
			t.Errorf("in %q: %q, %v, want %q", c.namespace, got, err, c.want)
		}
	}
	o := objects{}
	p := o.on(t)
	if err := p.renewPulls(context.Background()); err != nil { // nothing to ask the cluster for
		t.Error(err)
	}
}
