package release

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/store"
	"github.com/gitd-io/gitd/internal/telemetry"
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
	return d.runCommand(ctx, service, deploy.RunSpec{Process: releaseProcess}, "the release command")
}

// runCommand runs a command of a release to its end, in a container of its own, with its output in the log. what names it for people.
func (d *deployment) runCommand(ctx context.Context, service *servingv1.Service, spec deploy.RunSpec, what string) (err error) {
	ctx, span := telemetry.StartTask(ctx, strings.TrimPrefix(what, "the "), "")
	defer func() { span.EndTask(err) }()
	d.log.Step("Release v%d: running %s", d.release.Version, what)
	if spec.Process == releaseProcess {
		if err := d.maintain(ctx, service); err != nil {
			return err
		}
	}
	limit := d.m.o.Limits.WithDefaults().Time
	ctx, cancel := context.WithTimeoutCause(ctx, limit, app.Errorf(app.CodeReleaseFailed, "make it faster, or run it in parts",
		"%s did not end within %s", what, limit))
	defer cancel()
	began := time.Now()
	spec.Stdout, spec.Stderr = d.log, d.log
	run := d.m.o.Platform.Run
	if d.m.o.Jobs != nil {
		run = func(ctx context.Context, svc *servingv1.Service, spec deploy.RunSpec) (deploy.Exit, error) {
			return d.m.o.Jobs.Release(ctx, d.release, svc, spec)
		}
	}
	ended, err := run(ctx, service, spec)
	if err == nil {
		err = ended.Err()
	}
	d.log.Flush()
	if err == nil {
		d.log.Detail("done in %s", app.Elapsed(time.Since(began)))
		return nil
	}
	return commandFailed(ctx, err, what)
}

// commandFailed explains why a command of a release failed.
func commandFailed(ctx context.Context, err error, what string) error {
	const next = "see its output above; what served before goes on serving"
	var e *app.Error
	var ended *deploy.StartError
	switch {
	case ctx.Err() != nil && errors.As(context.Cause(ctx), &e):
		return e
	case !errors.As(err, &ended):
		return err
	case ended.Reason == deploy.Exited && ended.Signal == "":
		return app.Errorf(app.CodeReleaseFailed, next, "%s exited with status %d", what, ended.ExitCode)
	case ended.Reason == deploy.OutOfMemory:
		return app.Errorf(app.CodeReleaseFailed, "give it more in project.toml: [io.gitd.web] memory", "%s was killed at its memory limit of %s", what, ended.Detail)
	}
	return app.Errorf(app.CodeReleaseFailed, next, "%s failed: %w", what, err)
}
