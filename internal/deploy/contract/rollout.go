package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

func (s *suite) update(t *testing.T) {
	told, out := s.mustRoll(t, s.service("update", "v1"))
	contains(t, told, "       healthy after ", " (HTTP GET / 200)\n", "-----> Traffic: update-v1 0% → 100%\n")
	if out.Revision != "update-v1" || len(out.Previous) != 0 || !strings.HasPrefix(out.URL, "http://update."+s.env.Domain) || out.Status != 200 {
		t.Errorf("outcome: %+v", out)
	}
	s.want(t, "update", "/", "v1")
	stop := s.load("update")
	for _, v := range []string{"v2", "v3", "v4"} {
		told, out = s.mustRoll(t, s.service("update", v))
	}
	ok, failed := stop()
	if len(failed) > 0 || ok == 0 {
		t.Errorf("%d requests were answered, %d failed: %s", ok, len(failed), failed[:min(3, len(failed))])
	}
	contains(t, told, "-----> Traffic: update-v3 100% → 0%, update-v4 0% → 100%\n")
	if !slices.Equal(out.Previous, []string{"update-v3"}) {
		t.Errorf("previous: %v", out.Previous)
	}
	s.want(t, "update", "/", "v4")
	s.unreached(t, "blue-update")
	if code, _, _ := s.get(within(t), "green-update", "/"); code != http.StatusNotFound {
		t.Errorf("green answers %d after the rollout", code)
	}
	states := s.describe(t, "update")
	if states["update-v4"].Percent != 100 || states["update-v3"].Percent != 0 || len(states["update-v3"].Tags) > 0 {
		t.Errorf("revisions: %+v", states)
	}
	apptest.Eventually(t, settles, "update-v2, which gets no requests, has no instance", func() bool { return s.describe(t, "update")["update-v2"].Instances == 0 })
	svc, err := s.env.Platform.Get(within(t), "update")
	if err != nil || svc.Status.LatestCreatedRevisionName != "update-v4" || len(svc.Status.Traffic) != 1 {
		t.Errorf("status: %+v, %v", svc.Status, err)
	}
}

func (s *suite) failed(t *testing.T) {
	s.mustRoll(t, s.service("failed", "v1"))
	elsewhere, patience := "the app listens on port 9999, not on $PORT (8080)", s.env.Start
	if s.env.HidesPorts != "" {
		t.Log(s.env.HidesPorts)
		elsewhere, patience = "the app did not listen on $PORT (8080) within "+s.env.Progress, s.env.Progress
	}
	for i, c := range []struct {
		env, deadline string
		code          app.Code
		message, told string
	}{
		{"MODE=exit", s.env.Start, app.CodeStartFailed, "the app exited with status 3 before it answered", "cannot find the database\n"},
		{"MODE=dies", s.env.Start, app.CodeStartFailed, "the app exited with status 3 before it answered", "cannot find the database\n"},
		{"MODE=elsewhere", patience, app.CodeStartFailed, elsewhere, "starts as"},
		{"MODE=never", s.env.Progress, app.CodeStartFailed, "the app did not listen on $PORT (8080) within " + s.env.Progress, "starts as"},
		{"MODE=hog", s.env.Start, app.CodeStartFailed, "the app was killed at its memory limit: 64 MiB", ""},
		{"MODE=broken", s.env.Start, app.CodeUnhealthy, "health check failed: HTTP GET / answered with status 500 (Internal Server Error) for " + app.Elapsed(s.env.Check), "a request that fails\n"},
	} {
		version := fmt.Sprint("v", i+2)
		svc := s.service("failed", version, c.env)
		svc.Spec.Template.Annotations["serving.knative.dev/progress-deadline"] = c.deadline
		svc.Spec.Template.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
		stop := s.load("failed")
		told, _, err := s.roll(t, svc)
		ok, failed := stop()
		if app.CodeOf(err) != c.code || err.Error() != c.message {
			t.Errorf("%s: %q (%s), want %q\n%s", c.env, err, app.CodeOf(err), c.message, told)
		}
		contains(t, told, c.told)
		if ok == 0 || len(failed) > 0 {
			t.Errorf("%s: %d requests were answered, %d failed: %s", c.env, ok, len(failed), failed[:min(3, len(failed))])
		}
		if states := s.describe(t, "failed"); len(states) != 1 || states["failed-v1"].Percent != 100 || len(states["failed-v1"].Tags) != 0 {
			t.Errorf("%s: left %+v", c.env, states)
		}
	}
	s.want(t, "failed", "/", "v1")
}

