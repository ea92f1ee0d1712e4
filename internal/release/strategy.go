package release

import (
	"context"
	"errors"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
)

// follow has a launch get its traffic as the settings of its app say.
func (l *launch) follow(s project.Descriptor) {
	switch r := s.Rollout; r.Strategy {
	case app.Steps:
		l.steps, l.stepTime = s.Web.Steps, s.Web.StepTime
	case app.Canary:
		l.canary = &deploy.Canary{
			Percent: r.Percent, Duration: r.Duration, Interval: r.Interval, Strict: r.Strict, Sticky: r.Sticky,
			Limits: deploy.CanaryLimits{MinRequests: r.MinRequests, MaxErrorRate: r.MaxErrorRate, MaxLatency: r.MaxLatency, Quantile: r.Quantile},
		}
	}
}

// canFollow fails, before anything is built, where the platform cannot give a release its traffic as it is asked to.
func (d *deployment) canFollow(ctx context.Context, s project.Descriptor) error {
	r := s.Rollout
	if r.Strategy != app.Canary {
		return nil
	}
	if r.Sticky && !d.m.o.Platform.Can(deploy.StickySplits) {
		return app.Errorf(app.CodeInvalidInput, "remove it from project.toml; a test with chosen clients goes by -o no-traffic, and the address of the new version",
			"sticky = %q under [io.gitd.rollout] is not possible on a cluster: its ingress draws each request by itself", "cookie")
	}
	if _, err := d.m.o.Platform.Counters(ctx, d.release.App); err != nil && !errors.Is(err, deploy.ErrNotFound) {
		return err
	}
	return nil
}
