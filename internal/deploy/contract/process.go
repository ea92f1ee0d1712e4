package contract

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

// limited gives a Service a low memory limit.
func limited(svc *servingv1.Service) *servingv1.Service {
	svc.Spec.Template.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
	return svc
}

// process: the release command runs with the template's environment before there is a Service.
func (s *suite) process(t *testing.T) {
	p := s.env.Platform
	var b bytes.Buffer
	if err := deploy.RunProcess(within(t), p, s.service("process", "v1", "COLOUR=red", "STATUS=0"), "job", &b); err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if b.String() != "job of v1, red\n" {
		t.Errorf("it wrote %q", b.String())
	}
	if _, err := p.Get(within(t), "process"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("it left a Service: %v", err)
	}
	var ended *deploy.StartError
	b.Reset()
	err := deploy.RunProcess(within(t), p, s.service("process", "v2", "STATUS=4"), "job", &b)
	if !errors.As(err, &ended) || ended.Reason != deploy.Exited || ended.ExitCode != 4 || !strings.HasPrefix(b.String(), "job of v2") {
		t.Errorf("%+v, %q", err, b.String())
	}
	for range 3 { // a busy node may see the exit before it learns that the memory limit caused it, and a job is not restarted
		err = deploy.RunProcess(within(t), p, limited(s.service("process", "v3", "MODE=hog")), "job", io.Discard)
		if ended = nil; !errors.As(err, &ended) || ended.Signal == "" {
			break
		}
	}
	if ended = nil; !errors.As(err, &ended) || ended.Reason != deploy.OutOfMemory || ended.Detail != "64 MiB" {
		t.Errorf("%+v", err)
	}
	if err = deploy.RunProcess(within(t), p, s.service("process", "v4"), "missing", io.Discard); !errors.As(err, &ended) {
		t.Errorf("a type that the image does not have: %v", err)
	}
	stopped := app.Errorf(app.CodeSuperseded, "push again", "a newer push replaced this one")
	ctx, cancel := context.WithCancelCause(within(t))
	defer cancel(nil)
	err = deploy.RunProcess(ctx, p, s.service("process", "v5"), "job", writerFunc(func(text []byte) { cancel(stopped) }))
	if !errors.Is(err, stopped) {
		t.Errorf("cancelled: %v", err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

// processNames: the same names of process types are refused on every platform, before anything is created.
func (s *suite) processNames(t *testing.T) {
	p := s.env.Platform
	svc := s.service("names", "v1")
	for _, name := range []string{"", ".", "..", "no/such", "../job", "_job", "job-", "-job", "job\n", "jöb", strings.Repeat("j", 64)} {
		if err := deploy.RunProcess(within(t), p, svc, name, io.Discard); app.CodeOf(err) != app.CodeInvalidInput {
			t.Errorf("run %q: %v", name, err)
		}
		if err := p.SetWorkers(within(t), svc, []deploy.Worker{{Type: "job", Instances: 1}, {Type: name, Instances: 1}}); app.CodeOf(err) != app.CodeInvalidInput {
			t.Errorf("worker %q: %v", name, err)
		}
	}
}

// jobs are so many instances of the worker job.
func jobs(n int64) []deploy.Worker { return []deploy.Worker{{Type: "job", Instances: n}} }

// workers: they run beside web, in the version that they are set to, one of each type.
func (s *suite) workers(t *testing.T) {
	p := s.env.Platform
	says := func(parts ...string) {
		t.Helper()
		apptest.Eventually(t, settles, strings.Join(parts, " "), func() bool {
			var b bytes.Buffer
			if err := p.Logs(within(t), "workers", deploy.LogOptions{}, &b); err != nil {
				t.Fatal(err)
			}
			for _, p := range parts {
				if !strings.Contains(b.String(), p) {
					return false
				}
			}
			return true
		})
	}
	v1, v2 := s.service("workers", "v1", "COLOUR=red"), s.service("workers", "v2", "COLOUR=blue")
	if err := p.SetWorkers(within(t), v1, jobs(1)); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("workers of a Service that does not exist: %v", err)
	}
	s.mustRoll(t, v1)
	for range 2 { // SetWorkers is idempotent
		if err := p.SetWorkers(within(t), v1, jobs(1)); err != nil {
			t.Fatal(err)
		}
	}
	says("[workers-v1 job.1] job of v1, red\n")
	s.mustRoll(t, v2)
	if err := p.SetWorkers(within(t), v2, jobs(1)); err != nil {
		t.Fatal(err)
	}
	says("[workers-v2 job.1] job of v2, blue\n")
	if err := p.SetWorkers(within(t), v2, nil); err != nil {
		t.Fatal(err)
	}
	s.want(t, "workers", "/", "v2")
	if err := p.Delete(within(t), "workers"); err != nil {
		t.Error(err)
	}
}
