package release

import (
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
