package contract

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

// aloneService returns a Service that runs these workers and nothing else.
func (s *suite) aloneService(version string, env ...string) *servingv1.Service {
	svc := s.service("alone", version, env...)
	deploy.SetWorkers(svc, jobs(1))
	deploy.SetWithoutWeb(svc)
	return svc
}

// withoutWeb: a release without web goes live when its workers stay up, and from web to workers and back.
func (s *suite) withoutWeb(t *testing.T) {
	p := s.env.Platform
	said := func(part string) {
		t.Helper()
		apptest.Eventually(t, settles, part, func() bool {
			var b bytes.Buffer
			return p.Logs(within(t), "alone", deploy.LogOptions{}, &b) == nil && strings.Contains(b.String(), part)
		})
	}
	_, _, err := s.roll(t, s.aloneService("v1", "STATUS=4"))
	if app.CodeOf(err) != app.CodeStartFailed || !strings.Contains(err.Error(), "the worker job exited with status 4") {
		t.Errorf("a worker that fails: %v", err)
	}
	if _, err := p.Get(within(t), "alone"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("the failed first release left a Service: %v", err)
	}
	s.mustRoll(t, s.aloneService("v2"))
	said("[alone-v2 job.1] job of v2")
	s.unreached(t, "alone")
	all, err := s.jobs(t, "alone")
	if err != nil || len(all) != 1 || all[0].Type != "job" || all[0].Since.IsZero() || all[0].State != deploy.InstanceUp {
		t.Errorf("workers: %+v, %v", all, err)
	}
	if svc, err := p.Get(within(t), "alone"); err != nil || !deploy.WithoutWeb(&svc.Spec.Template) || svc.Spec.Template.Name != "alone-v2" {
		t.Errorf("Get: %+v, %v", svc, err)
	}

	// To web, and back.
	web := s.service("alone", "v3")
	s.mustRoll(t, web)
	if err := p.SetWorkers(within(t), web, nil); err != nil {
		t.Fatal(err)
	}
	s.want(t, "alone", "/", "v3")
	if _, _, err = s.roll(t, s.aloneService("v4", "STATUS=3")); app.CodeOf(err) != app.CodeStartFailed {
		t.Errorf("workers that fail in place of web: %v", err)
	}
	s.want(t, "alone", "/", "v3")
	s.mustRoll(t, s.aloneService("v5"))
	said("[alone-v5 job.1] job of v5")
	apptest.Eventually(t, settles, "the end of the address", func() bool {
		code, _, err := s.get(within(t), "alone", "/")
		return err == nil && code == http.StatusNotFound
	})

	// One that has done its work is left alone.
	s.mustRoll(t, s.aloneService("v6", "STATUS=0"))
	time.Sleep(3 * time.Second)
	all, err = s.jobs(t, "alone")
	if err != nil || len(all) != 1 || all[0].State != deploy.InstanceFinished {
		t.Errorf("a worker that has finished: %+v, %v", all, err)
	}
	said("[alone-v6 job.1] job of v6")
	if err := p.Delete(within(t), "alone"); err != nil {
		t.Error(err)
	}
	if all, err := p.List(within(t)); err != nil || slices.ContainsFunc(all, func(s *servingv1.Service) bool { return s.Name == "alone" }) {
		t.Errorf("List after the deletion: %v", err)
	}
}
