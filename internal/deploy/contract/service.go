package contract

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

func (s *suite) configuration(t *testing.T) {
	s.mustRoll(t, s.service("configuration", "v1", "COLOUR=red"))
	s.want(t, "configuration", "/env?name=COLOUR", "red")
	svc := s.service("configuration", "v2", "COLOUR=blue")
	svc.Spec.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 5000}}
	s.mustRoll(t, svc)
	for name, value := range map[string]string{"COLOUR": "blue", "PORT": "5000", "K_SERVICE": "configuration", "K_REVISION": "configuration-v2",
		"K_CONFIGURATION": "configuration", "FROM_IMAGE": "yes", "HOME": "/app", "VERSION": "v2"} {
		s.want(t, "configuration", "/env?name="+name, value)
	}
	user := "1000:1001" // the image's
	if s.env.User != nil {
		user = s.env.User("configuration")
	}
	s.want(t, "configuration", "/who", user+" /app")
	if err := s.env.Platform.Apply(within(t), s.service("configuration", "v1", "COLOUR=green")); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("a revision was changed: %v", err)
	}
}

// givenUser runs an image as another user than its own, as a ready image whose user is root; root itself is refused.
func (s *suite) givenUser(t *testing.T) {
	svc := s.service("user", "v1")
	c := &svc.Spec.Template.Spec.Containers[0]
	c.SecurityContext = &corev1.SecurityContext{RunAsUser: ptr.Int64(1234), RunAsGroup: ptr.Int64(1235)}
	s.mustRoll(t, svc)
	user := "1234:1235"
	if s.env.User != nil {
		user = s.env.User("user")
	}
	s.want(t, "user", "/who", user+" /app")
	s.want(t, "user", "/env?name=HOME", "/") // not that of the image's user
	svc = s.service("user", "v2")
	svc.Spec.Template.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: ptr.Int64(0)}
	if _, _, err := s.roll(t, svc); err == nil || !strings.Contains(err.Error(), "root") {
		t.Errorf("an instance that runs as root: %v", err)
	}
	s.want(t, "user", "/who", user+" /app")
}

func (s *suite) invalid(t *testing.T) {
	for name, change := range map[string]func(*servingv1.Service){
		"no revision name": func(v *servingv1.Service) { v.Spec.Template.Name = "" },
		"other prefix":     func(v *servingv1.Service) { v.Spec.Template.Name = "other-v1" },
		"no container":     func(v *servingv1.Service) { v.Spec.Template.Spec.Containers = nil },
		"reserved env": func(v *servingv1.Service) {
			v.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PORT", Value: "1"}}
		},
		"99 percent":       func(v *servingv1.Service) { traffic(v, "invalid-v1 99") },
		"unknown revision": func(v *servingv1.Service) { traffic(v, "invalid-v7 100") },
		"same tag twice":   func(v *servingv1.Service) { traffic(v, "invalid-v1 50 x", "invalid-v1 50 x") },
		"timeout":          func(v *servingv1.Service) { v.Spec.Template.Spec.TimeoutSeconds = ptr.Int64(-1) },
		"bounds":           func(v *servingv1.Service) { v.Spec.Template.Annotations["autoscaling.knative.dev/min-scale"] = "many" },
		"name":             func(v *servingv1.Service) { v.Name = "In_valid" },
		"path as a name":   func(v *servingv1.Service) { v.Name = "../x" },
	} {
		svc := s.service("invalid", "v1")
		change(svc)
		if err := s.env.Platform.Apply(within(t), svc); app.CodeOf(err) != app.CodeInvalidInput || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.env.Platform.Get(within(t), "invalid"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("something is left: %v", err)
	}
}

func (s *suite) delete(t *testing.T) {
	s.mustRoll(t, s.service("delete", "v1"))
	s.mustRoll(t, s.service("delete", "v2"))
	if err := s.env.Platform.Delete(within(t), "delete"); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, settles, "nothing answers", func() bool {
		code, _, _ := s.get(within(t), "delete", "/")
		return code == http.StatusNotFound
	})
	p, ctx := s.env.Platform, within(t)
	_, describe := p.Describe(ctx, "delete")
	_, get := p.Get(ctx, "delete")
	_, probe := p.Probe(ctx, "delete", "blue", "/")
	for what, err := range map[string]error{
		"delete": p.Delete(ctx, "delete"), "describe": describe, "get": get, "probe": probe, "delete revision": p.DeleteRevision(ctx, "delete", "delete-v1"),
		"wait ready": p.WaitReady(ctx, "delete", "delete-v1"), "wait drained": p.WaitDrained(ctx, "delete", "delete-v1"),
		"logs": p.Logs(ctx, "delete", deploy.LogOptions{}, io.Discard),
	} {
		if !errors.Is(err, deploy.ErrNotFound) {
			t.Errorf("%s after delete: %v", what, err)
		}
	}
	s.mustRoll(t, s.service("delete", "v1", "COLOUR=new")) // the name is free again
	s.want(t, "delete", "/env?name=COLOUR", "new")
}

func (s *suite) split(t *testing.T) {
	s.mustRoll(t, s.service("split", "v1"))
	s.mustRoll(t, s.service("split", "v2"))
	if err := s.env.Platform.Apply(within(t), traffic(s.service("split", "v2"), "split-v1 70", "split-v2 30 canary")); err != nil {
		t.Fatal(err)
	}
	s.want(t, "canary-split", "/", "v2")
	n := map[string]int{}
	for range 300 {
		_, body, err := s.get(within(t), "split", "/")
		if err != nil {
			t.Fatal(err)
		}
		n[body]++
	}
	if n["v1"]+n["v2"] != 300 || n["v2"] < 50 || n["v2"] > 130 {
		t.Errorf("70/30 became %v", n)
	}
	if code, _, _ := s.get(within(t), "other-split", "/"); code != http.StatusNotFound {
		t.Errorf("a tag that does not exist answers %d", code)
	}
	if status, err := s.env.Platform.Probe(within(t), "split", "canary", "/"); status != 200 || err != nil {
		t.Errorf("probe: %d, %v", status, err)
	}
	if _, err := s.env.Platform.Probe(within(t), "split", "other", "/"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("probe of a tag that does not exist: %v", err)
	}
	if err := s.env.Platform.DeleteRevision(within(t), "split", "split-v1"); err == nil {
		t.Error("a revision with traffic was deleted")
	}
	// A rollout from a split shifts all of it.
	told, _ := s.mustRoll(t, s.service("split", "v3"))
	contains(t, told, "-----> Traffic: split-v1 70% → 0%, split-v2 30% → 0%, split-v3 0% → 100%\n")
	s.want(t, "canary-split", "/", "v2")
}

func (s *suite) zero(t *testing.T) {
	svc := s.service("zero", "v1", "DELAY=200")
	svc.Spec.Template.Annotations["autoscaling.knative.dev/window"] = "6s"
	s.mustRoll(t, svc)
	apptest.Eventually(t, settles, "no instance is left", func() bool { return s.describe(t, "zero")["zero-v1"].Instances == 0 })
	var wait sync.WaitGroup
	var failed atomic.Int64
	for range 200 {
		wait.Go(func() {
			if code, body, err := s.get(within(t), "zero", "/"); err != nil || code != http.StatusOK || body != "v1" {
				failed.Add(1)
			}
		})
	}
	wait.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of 200 requests to a cold app failed", n)
	}
	apptest.Eventually(t, settles, "no instance is left", func() bool { return s.describe(t, "zero")["zero-v1"].Instances == 0 })
	s.sends(t, "zero")
}
