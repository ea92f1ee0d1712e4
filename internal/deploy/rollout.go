package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
)

// Check is the health check of a new revision: a GET that goes the way of a client's request. A 5xx, and no answer, are
// tried again until the time is over; any other status passes.
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
	// NoTraffic ends the rollout when the new revision has passed its check: it stays under the tag green, and traffic where it is.
	NoTraffic bool
	Log       *app.Log
	// OnState is called with app.StateShifting when the revision has passed its check and before it gets traffic. An error ends
	// the rollout. It may be nil.
	OnState func(app.State) error
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

// Times that bound what a rollout does besides the plan's own.
const (
	restoreTime  = 2 * time.Minute       // to undo a rollout, whatever happened to its context
	unroutedTime = 15 * time.Second      // the same, where nothing routes: what is wanted is written down, and nobody can wait until it is so
	drainTime    = 2 * time.Second       // how long a push waits to see blue drained
	probeTime    = 10 * time.Second      // one attempt of the check
	probePause   = 50 * time.Millisecond // between the first attempts; doubled up to a second
	logLines     = 20                    // of the app's output, shown where it failed
)

// Rollout takes the plan's revision live: it starts it beside the one that serves (blue) with no traffic and a tag, checks
// it, moves the traffic, and keeps blue for a rollback. When it fails, or ctx ends before the last step, traffic
// is as it was before, the new revision is removed, and the error is an *app.Error.
func Rollout(ctx context.Context, p Platform, plan Plan) (*Outcome, error) {
	r := &rollout{Platform: p, plan: plan, service: plan.Service.Name, green: plan.Service.Spec.Template.Name}
	if r.plan.Check.Path == "" {
		r.plan.Check.Path = "/"
	}
	if u, err := url.ParseRequestURI(r.plan.Check.Path); err != nil || u.IsAbs() || u.Host != "" {
		return nil, app.Errorf(app.CodeInvalidInput, "give a path like /health", "the path %q of the health check is not valid", r.plan.Check.Path)
	}
	if r.plan.Check.Timeout == 0 {
		r.plan.Check.Timeout = 30 * time.Second
	}
	if n := len(plan.Steps); n == 0 || plan.Steps[n-1] != 100 {
		r.plan.Steps = append(slices.Clone(plan.Steps), 100)
	}
	if r.plan.OnState == nil {
		r.plan.OnState = func(app.State) error { return nil }
	}
	ctx = WithNotice(ctx, plan.Log.Detail)
	if err := r.look(ctx); err != nil {
		return nil, r.explain(ctx, err)
	}
	if plan.NoTraffic && len(r.blue) == 0 {
		return nil, app.Errorf(app.CodeInvalidInput, "take a first release live", "%s has nothing live that could keep its traffic", r.service)
	}
	if err := r.run(ctx); err != nil {
		told := r.explain(ctx, err)
		r.undo(ctx, err)
		return nil, told
	}
	out := &Outcome{Revision: r.green, Previous: r.blue, Status: r.status, Healthy: r.healthy}
	if plan.NoTraffic {
		out.GreenURL = r.greenURL(ctx)
	} else {
		r.drain(ctx)
	}
	out.URL = r.url(ctx)
	return out, nil
}

type rollout struct {
	Platform
	plan    Plan
	service string
	green   string

	before  *servingv1.Service // nil for a first release
	traffic []servingv1.TrafficTarget
	existed bool     // the revision was there before
	blue    []string // revisions that get traffic, the largest share first
	shares  map[string]int64
	began   time.Time
	status  int
	healthy time.Duration
}

