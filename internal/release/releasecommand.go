package release

import (
	"context"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// runReleaseCommand runs the image's process type release, if it has one: a failed migration must not go live. A rollback does not run it,
// since it ran for the older release.
func (d *deployment) runReleaseCommand(ctx context.Context, service *servingv1.Service) error {
	if !has(d.release.Processes, releaseProcess) {
		return nil
	}
	if err := d.to(ctx, store.Event{State: app.StateReleasing}); err != nil {
		return err
	}
	d.log.Step("Release v%d: running the release command", d.release.Version)
	if err := d.maintain(ctx, service); err != nil {
		return err
	}
	limit := d.m.o.Limits.WithDefaults().Time
	ctx, cancel := context.WithTimeoutCause(ctx, limit, app.Errorf(app.CodeReleaseFailed, "make it faster, or run it in parts",
		"the release command did not end within %s", limit))
	defer cancel()
	began := time.Now()
	err := deploy.RunProcess(ctx, d.m.o.Platform, service, releaseProcess, d.log)
	d.log.Flush()
	if err == nil {
		d.log.Detail("done in %s", app.Elapsed(time.Since(began)))
		return nil
	}
	return releaseCommandFailed(ctx, err)
}

// releaseCommandFailed explains why the release command failed.
func releaseCommandFailed(ctx context.Context, err error) error {
	const next = "see its output above; what served before goes on serving"
	var e *app.Error
	var ended *deploy.StartError
	switch {
	case ctx.Err() != nil && errors.As(context.Cause(ctx), &e):
		return e
	case !errors.As(err, &ended):
		return err
	case ended.Reason == deploy.Exited && ended.Signal == "":
		return app.Errorf(app.CodeReleaseFailed, next, "the release command exited with status %d", ended.ExitCode)
	case ended.Reason == deploy.OutOfMemory:
		return app.Errorf(app.CodeReleaseFailed, "give it more in project.toml: [io.gitd.web] memory", "the release command was killed at its memory limit of %s", ended.Detail)
	}
	return app.Errorf(app.CodeReleaseFailed, next, "the release command failed: %w", err)
}
