package deploy

import (
	"context"
	"errors"

	"knative.dev/pkg/ptr"
)

// undo restores what inspect found, after a rollout that failed because of why. It does not depend on ctx, which may have ended.
func (r *rollout) undo(ctx context.Context, why error) {
	limit := restoreTime
	if r.before != nil && errors.Is(why, ErrNotRouted) {
		limit = unroutedTime
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	failed := func(err error) {
		if err != nil && !errors.Is(err, ErrNotFound) {
			r.plan.Log.Error("could not fully restore the previous state: %v", err)
		}
	}
	if r.before == nil && r.stopped {
		failed(r.Stop(ctx, r.service))
		return
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
			r.plan.Log.Detail("previous traffic split restored; it takes effect when routing recovers")
			return
		}
		if !errors.As(err, &start) {
			failed(err)
			return
		}
		r.plan.Log.Error("the revision that served before does not run: %v", start) // everything else is restored
	}
	if !r.existed {
		failed(r.DeleteRevision(ctx, r.service, r.green))
	}
}

// drain waits a moment for blue's last requests. They may finish in any case: blue stays, without traffic.
func (r *rollout) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	for _, b := range r.blue {
		if b == r.green {
			continue
		}
		if err := r.WaitDrained(ctx, r.service, b); err != nil && !errors.Is(err, ErrNotFound) {
			r.plan.Log.Detail("%s still has requests in flight; they will be allowed to finish", b)
		}
	}
}