// look notes how things are before the rollout.
func (r *rollout) look(ctx context.Context) error {
	r.shares = map[string]int64{}
	svc, err := r.Get(ctx, r.service)
	if errors.Is(err, ErrNotFound) {
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

func (r *rollout) run(ctx context.Context) error {
	r.began = time.Now()
	if err := r.Apply(ctx, r.with(r.split(0, false))); err != nil {
		return err
	}
	if err := r.WaitReady(ctx, r.service, r.green); err != nil {
		return err
	}
	if err := r.check(ctx); err != nil {
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
	from := int64(0)
	if len(r.blue) > 0 {
		from = r.shares[r.green]
	}
	for i, step := range r.plan.Steps {
		last := i == len(r.plan.Steps)-1
		if r.before == nil && !last {
			continue // there is nobody to share with
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

// with is the plan's Service with that traffic.
func (r *rollout) with(traffic []servingv1.TrafficTarget) *servingv1.Service {
	svc := r.plan.Service.DeepCopy()
	svc.Spec.Traffic = traffic
	return svc
}

// split gives green the percentage and blue the rest, in the proportions from before. Tags other than green stay where they are. What served
// before has no address of its own: people could go on using a version that was replaced for its faults.
func (r *rollout) split(green int64, last bool) []servingv1.TrafficTarget {
	if len(r.blue) == 0 {
		green = 100
	}
	out := []servingv1.TrafficTarget{target(r.green, green, "")}
	if !last {
		out[0].Tag = GreenTag
	}
	rest := 100 - green
	old := int64(0)
	var others []string
	for _, b := range r.blue {
		if b != r.green {
			others = append(others, b)
			old += r.shares[b]
		}
	}
	if len(others) == 0 { // green serves alone already
		out[0].Percent = ptr.Int64(100)
	}
	left := rest
	for i, b := range others {
		n := rest * r.shares[b] / old
		if i == len(others)-1 {
			n = left
		}
		left -= n
		if n > 0 {
			out = append(out, target(b, n, ""))
		}
	}
	for _, t := range r.traffic {
		if t.Tag != "" && t.Tag != GreenTag && t.Tag != BlueTag {
			out = append(out, target(t.RevisionName, 0, t.Tag))
		}
	}
	return out
}

func target(revision string, percent int64, tag string) servingv1.TrafficTarget {
	return servingv1.TrafficTarget{RevisionName: revision, Percent: ptr.Int64(percent), Tag: tag, LatestRevision: ptr.Bool(false)}
}

// change says what a step does: "hello-v1 100% → 0%, hello-v2 0% → 100%".
func (r *rollout) change(from, to int64) string {
	var parts []string
	old := int64(0)
	for _, b := range r.blue {
		if b != r.green {
			old += r.shares[b]
		}
	}
	for _, b := range r.blue {
		if b != r.green {
			parts = append(parts, fmt.Sprintf("%s %d%% → %d%%", b, (100-from)*r.shares[b]/old, (100-to)*r.shares[b]/old))
		}
	}
	return strings.Join(append(parts, fmt.Sprintf("%s %d%% → %d%%", r.green, from, to)), ", ")
}

// check sends the health check until it passes or its time is over.
func (r *rollout) check(ctx context.Context) error {
	deadline := time.Now().Add(r.plan.Check.Timeout)
	whole, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var status int
	var err, why error // why: of the last attempt that did not just run out of time
	for pause := probePause; ; pause = min(2*pause, time.Second) {
		attempt, stop := context.WithTimeout(whole, probeTime)
		status, err = r.Probe(attempt, r.service, GreenTag, r.plan.Check.Path)
		if err == nil || attempt.Err() == nil {
			why = err
		}
		stop()
		if err == nil && status < 500 {
			r.status = status
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// It may have ended over the question, or before the answer of the ingress: then how it ended is the reason.
		if err := r.hasEnded(whole); err != nil {
			return err
		}
		var start *StartError
		if werr := r.WaitReady(whole, r.service, r.green); errors.As(werr, &start) {
			return werr
		}
		select {
		case <-time.After(pause):
		case <-whole.Done():
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := r.hasEnded(whole); err != nil {
			return err
		}
		if whole.Err() != nil {
			return r.unhealthy(ctx, status, err, why)
		}
	}
}

// hasEnded returns how an instance ended since the rollout began. Another one may be up already: it would end as well.
func (r *rollout) hasEnded(ctx context.Context) error {
	var start *StartError
	if err := r.Ended(ctx, r.service, r.green, r.began); errors.As(err, &start) {
		return err
	}
	return nil
}

func (r *rollout) unhealthy(ctx context.Context, status int, err, why error) error {
	r.tell(r.lastLines(ctx))
	got := fmt.Sprintf("answered with status %d (%s)", status, http.StatusText(status))
	reason, next := "", "see what the app wrote, above; the check passes with any status below 500"
	if err != nil {
		got = "was not answered"
		if reason = unanswered(cmp.Or(why, err)); reason != "" {
			reason, next = ": "+reason, "the server cannot reach the ingress: ask the operator to give its address (gitd serve --ingress HOST:PORT)"
		}
	}
	return &app.Error{Code: app.CodeUnhealthy, Err: err,
		Message: fmt.Sprintf("health check failed: HTTP GET %s %s for %s%s", r.plan.Check.Path, got, app.Elapsed(r.plan.Check.Timeout), reason), Next: next}
}

// unanswered says why a request did not get as far as the ingress; "" where that is not known.
func unanswered(err error) string {
	var dns *net.DNSError
	var dial *net.OpError
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %s cannot be resolved (%s)", dns.Name, dns.Err)
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Sprintf("no connection to %s (%v)", dial.Addr, dial.Err)
	}
	return ""
}

// lastLines are the last lines of the revision's output.
func (r *rollout) lastLines(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTime)
	defer cancel()
	var b strings.Builder
	if err := r.Logs(ctx, r.service, LogOptions{Revision: r.green, Tail: logLines}, &b); err != nil || b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func (r *rollout) tell(lines []string) {
	if len(lines) == 0 {
		return
	}
	r.plan.Log.Detail("the last lines of %s:", r.green)
	for _, l := range lines {
		r.plan.Log.Detail("  %s", l)
	}
}

// explain makes err one that a person understands.
func (r *rollout) explain(ctx context.Context, err error) error {
	var known *app.Error
	var start *StartError
	switch {
	case errors.As(err, &start):
		r.tell(start.LogTail)
		if errors.As(start.Err, &known) && known.Code == app.CodeStartFailed { // the runtime knows what the owner can do
			return known
		}
		if start.Missing {
			return &app.Error{Code: app.CodeImageMissing, Err: err,
				Message: fmt.Sprintf("the image of %s is not in the registry any more: %s", r.version(), start.Detail),
				Next:    "push its commit again to build a new image"}
		}
		return &app.Error{Code: app.CodeStartFailed, Err: err, Message: start.Error(), Next: start.next()}
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		if errors.As(context.Cause(ctx), &known) {
			return known
		}
		return &app.Error{Code: app.CodeCancelled, Err: context.Cause(ctx), Message: "the rollout was cancelled"}
	}
	return fmt.Errorf("roll out %s: %w", r.green, err)
}

// version is the release's name in words: "v3" of hello-v3.
func (r *rollout) version() string {
	return strings.TrimPrefix(r.green, r.service+"-")
}

// undo brings back what was before, after a rollout that failed because of why. It does not depend on ctx, which may have ended.
func (r *rollout) undo(ctx context.Context, why error) {
	limit := restoreTime
	if r.before != nil && errors.Is(why, ErrNotRouted) {
		limit = unroutedTime
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	failed := func(err error) {
		if err != nil && !errors.Is(err, ErrNotFound) {
			r.plan.Log.Error("the state before could not be restored in full: %v", err)
		}
	}
	if r.before == nil {
		failed(r.Delete(ctx, r.service))
		return
	}
	svc := r.before.DeepCopy()
	svc.Spec.Traffic = nil
	for _, t := range r.traffic {
		svc.Spec.Traffic = append(svc.Spec.Traffic, target(t.RevisionName, ptr.Int64Value(t.Percent), t.Tag))
	}
	if err := r.Apply(ctx, svc); err != nil {
		var start *StartError
		if errors.Is(why, ErrNotRouted) && ctx.Err() != nil {
			r.plan.Log.Detail("the traffic of before is wanted again; it comes when requests are routed")
			return
		}
		if !errors.As(err, &start) {
			failed(err)
			return
		}
		r.plan.Log.Error("what served before does not run: %v", start) // else all is as it was
	}
	if !r.existed {
		failed(r.DeleteRevision(ctx, r.service, r.green))
	}
}

// drain waits a little for blue's last requests. They end in any case: blue stays, without traffic.
func (r *rollout) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	for _, b := range r.blue {
		if b == r.green {
			continue
		}
		if err := r.WaitDrained(ctx, r.service, b); err != nil && !errors.Is(err, ErrNotFound) {
			r.plan.Log.Detail("%s still has requests in flight; they are let to their end", b)
		}
	}
}

// greenURL is where the new revision answers under its tag.
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

func (r *rollout) url(ctx context.Context) string {
	svc, err := r.Get(context.WithoutCancel(ctx), r.service)
	if err != nil || svc.Status.URL == nil {
		return ""
	}
	return svc.Status.URL.String()
}
