package deploy

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
)

// Check is the health check of a new revision: a GET that goes the way of a client's request. A 5xx, or no answer, is
// retried until the timeout; any other status passes.
type Check struct {
	Path    string        // default "/"
	Timeout time.Duration // default 30 s, counted from when the revision is ready
}

// Plan is one rollout.
type Plan struct {
	// Service has the template, whose name names the revision, and no traffic. The revision may exist already: then the plan
	// is a rollback to it.
	Service  *servingv1.Service
	Check    Check
	Steps    []int64       // percentages of the new revision on its way to 100; default 100 at once
	StepWait time.Duration // after each step but the last; the check is repeated then
	Canary   *Canary       // before the steps; nil for none
	// NoTraffic ends the rollout when the new revision has passed its check: it stays under the tag green, and traffic where it is.
	NoTraffic bool
	Log       *app.Log
	// OnState is called with app.StateShifting when the revision has passed its check and before it gets traffic. An error ends
	// the rollout. It may be nil.
	OnState func(app.State) error
	// Step is told each part of the rollout when it has ended: start, check, canary, shift, drain, undo. It may be nil.
	Step func(name string, began time.Time, err error)
}

// Outcome is a rollout that went live.
type Outcome struct {
	Revision string
	URL      string   // of the Service
	GreenURL string   // of the tag green, with NoTraffic
	Previous []string // the revisions that served before; none for a first release
	Status   int      // of the health check
	Healthy  time.Duration
}

// Bounds of a rollout, besides those of its plan.
const (
	restoreTime  = 2 * time.Minute       // to undo a rollout, whatever happened to its context
	unroutedTime = 15 * time.Second      // the same, where routing is down: the platform keeps the wanted traffic and applies it later
	drainTime    = 2 * time.Second       // how long a push waits for blue to drain
	probeTime    = 10 * time.Second      // one attempt of the check
	probePause   = 50 * time.Millisecond // between the first attempts; doubled up to a second
	logLines     = 20                    // of the app's output, shown where it failed
)

// Rollout takes the plan's revision live: it starts it beside the one that serves (blue) with no traffic and a tag, checks
// it, moves the traffic, and keeps blue for a rollback. When it fails, or ctx ends before the last step, traffic
// is as it was before, the new revision is removed, and the error is an *app.Error.
func Rollout(ctx context.Context, p Platform, plan Plan) (*Outcome, error) {
	r, err := newRollout(p, plan)
	if err != nil {
		return nil, err
	}
	ctx = app.WithNotice(ctx, plan.Log.Detail)
	if err := r.inspect(ctx); err != nil {
		return nil, r.explain(ctx, err)
	}
	if plan.NoTraffic && WithoutWeb(&plan.Service.Spec.Template) {
		return nil, app.Errorf(app.CodeInvalidInput, "push without -o no-traffic", "%s has no web process: there is no traffic to hold back", r.green)
	}
	if plan.NoTraffic && len(r.blue) == 0 {
		return nil, app.Errorf(app.CodeInvalidInput, "roll the first release out with traffic", "%s has no live release that could keep its traffic", r.service)
	}
	if err := r.run(ctx); err != nil {
		explained := r.explain(ctx, err)
		_ = r.step("undo", func() error { r.undo(ctx, err); return nil })
		return nil, explained
	}
	out := &Outcome{Revision: r.green, Previous: r.blue, Status: r.status, Healthy: r.healthy}
	if plan.NoTraffic {
		out.GreenURL = r.greenURL(ctx)
	} else {
		_ = r.step("drain", func() error { r.drain(ctx); return nil })
	}
	out.URL = r.url(ctx)
	return out, nil
}

// rollout is one rollout under way. Its stages, in order:
//
//  1. inspect notes what serves now (blue), and the traffic to restore if a later stage fails.
//  2. start applies the new revision (green) with no traffic and the tag green, and waits until it is ready.
//  3. check asks green for its health path, by its tag, the way of a client's request. With NoTraffic the rollout ends here.
//  4. OnState(app.StateShifting): the caller may still refuse.
//  5. tryOut gives green the share of a canary, if there is one, and judges what it answers; shift applies one step of the traffic after the
//     other; between two steps it waits, and checks again.
//  6. drain waits a moment for blue's last requests. Blue stays without traffic, for a rollback.
//
// undo restores what inspect found when a stage from 2 to 5 fails, or ctx ends during one.
type rollout struct {
	Platform
	plan    Plan
	service string
	green   string // the new revision

	// What inspect found.
	before  *servingv1.Service // nil for a first release
	stopped bool               // nothing is there because it was stopped
	traffic []servingv1.TrafficTarget
	existed bool             // green was there already: the plan is a rollback
	blue    []string         // revisions that get traffic, the largest share first
	shares  map[string]int64 // of the traffic in percent, by revision

	// What start and check found.
	began   time.Time
	status  int           // of the health check
	healthy time.Duration // from the start to the first check that passed
}

