package contract

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

// maintenance: clients get 503 while it is on, whatever is rolled out meanwhile; a new version answers by its tag.
func (s *suite) maintenance(t *testing.T) {
	p := s.env.Platform
	if err := p.SetMaintenance(within(t), "nothing", &deploy.Maintenance{}); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("maintenance of nothing: %v", err)
	}
	s.mustRoll(t, stays(s.service("maintain", "v1")))
	since := time.Now().UTC().Truncate(time.Second)
	if err := p.SetMaintenance(within(t), "maintain", &deploy.Maintenance{By: "ada", Since: since}); err != nil {
		t.Fatal(err)
	}
	s.maintained(t, "maintain")
	on, err := p.Maintenance(within(t), "maintain")
	if err != nil || on == nil || on.By != "ada" || !on.Since.Equal(since) || on.Hold != 0 {
		t.Errorf("%+v, %v", on, err)
	}
	if all, err := p.Maintained(within(t)); err != nil || all["maintain"].By != "ada" {
		t.Errorf("what is maintained: %+v, %v", all, err)
	}
	out, err := deploy.Rollout(within(t), p, deploy.Plan{Service: stays(s.service("maintain", "v2")), Log: app.NewLog(discard{}), NoTraffic: true, Check: deploy.Check{Timeout: s.env.Check}})
	if err != nil || out.GreenURL == "" {
		t.Fatalf("%+v, %v", out, err)
	}
	s.want(t, "green-maintain", "/", "v2")
	s.maintained(t, "maintain")
	told, out := s.mustRoll(t, stays(s.service("maintain", "v3")))
	contains(t, told, "-----> Traffic: maintain-v1 100% → 0%, maintain-v3 0% → 100%\n")
	if len(out.Previous) != 1 || out.Previous[0] != "maintain-v1" {
		t.Errorf("previous: %v", out.Previous)
	}
	s.maintained(t, "maintain")
	if states := s.describe(t, "maintain"); states["maintain-v3"].Percent != 100 || states["maintain-v1"].Percent != 0 {
		t.Errorf("revisions: %+v", states)
	}
	if err := p.SetMaintenance(within(t), "maintain", nil); err != nil {
		t.Fatal(err)
	}
	s.want(t, "maintain", "/", "v3")
	if on, err := p.Maintenance(within(t), "maintain"); err != nil || on != nil {
		t.Errorf("it is on: %+v, %v", on, err)
	}
	if all, err := p.Maintained(within(t)); err != nil || all["maintain"].By != "" {
		t.Errorf("what is maintained: %+v, %v", all, err)
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// maintained fails unless clients get 503 with Retry-After, after the platform has settled.
func (s *suite) maintained(t *testing.T, label string) {
	t.Helper()
	apptest.Eventually(t, settles, label+" answers 503", func() bool {
		code, _, err := s.get(within(t), label, "/")
		return err == nil && code == http.StatusServiceUnavailable
	})
}
