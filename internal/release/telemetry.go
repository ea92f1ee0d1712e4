package release

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// trace begins the trace of a release, or goes on with that of the push. done ends it.
func (d *deployment) trace(ctx context.Context) (_ context.Context, done func(error)) {
	began := time.Now()
	d.own = telemetry.Current(ctx) == nil
	if d.own {
		ctx, d.span = d.m.o.Tracer.StartRun(ctx, telemetry.Parent{}, d.release.App, d.start)
	} else {
		d.span = telemetry.Current(ctx)
	}
	return ctx, func(err error) {
		r := &d.release
		if r.Version != 0 {
			state := string(r.State)
			d.span.Set(telemetry.Attribute{Key: telemetry.KeyRelease, Value: r.Version}, telemetry.Attribute{Key: telemetry.KeyKind, Value: string(r.Kind)},
				telemetry.Attribute{Key: telemetry.KeyState, Value: state}, telemetry.Attribute{Key: telemetry.KeyRevision, Value: r.Revision},
				telemetry.Attribute{Key: telemetry.KeyImage, Value: r.Digest}, telemetry.Attribute{Key: telemetry.KeyDeployment, Value: r.App},
				telemetry.Attribute{Key: telemetry.KeyCommit, Value: r.Commit})
			d.m.o.Metrics.ReleaseDuration.Observe(time.Since(began), string(r.Kind), state)
		}
		if d.own {
			d.span.EndRun(err)
		}
	}
}

// logged is what a line of the server's log about the release has besides its message.
func (d *deployment) logged() slog.Attr {
	return slog.String(telemetry.LogTrace, d.release.Trace)
}

// count counts a state that the release has reached, where it is its last.
func (d *deployment) count(state app.State) {
	if !state.Final() {
		return
	}
	d.m.o.Metrics.Ended.Inc(d.release.App, string(d.release.Kind), string(state))
	if state != app.StateLive {
		return
	}
	for _, p := range []struct {
		name string
		took time.Duration
	}{{"receive", d.timings.Receive}, {"queue", d.timings.Queue}, {"start", d.timings.Start}, {"shift", d.timings.Shift}} {
		if p.took > 0 {
			d.m.o.Metrics.Phases.Observe(p.took, p.name)
		}
	}
}

// buildWatch counts and traces a build.
type buildWatch struct {
	m     *Machine
	span  *telemetry.Span
	began time.Time
	phase telemetry.SpanID // of "build", which the buildpacks' parts are under
}

// watchBuild begins to watch a build that begins now.
func (d *deployment) watchBuild(ctx context.Context) (context.Context, *buildWatch) {
	w := &buildWatch{m: d.m, began: time.Now(), phase: telemetry.NewSpanID()}
	ctx, w.span = telemetry.StartTask(ctx, "build", telemetry.TaskBuild)
	return ctx, w
}

// results are what metrics call the end of a part.
func resultOf(failed bool) string {
	if failed {
		return "failed"
	}
	return "ok"
}

// step takes a part that has ended.
func (w *buildWatch) step(s build.Step) {
	var part *telemetry.Span
	switch {
	case s.Buildpack != "":
		part = w.span.Child(telemetry.NewSpanID(), "buildpack "+s.Buildpack, s.Began)
		part.Under(w.phase)
		part.Set(telemetry.Attribute{Key: "gitd.buildpack.id", Value: s.Buildpack}, telemetry.Attribute{Key: "gitd.buildpack.version", Value: s.Version})
		w.m.o.Builds.Buildpacks.Observe(s.Took, s.Buildpack, resultOf(s.Failed))
	case s.Name == "build":
		part = w.span.Child(w.phase, "buildpacks", s.Began)
		w.m.o.Builds.Phases.Observe(s.Took, s.Name)
	default:
		part = w.span.Child(telemetry.NewSpanID(), s.Name, s.Began)
		w.m.o.Builds.Phases.Observe(s.Took, s.Name)
	}
	var err error
	if s.Failed {
		err = errStep
	}
	part.EndAt(s.Began.Add(s.Took), err)
}

// errStep stands for what the build as a whole says of its failure.
var errStep = app.Errorf(app.CodeBuildFailed, "see the build's log", "the build ended here")

// ended ends the build.
func (w *buildWatch) ended(r *build.Result, err error) {
	result := resultOf(err != nil)
	if c := app.CodeOf(err); c == app.CodeCancelled || c == app.CodeSuperseded {
		result = "cancelled"
	}
	w.m.o.Builds.Ended.Inc(result)
	w.m.o.Builds.Duration.Observe(time.Since(w.began), result)
	if r != nil {
		w.span.Set(telemetry.Attribute{Key: telemetry.KeyImage, Value: r.Digest}, telemetry.Attribute{Key: "gitd.image.layers.reused", Value: r.LayersReused},
			telemetry.Attribute{Key: "gitd.image.layers.added", Value: r.LayersAdded}, telemetry.Attribute{Key: "gitd.image.added_bytes", Value: r.AddedBytes})
	}
	w.span.EndTask(err)
}

// step tells of a part of a rollout that has ended.
func step(ctx context.Context, name string, began time.Time, err error) {
	kind := ""
	if name == "check" || name == "canary" {
		kind = telemetry.TaskTest
	}
	telemetry.Task(ctx, name, kind, began, rolloutError(err))
}

// rolloutError is the error of a part of a rollout; the rollout as a whole says it in words.
func rolloutError(err error) error {
	var told *app.Error
	if err == nil || errors.As(err, &told) || errors.Is(err, context.Canceled) {
		return err
	}
	return app.Wrap(err, app.CodeStartFailed, "see the release's log", "the rollout ended here")
}