func (s *suite) failedFirst(t *testing.T) {
	_, _, err := s.roll(t, s.service("first", "v1", "MODE=exit"))
	if app.CodeOf(err) != app.CodeStartFailed {
		t.Errorf("%v", err)
	}
	if _, err := s.env.Platform.Get(within(t), "first"); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("a Service is left: %v", err)
	}
	apptest.Eventually(t, settles, "nothing answers", func() bool {
		code, _, _ := s.get(within(t), "first", "/")
		return code == http.StatusNotFound
	})
	s.mustRoll(t, s.service("first", "v1"))
	s.want(t, "first", "/", "v1")
}

// brokenBlue: the revision that serves crashes again and again. A new release that fails reports its own error and is removed; a good
// one goes live.
func (s *suite) brokenBlue(t *testing.T) {
	until := time.Now().Add(10*time.Second + 2*s.env.Check)
	s.mustRoll(t, stays(s.service("broken", "v1", fmt.Sprintf("UNTIL=%d", until.Unix()))))
	time.Sleep(time.Until(until))
	apptest.Eventually(t, settles, "the live revision is down", func() bool {
		code, _, err := s.get(within(t), "broken", "/")
		return err == nil && code != http.StatusOK
	})
	if s.env.Down != nil {
		if err := s.env.Down(within(t), "broken", "broken-v1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ version, env, message string }{
		{"v2", "MODE=exit", "the app exited with status 3 before it answered"},
		{"v3", "MODE=broken", "health check failed: HTTP GET / answered with status 500 (Internal Server Error) for " + app.Elapsed(s.env.Check)},
	} {
		told, _, err := s.roll(t, s.service("broken", c.version, c.env))
		if err == nil || err.Error() != c.message {
			t.Errorf("%s: %v, want %q\n%s", c.env, err, c.message, told)
		}
		if states := s.describe(t, "broken"); len(states) != 1 || len(states["broken-v1"].Tags) != 0 {
			t.Errorf("%s: left %+v\n%s", c.env, states, told)
		}
	}
	told, _ := s.mustRoll(t, s.service("broken", "v4"))
	contains(t, told, "Traffic: broken-v1 100% → 0%, broken-v4 0% → 100%")
	s.want(t, "broken", "/", "v4")
}

func (s *suite) rollback(t *testing.T) {
	for _, v := range []string{"v1", "v2", "v3"} {
		s.mustRoll(t, s.service("rollback", v))
	}
	began := time.Now()
	told, _ := s.mustRoll(t, s.service("rollback", "v2"))
	t.Logf("rollback to a revision that runs: %v", time.Since(began))
	contains(t, told, "-----> Traffic: rollback-v3 100% → 0%, rollback-v2 0% → 100%\n")
	s.want(t, "rollback", "/", "v2")
	// A deleted revision can be rolled out again.
	if err := s.env.Platform.DeleteRevision(within(t), "rollback", "rollback-v1"); err != nil {
		t.Fatal(err)
	}
	s.mustRoll(t, s.service("rollback", "v1"))
	s.want(t, "rollback", "/", "v1")
	// A failed rollback keeps the older revision. v3 is idle or gone by now; OnState refuses it.
	_, err := deploy.Rollout(within(t), s.env.Platform, deploy.Plan{Service: s.service("rollback", "v3"), Log: app.NewLog(io.Discard),
		OnState: func(app.State) error { return app.Errorf(app.CodeForbidden, "ask the operator", "refused") }})
	if app.CodeOf(err) != app.CodeForbidden {
		t.Errorf("%v", err)
	}
	s.want(t, "rollback", "/", "v1")
	if _, ok := s.describe(t, "rollback")["rollback-v3"]; !ok {
		t.Error("the older revision was deleted")
	}
	// Rolling out what serves already changes nothing.
	s.mustRoll(t, s.service("rollback", "v1"))
	s.want(t, "rollback", "/", "v1")
}

func (s *suite) cancelled(t *testing.T) {
	s.mustRoll(t, s.service("cancelled", "v1"))
	newer := app.Errorf(app.CodeSuperseded, "push again", "a newer push replaced this one")
	ctx, cancel := context.WithCancelCause(within(t))
	go func() {
		for ctx.Err() == nil {
			if list, err := s.env.Platform.Describe(ctx, "cancelled"); err == nil && len(list) == 2 {
				cancel(newer)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, err := deploy.Rollout(ctx, s.env.Platform, deploy.Plan{Service: s.service("cancelled", "v2", "MODE=never"), Log: app.NewLog(io.Discard)})
	cancel(nil)
	if !errors.Is(err, newer) {
		t.Errorf("%v", err)
	}
	if states := s.describe(t, "cancelled"); len(states) != 1 {
		t.Errorf("left: %+v", states)
	}
	s.want(t, "cancelled", "/", "v1")
}

func (s *suite) noTraffic(t *testing.T) {
	plan := func(version string) deploy.Plan {
		return deploy.Plan{Service: s.service("quiet", version), Log: app.NewLog(io.Discard), NoTraffic: true}
	}
	if _, err := deploy.Rollout(within(t), s.env.Platform, plan("v0")); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("a first release without traffic: %v", err)
	}
	s.mustRoll(t, s.service("quiet", "v1"))
	out, err := deploy.Rollout(within(t), s.env.Platform, plan("v2"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.GreenURL, "http://green-quiet."+s.env.Domain) || out.Revision != "quiet-v2" {
		t.Errorf("outcome: %+v", out)
	}
	s.want(t, "quiet", "/", "v1")
	s.want(t, "green-quiet", "/", "v2")
	told, _ := s.mustRoll(t, s.service("quiet", "v2"))
	contains(t, told, "-----> Traffic: quiet-v1 100% → 0%, quiet-v2 0% → 100%\n")
	s.want(t, "quiet", "/", "v2")
}

func (s *suite) steps(t *testing.T) {
	s.mustRoll(t, s.service("steps", "v1"))
	var b bytes.Buffer
	_, err := deploy.Rollout(within(t), s.env.Platform, deploy.Plan{Service: s.service("steps", "v2"), Log: app.NewLog(&b), Steps: []int64{10, 50}, StepWait: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	contains(t, b.String(), "-----> Traffic: steps-v1 100% → 90%, steps-v2 0% → 10%\n", "-----> Traffic: steps-v1 90% → 50%, steps-v2 10% → 50%\n",
		"-----> Traffic: steps-v1 50% → 0%, steps-v2 50% → 100%\n")
	s.want(t, "steps", "/", "v2")
}

func (s *suite) missing(t *testing.T) {
	s.mustRoll(t, s.service("missing", "v1"))
	svc := s.service("missing", "v2")
	repository, _, _ := strings.Cut(s.env.Image, "@")
	svc.Spec.Template.Spec.Containers[0].Image = repository + "@sha256:" + strings.Repeat("0", 64)
	_, _, err := s.roll(t, svc)
	if app.CodeOf(err) != app.CodeImageMissing || !strings.HasPrefix(err.Error(), "the image of v2 is no longer in the registry: ") {
		t.Errorf("%v", err)
	}
	s.want(t, "missing", "/", "v1")
}

func (s *suite) concurrent(t *testing.T) {
	s.mustRoll(t, s.service("concurrent", "v0"))
	stop := s.load("concurrent")
	var wait sync.WaitGroup
	for i := range 6 {
		wait.Go(func() {
			v := fmt.Sprint("v", i+1)
			svc := traffic(s.service("concurrent", v), "concurrent-"+v+" 100")
			if err := s.env.Platform.Apply(within(t), svc); err != nil {
				t.Errorf("%s: %v", v, err)
			}
		})
	}
	wait.Wait()
	svc, err := s.env.Platform.Get(within(t), "concurrent")
	if err != nil {
		t.Fatal(err)
	}
	winner := svc.Spec.Template.Name
	if len(svc.Status.Traffic) != 1 || svc.Status.Traffic[0].RevisionName != winner {
		t.Errorf("the template is %s, the traffic %+v", winner, svc.Status.Traffic)
	}
	s.want(t, "concurrent", "/env?name=K_REVISION", winner)
	if ok, failed := stop(); len(failed) > 0 || ok == 0 {
		t.Errorf("%d requests were answered, %d failed: %s", ok, len(failed), failed[:min(3, len(failed))])
	}
}
