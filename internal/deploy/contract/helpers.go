package contract

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// settles is how long a platform may take until what was changed can be seen.
const settles = 2 * time.Minute

// service returns a Service of the test app whose revision is NAME-VERSION.
func (s *suite) service(name, version string, env ...string) *servingv1.Service {
	svc := &servingv1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
	svc.Spec.Template.Name = name + "-" + version
	svc.Spec.Template.Annotations = map[string]string{"serving.knative.dev/progress-deadline": s.env.Start}
	c := corev1.Container{Image: s.env.Image, Env: []corev1.EnvVar{{Name: "VERSION", Value: version}}}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		c.Env = append(c.Env, corev1.EnvVar{Name: k, Value: v})
	}
	svc.Spec.Template.Spec.Containers = []corev1.Container{c}
	return svc
}

// traffic adds targets, each "REVISION PERCENT [TAG]", to a Service.
func traffic(svc *servingv1.Service, targets ...string) *servingv1.Service {
	for _, t := range targets {
		var revision, tag string
		var n int64
		if _, err := fmt.Sscanf(t+" -", "%s %d %s", &revision, &n, &tag); err != nil {
			panic(err)
		}
		svc.Spec.Traffic = append(svc.Spec.Traffic, servingv1.TrafficTarget{RevisionName: revision, Percent: ptr.Int64(n), Tag: strings.Trim(tag, "-")})
	}
	return svc
}

// stays keeps an instance of a Service running, however soon the platform stops idle ones.
func stays(svc *servingv1.Service) *servingv1.Service {
	svc.Spec.Template.Annotations["autoscaling.knative.dev/min-scale"] = "1"
	return svc
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// roll rolls a Service out and returns the log of it.
func (s *suite) roll(t *testing.T, svc *servingv1.Service) (string, *deploy.Outcome, error) {
	t.Helper()
	var b bytes.Buffer
	out, err := deploy.Rollout(within(t), s.env.Platform, deploy.Plan{Service: svc, Log: app.NewLog(&b), Check: deploy.Check{Timeout: s.env.Check}})
	return b.String(), out, err
}

func (s *suite) mustRoll(t *testing.T, svc *servingv1.Service) (string, *deploy.Outcome) {
	t.Helper()
	told, out, err := s.roll(t, svc)
	if err != nil {
		t.Fatalf("roll out %s: %v\n%s", svc.Spec.Template.Name, err, told)
	}
	return told, out
}

// get requests a path of LABEL.DOMAIN.
func (s *suite) get(ctx context.Context, label, path string) (int, string, error) {
	return s.ask(ctx, label+"."+s.env.Domain, path)
}

// ask requests a path of a name.
func (s *suite) ask(ctx context.Context, name, path string) (int, string, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+name+path, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := s.client.Do(q)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func (s *suite) want(t *testing.T, label, path, body string) {
	t.Helper()
	code, got, err := s.get(within(t), label, path)
	if err != nil || code != http.StatusOK || got != body {
		t.Fatalf("%s%s: %d %q, %v; want %q", label, path, code, got, err, body)
	}
}

// unreached fails unless LABEL.DOMAIN answers 404.
func (s *suite) unreached(t *testing.T, label string) {
	t.Helper()
	if code, body, err := s.get(within(t), label, "/"); err != nil || code != http.StatusNotFound {
		t.Errorf("%s: %d %q, %v; want 404", label, code, body, err)
	}
}

// load sends requests until stop is called, which returns the number of successes and the failures.
func (s *suite) load(label string) (stop func() (int64, []string)) {
	ctx, cancel := context.WithCancel(context.Background())
	var ok atomic.Int64
	var mu sync.Mutex
	var failed []string
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for ctx.Err() == nil {
				code, body, err := s.get(context.Background(), label, "/sleep?ms=2")
				if err != nil || code != http.StatusOK {
					mu.Lock()
					failed = append(failed, fmt.Sprintf("%d %s %v", code, body, err))
					mu.Unlock()
					continue
				}
				ok.Add(1)
				time.Sleep(s.env.Rest)
			}
		})
	}
	return func() (int64, []string) {
		cancel()
		wait.Wait()
		return ok.Load(), failed
	}
}

func (s *suite) describe(t *testing.T, name string) map[string]deploy.RevisionStatus {
	t.Helper()
	list, err := s.env.Platform.Describe(within(t), name)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]deploy.RevisionStatus{}
	for _, r := range list {
		out[r.Name] = r
	}
	return out
}

// contains fails unless text has the parts in this order.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, p := range parts {
		i := strings.Index(rest, p)
		if i < 0 {
			t.Fatalf("no %q (in this order) in:\n%s", p, text)
		}
		rest = rest[i+len(p):]
	}
}
