package contract

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// canary: of a release that fails one request in ten at most one in a hundred of all fail until it is taken back; a good one goes live, and none fails.
func (s *suite) canary(t *testing.T) {
	s.mustRoll(t, stays(s.service("canary", "v1")))
	stop := s.traffic("canary")
	time.Sleep(time.Second)
	told, err := s.rollCanary(t, stays(s.service("canary", "v2", "FAILS_EVERY=10")))
	all, failed := stop()
	if app.CodeOf(err) != app.CodeUnhealthy || !regexp.MustCompile(`^the canary failed: canary-v2 answered \d+ of \d+ requests \([0-9.]+%\) with 5xx, and what served before 0 of \d+ requests`).MatchString(err.Error()) {
		t.Errorf("%v\n%s", err, told)
	}
	t.Logf("bad: of %d requests %d failed: %v", all, failed, err)
	contains(t, told, "-----> Traffic: canary-v1 100% → 90%, canary-v2 0% → 10%\n", "-----> Canary for ", "canary-v2: ")
	if failed == 0 || 100*failed > all {
		t.Errorf("of %d requests %d failed", all, failed)
	}
	if states := s.describe(t, "canary"); len(states) != 1 || states["canary-v1"].Percent != 100 {
		t.Errorf("left: %+v", states)
	}
	stop = s.traffic("canary")
	told, err = s.rollCanary(t, stays(s.service("canary", "v3")))
	all, failed = stop()
	t.Logf("good: of %d requests %d failed", all, failed)
	if err != nil || failed != 0 || !strings.Contains(told, "the canary passed: 0 of ") || !strings.Contains(told, "-----> Traffic: canary-v1 90% → 0%, canary-v3 10% → 100%\n") {
		t.Errorf("%v; of %d requests %d failed\n%s", err, all, failed, told)
	}
	s.want(t, "canary", "/", "v3")
}

// unasked: a canary that gets no requests but those of the platform itself, such as probes of its ingress, ends with its time, and says that nothing was judged: it goes
// live, or, where the app wants it strict, does not.
func (s *suite) unasked(t *testing.T) {
	s.mustRoll(t, stays(s.service("unasked", "v1")))
	began := time.Now()
	told, err := s.rollCanary(t, stays(s.service("unasked", "v2")), func(c *deploy.Canary) { c.Strict = true })
	few := func(version, text string) bool {
		return regexp.MustCompile(`the canary was not judged: unasked-` + version + ` got (no|\d|1\d) requests?, and a judgement takes 20`).MatchString(text)
	}
	if took := time.Since(began); app.CodeOf(err) != app.CodeUnhealthy || !few("v2", err.Error()) || took > 4*time.Minute {
		t.Errorf("strict, after %v: %v\n%s", took, err, told)
	}
	s.want(t, "unasked", "/", "v1")
	told, err = s.rollCanary(t, stays(s.service("unasked", "v3")))
	if err != nil || !few("v3", told) || !strings.Contains(told, "it goes on without") {
		t.Errorf("%v\n%s", err, told)
	}
	s.want(t, "unasked", "/", "v3")
}

func (s *suite) rollCanary(t *testing.T, svc *servingv1.Service, change ...func(*deploy.Canary)) (string, error) {
	var b bytes.Buffer
	c := deploy.Canary{Percent: 10, Duration: 6 * time.Second, Interval: 2 * time.Second, Limits: deploy.CanaryLimits{MinRequests: 20, MaxErrorRate: 1, MaxLatency: 20, Quantile: 0.95}}
	for _, f := range change {
		f(&c)
	}
	_, err := deploy.Rollout(within(t), s.env.Platform, deploy.Plan{Service: svc, Log: app.NewLog(&b), Check: deploy.Check{Timeout: s.env.Check}, Canary: &c})
	return b.String(), err
}

// traffic sends some 150 requests a second until stop is called, which returns how many there were, and how many failed.
func (s *suite) traffic(label string) (stop func() (all, failed int64)) {
	ctx, cancel := context.WithCancel(context.Background())
	var all, failed atomic.Int64
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for ctx.Err() == nil {
				code, _, err := s.get(context.Background(), label, "/sleep?ms=2")
				all.Add(1)
				if err != nil || code != http.StatusOK {
					failed.Add(1)
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	return func() (int64, int64) {
		cancel()
		wait.Wait()
		return all.Load(), failed.Load()
	}
}
