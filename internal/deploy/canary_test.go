package deploy

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
)

// counting is a platform whose revisions answer so many requests a second; from a time on, green fails.
type counting struct {
	silent
	began       time.Time
	green, blue int64 // requests a second
	failsFrom   time.Duration
	applied     *[]string
}

func (c counting) Counters(context.Context, string) (map[string]Counters, error) {
	after := time.Since(c.began)
	seconds := int64(after / time.Second)
	green := answers(seconds*c.green, 0, time.Millisecond)
	if c.failsFrom > 0 && after >= c.failsFrom {
		green.Errors = int64((after-c.failsFrom)/time.Second) * c.green
	}
	return map[string]Counters{"a-v2": green, "a-v1": answers(seconds*c.blue, 0, time.Millisecond), "a-v0": answers(seconds, seconds, time.Millisecond)}, nil
}

func (c counting) Probe(context.Context, string, string, string) (int, error) { return 200, nil }

func (c counting) Apply(_ context.Context, svc *servingv1.Service) error {
	var split []string
	for _, t := range svc.Spec.Traffic {
		split = append(split, t.RevisionName+" "+number(float64(*t.Percent)))
	}
	*c.applied = append(*c.applied, strings.Join(split, ", "))
	return nil
}

func TestCanary(t *testing.T) {
	for _, c := range []struct {
		name        string
		green, blue int64
		failsFrom   time.Duration
		strict      bool
		code        app.Code
		took        time.Duration
		told        []string
	}{
		{"good", 20, 180, 0, false, "", time.Minute, []string{"10.0s: a-v2: 200 requests, 0% 5xx, p95 9 ms; before: 1800 requests", "1m0s: a-v2: 200 requests", "the canary passed: 0 of 1200 requests with 5xx, before 0 of 10800"}},
		{"fails from the start", 20, 180, time.Nanosecond, false, app.CodeUnhealthy, 2 * time.Second, []string{"2.0s: a-v2: 40 requests, "}},
		{"fails later", 20, 180, 33 * time.Second, false, app.CodeUnhealthy, 34 * time.Second, []string{"30.0s: a-v2: 200 requests, 0% 5xx", "34.0s: a-v2: 80 requests, 25% 5xx"}},
		{"no requests", 0, 0, 0, false, "", time.Minute, []string{"10.0s: a-v2: no requests; before: no requests", "the canary was not judged: a-v2 got no requests, and a judgement takes 100; it goes on without"}},
		{"too few requests", 1, 10, 0, true, app.CodeUnhealthy, time.Minute, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				var applied []string
				began := time.Now()
				svc := &servingv1.Service{}
				svc.Name, svc.Spec.Template.Name = "a", "a-v2"
				r := &rollout{Platform: counting{began: began, green: c.green, blue: c.blue, failsFrom: c.failsFrom, applied: &applied}, service: "a", green: "a-v2",
					before: svc, blue: []string{"a-v1"}, shares: map[string]int64{"a-v1": 100}, traffic: []servingv1.TrafficTarget{{RevisionName: "a-v1", Percent: ptr.Int64(100)}},
					plan: Plan{Service: svc, Check: Check{Path: "/", Timeout: time.Second}, Log: app.NewLog(&log)}}
				compared, err := r.tryOut(t.Context(), &Canary{Percent: 10, Duration: time.Minute, Interval: 10 * time.Second, Strict: c.strict,
					Limits: CanaryLimits{MinRequests: 100, MaxErrorRate: 1, MaxLatency: 2, Quantile: 0.95}})
				if app.CodeOf(err) != c.code || compared != (err == nil) || time.Since(began) != c.took {
					t.Errorf("%v (%s) after %s, compared %t", err, app.CodeOf(err), time.Since(began), compared)
				}
				if len(applied) != 1 || applied[0] != "a-v2 10, a-v1 90" {
					t.Errorf("traffic: %q", applied)
				}
				for _, told := range c.told {
					if !strings.Contains(log.String(), told) {
						t.Errorf("not told: %s\n%s", told, log.String())
					}
				}
			})
		})
	}
}
