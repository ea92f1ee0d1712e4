package deploy

import (
	"context"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Canary gives green a small share of the traffic before its steps, and judges it by what the data plane counts: green against blue.
type Canary struct {
	Percent  int64         // of the traffic, from 1 to 99
	Duration time.Duration // in all
	Interval time.Duration // between two judgements of latency, and two lines of the log
	Limits   CanaryLimits
	// Strict ends the rollout where green got fewer requests than a judgement takes. Otherwise it goes on, and the log says so.
	Strict bool
	Sticky bool // a client stays with the side that it came to first, by a cookie
}

// canaryLook is the time between two looks at the counters, where the interval is longer.
const canaryLook = time.Second

// tryOut is the canary. Its error is why green may not get all the traffic; compared says whether it has the canary's share now.
func (r *rollout) tryOut(ctx context.Context, c *Canary) (compared bool, err error) {
	if r.before == nil || len(r.blue) == 0 || len(r.blue) == 1 && r.blue[0] == r.green {
		r.plan.Log.Detail("no canary: no other release serves that it could be compared with")
		return false, nil
	}
	svc := r.with(r.split(c.Percent, false))
	SetSticky(svc, c.Sticky)
	if err := r.Apply(ctx, svc); err != nil {
		return false, err
	}
	r.plan.Log.Step("Traffic: %s", r.change(r.shares[r.green], c.Percent))
	r.plan.Log.Step("Canary for %s: judged from %d requests on", app.Elapsed(c.Duration), c.Limits.MinRequests)
	err = r.watch(ctx, c)
	var w *worse
	if errors.As(err, &w) {
		r.show(r.lastLines(ctx))
		return false, app.Errorf(app.CodeUnhealthy, "see the figures above, and what the app wrote: logs "+r.service+"; correct it and push again", "the canary failed: %s answered %s", r.green, w.why)
	}
	return err == nil, err
}

// watch looks at the counters until the time of the canary is over.
func (r *rollout) watch(ctx context.Context, c *Canary) error {
	j := &judge{limits: c.Limits}
	var err error
	if j.green, j.blue, err = r.counters(ctx); err != nil {
		return err
	}
	startGreen, startBlue := j.green, j.blue
	shownGreen, shownBlue := j.green, j.blue // in the last line of the log
	began := time.Now()
	tick := time.NewTicker(min(canaryLook, c.Interval))
	defer tick.Stop()
	for due := c.Interval; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		green, blue, err := r.counters(ctx)
		if err != nil {
			return err
		}
		after := time.Since(began)
		ends := after >= due || after >= c.Duration
		verdict := j.look(green, blue, ends)
		if ends || verdict != nil {
			r.plan.Log.Detail("%s: %s: %s; before: %s", app.Elapsed(after.Round(100*time.Millisecond)), r.green, j.figures(green.Since(shownGreen)), j.figures(blue.Since(shownBlue)))
			shownGreen, shownBlue = green, blue
			due += c.Interval
		}
		switch {
		case verdict != nil:
			return verdict
		case after >= c.Duration:
			return r.concluded(c, j, green.Since(startGreen), blue.Since(startBlue))
		case !ends:
			continue
		}
		if err := r.check(ctx); err != nil {
			return err
		}
	}
}

// concluded ends a canary whose time is over.
func (r *rollout) concluded(c *Canary, j *judge, green, blue Counters) error {
	switch {
	case j.judged > 0:
		r.plan.Log.Detail("the canary passed: %d of %d requests with 5xx, before %d of %d", green.Errors, green.Requests, blue.Errors, blue.Requests)
		return nil
	case c.Strict:
		return app.Errorf(app.CodeUnhealthy, "push when there is traffic, or with a smaller min-requests or few-requests = \"promote\" under [io.gitd.rollout]",
			"the canary was not judged: %s got %s, and a judgement takes %d", r.green, requests(green.Requests), c.Limits.MinRequests)
	}
	r.plan.Log.Detail("the canary was not judged: %s got %s, and a judgement takes %d; it goes on without", r.green, requests(green.Requests), c.Limits.MinRequests)
	return nil
}

// counters returns what green and all of blue have answered.
func (r *rollout) counters(ctx context.Context) (green, blue Counters, err error) {
	all, err := r.Counters(ctx, r.service)
	if err != nil {
		return green, blue, err
	}
	for _, b := range r.blue {
		if b != r.green {
			blue = blue.Plus(all[b])
		}
	}
	return all[r.green], blue, nil
}

func requests(n int64) string {
	switch n {
	case 0:
		return "no requests"
	case 1:
		return "1 request"
	}
	return number(float64(n)) + " requests"
}
