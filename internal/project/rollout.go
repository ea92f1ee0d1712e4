package project

import (
	"errors"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Rollout is how a release gets its traffic.
type Rollout struct {
	Strategy     string        // app.AtOnce, app.Steps or app.Canary
	Percent      int64         // of a canary
	Duration     time.Duration // of a canary
	Interval     time.Duration // between two judgements of its latency
	MinRequests  int64         // for a judgement
	MaxErrorRate float64       // in percentage points above what serves
	MaxLatency   float64       // against what serves, as a ratio; 0 for no limit
	Quantile     float64       // of MaxLatency: 0.95
	Sticky       bool          // a client stays with its side, by a cookie
	Strict       bool          // a canary with too few requests ends the rollout
}

func defaultRollout() Rollout {
	return Rollout{Strategy: app.AtOnce, Percent: 10, Duration: 2 * time.Minute, Interval: 10 * time.Second, MinRequests: 100, MaxErrorRate: 1, MaxLatency: 3, Quantile: 0.95}
}

// rolloutTable is [io.gitd.rollout].
type rolloutTable struct {
	Strategy     *string  `toml:"strategy"`
	Percent      *int64   `toml:"percent"`
	Duration     *string  `toml:"duration"`
	Interval     *string  `toml:"interval"`
	MinRequests  *int64   `toml:"min-requests"`
	MaxErrorRate *float64 `toml:"max-error-rate"`
	MaxLatency   *float64 `toml:"max-latency"`
	Quantile     *string  `toml:"quantile"`
	Sticky       *string  `toml:"sticky"`
	FewRequests  *string  `toml:"few-requests"`
}

// set overrides the defaults with the table. stepped says that the app gives steps.
func (r *Rollout) set(t rolloutTable, stepped bool) error {
	if stepped && r.Strategy == app.AtOnce {
		r.Strategy = app.Steps
	}
	const table = "rollout"
	quantile, sticky, few := "p95", "off", "promote"
	err := errors.Join(
		oneOf(table, "strategy", t.Strategy, &r.Strategy, app.AtOnce, app.Steps, app.Canary),
		numberOf(table, "percent", t.Percent, 1, 99, &r.Percent, nil),
		durationOf(table, "duration", t.Duration, time.Second, time.Hour, &r.Duration),
		durationOf(table, "interval", t.Interval, time.Second, 10*time.Minute, &r.Interval),
		numberOf(table, "min-requests", t.MinRequests, 1, 1000000, &r.MinRequests, nil),
		figure("max-error-rate", t.MaxErrorRate, 0, 100, &r.MaxErrorRate),
		figure("max-latency", t.MaxLatency, 0, 100, &r.MaxLatency),
		oneOf(table, "quantile", t.Quantile, &quantile, "p50", "p90", "p95", "p99"),
		oneOf(table, "sticky", t.Sticky, &sticky, "off", "cookie"),
		oneOf(table, "few-requests", t.FewRequests, &few, "promote", "abort"),
	)
	if err != nil {
		return err
	}
	if t.Quantile != nil {
		r.Quantile = map[string]float64{"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}[quantile]
	}
	r.Sticky = r.Sticky && t.Sticky == nil || sticky == "cookie"
	r.Strict = r.Strict && t.FewRequests == nil || few == "abort"
	switch {
	case r.MaxLatency > 0 && r.MaxLatency < 1:
		return bad("io.gitd.rollout.max-latency: %g is below 1, the latency of what serves; give 0 for no limit", r.MaxLatency)
	case r.Strategy == app.Steps && !stepped:
		return bad("io.gitd.rollout.strategy: \"steps\" needs the steps: [io.gitd.web] traffic-steps = [10, 50]")
	case t.Strategy == nil && t != (rolloutTable{}) && r.Strategy != app.Canary:
		return bad("io.gitd.rollout: its keys are those of a canary; add strategy = \"canary\"")
	}
	return nil
}

// Ask has a push say how its release gets its traffic, instead of the descriptor.
func (d *Descriptor) Ask(a app.Rollout) error {
	switch a.Strategy {
	case "":
		return nil
	case app.Canary:
		d.Rollout.Percent = a.Percent
	case app.Steps:
		if err := steps(a.Steps, &d.Web); err != nil {
			return app.Errorf(app.CodeInvalidInput, "push again with -o steps=10,50 or the like", "push option \"steps\": give at most %d percentages between 1 and 99 that rise", maxSteps)
		}
	}
	d.Rollout.Strategy = a.Strategy
	return nil
}

func oneOf(table, name string, v, to *string, values ...string) error {
	if v == nil {
		return nil
	}
	for _, one := range values {
		if *v == one {
			*to = one
			return nil
		}
	}
	return bad("io.gitd.%s.%s: %q is not one of %q", table, name, app.Clip(*v, 60), values)
}

func figure(name string, v *float64, low, high float64, to *float64) error {
	if v == nil {
		return nil
	}
	if !(*v >= low && *v <= high) { // NaN is neither
		return bad("io.gitd.rollout.%s: %s is not between %g and %g", name, fmt.Sprint(*v), low, high)
	}
	*to = *v
	return nil
}