// newRollout fills in the plan's defaults. A plan that is not valid is an *app.Error.
func newRollout(p Platform, plan Plan) (*rollout, error) {
	plan.Check.Path = cmp.Or(plan.Check.Path, "/")
	plan.Check.Timeout = cmp.Or(plan.Check.Timeout, 30*time.Second)
	if u, err := url.ParseRequestURI(plan.Check.Path); err != nil || u.IsAbs() || u.Host != "" {
		return nil, app.Errorf(app.CodeInvalidInput, "give a path like /health", "the path %q of the health check is not valid", plan.Check.Path)
	}
	if n := len(plan.Steps); n == 0 || plan.Steps[n-1] != 100 {
		plan.Steps = append(slices.Clone(plan.Steps), 100)
	}
	if plan.OnState == nil {
		plan.OnState = func(app.State) error { return nil }
	}
	if plan.Step == nil {
		plan.Step = func(string, time.Time, error) {}
	}
	return &rollout{Platform: p, plan: plan, service: plan.Service.Name, green: plan.Service.Spec.Template.Name, shares: map[string]int64{}}, nil
}

// inspect notes how things are before the rollout.
func (r *rollout) inspect(ctx context.Context) error {
	svc, err := r.Get(ctx, r.service)
	if errors.Is(err, ErrNotFound) {
		r.stopped = errors.Is(err, ErrStopped)
		return nil
	} else if err != nil {
		return err
	}
	revisions, err := r.Describe(ctx, r.service)
	if err != nil {
		return err
	}
	for _, v := range revisions {
		r.existed = r.existed || v.Name == r.green
	}
	r.before = svc
	if WithoutWeb(&svc.Spec.Template) { // nothing of it takes requests
		return nil
	}
	r.traffic = svc.Status.Traffic // resolved: every target names its revision
	for _, t := range r.traffic {
		if n := ptr.Int64Value(t.Percent); n > 0 {
			if r.shares[t.RevisionName] == 0 {
				r.blue = append(r.blue, t.RevisionName)
			}
			r.shares[t.RevisionName] += n
		}
	}
	slices.SortStableFunc(r.blue, func(a, b string) int { return int(r.shares[b] - r.shares[a]) })
	return nil
}

// step does a part of the rollout, and tells of it.
func (r *rollout) step(name string, do func() error) error {
	began := time.Now()
	err := do()
	r.plan.Step(name, began, err)
	return err
}

// run goes through the stages 2 to 5. Without web, workers stand for instances: they are started, and must stay up for a moment.
func (r *rollout) run(ctx context.Context) error {
	if WithoutWeb(&r.plan.Service.Spec.Template) {
		return r.runWithoutWeb(ctx)
	}
	if err := r.step("start", func() error { return r.start(ctx) }); err != nil {
		return err
	}
	if err := r.step("check", func() error { return r.check(ctx) }); err != nil {
		return err
	}
	r.healthy = time.Since(r.began)
	r.plan.Log.Detail("healthy after %s (HTTP GET %s %d)", app.Elapsed(r.healthy), r.plan.Check.Path, r.status)
	if r.plan.NoTraffic {
		return nil
	}
	if err := r.plan.OnState(app.StateShifting); err != nil {
		return err
	}
	return r.step("shift", func() error { return r.shift(ctx) })
}

func (r *rollout) runWithoutWeb(ctx context.Context) error {
	r.began = time.Now()
	if err := r.Apply(ctx, r.with(r.split(0, false))); err != nil {
		return err
	}
	if err := r.runWorkers(ctx); err != nil {
		return err
	}
	if err := r.plan.OnState(app.StateShifting); err != nil {
		return err
	}
	return r.Apply(ctx, r.with(r.split(100, true)))
}

// start brings the new revision up beside the one that serves.
func (r *rollout) start(ctx context.Context) error {
	r.began = time.Now()
	if err := r.Apply(ctx, r.with(r.split(0, false))); err != nil {
		return err
	}
	return r.WaitReady(ctx, r.service, r.green)
}

// shift moves the traffic, step by step.
func (r *rollout) shift(ctx context.Context) error {
	from := int64(0)
	if len(r.blue) > 0 {
		from = r.shares[r.green]
	}
	if c := r.plan.Canary; c != nil {
		var compared bool
		err := r.step("canary", func() (err error) {
			compared, err = r.tryOut(ctx, c)
			return err
		})
		if err != nil {
			return err
		}
		if compared {
			from = c.Percent
		}
	}
	for i, step := range r.plan.Steps {
		last := i == len(r.plan.Steps)-1
		if r.before == nil && !last {
			continue // no other revision could take the rest
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := r.Apply(ctx, r.with(r.split(step, last))); err != nil {
			return err
		}
		r.plan.Log.Step("Traffic: %s", r.change(from, step))
		from = step
		if last {
			break
		}
		select {
		case <-time.After(r.plan.StepWait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := r.check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// with returns the plan's Service with that traffic.
func (r *rollout) with(traffic []servingv1.TrafficTarget) *servingv1.Service {
	svc := r.plan.Service.DeepCopy()
	svc.Spec.Traffic = traffic
	return svc
}

// greenURL returns the address of the new revision's tag; "" where the platform gives none.
func (r *rollout) greenURL(ctx context.Context) string {
	svc, err := r.Get(context.WithoutCancel(ctx), r.service)
	if err != nil {
		return ""
	}
	for _, t := range svc.Status.Traffic {
		if t.Tag == GreenTag && t.URL != nil {
			return t.URL.String()
		}
	}
	return ""
}

// url returns the address of the Service; "" where the platform gives none.
func (r *rollout) url(ctx context.Context) string {
	svc, err := r.Get(context.WithoutCancel(ctx), r.service)
	if err != nil || svc.Status.URL == nil {
		return ""
	}
	return svc.Status.URL.String()
}
