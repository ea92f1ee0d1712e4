package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

func (m *Machine) deploy(ctx context.Context, w *work, p Push) error {
	settings, err := project.Read(p.Source.ReadFile)
	if err != nil {
		return err
	}
	p.Source = selectFiles(p.Source, settings.Files, w.log)
	procfile, err := readProcfile(p.Source.ReadFile) // before the build takes its time
	if err != nil {
		return err
	}
	if err := m.checkCaps(ctx, w.release, &settings, procfile); err != nil {
		return err
	}
	if p.NoTraffic {
		if _, err := m.o.Store.Ledger(p.App).Live(ctx); app.CodeOf(err) == app.CodeNotFound {
			return app.Errorf(app.CodeInvalidInput, "push without -o no-traffic", "nothing of %s is live yet: its first release takes the traffic", p.App)
		} else if err != nil {
			return err
		}
	}
	result, err := m.build(ctx, w, p, settings)
	if err != nil {
		return err
	}
	w.release.Revision = app.RevisionName(p.App, w.release.Version)
	workers, err := workerTypes(p.Source.ReadFile, result.Processes, settings.Instances)
	if err != nil {
		return err
	}
	service, err := newService(w.release, result, settings.Web, workers)
	if err != nil {
		return err
	}
	if p.DryRun {
		return app.Errorf(app.CodeDryRun, "push without -o dry-run to take it live", "dry run: the build works; nothing was deployed")
	}
	if err := m.prepare(ctx, w, service); err != nil {
		return err
	}
	w.log.Step("Release v%d: starting revision %s", w.release.Version, w.release.Revision)
	return m.rollOut(ctx, w, service, settings.Web, p.Accept, p.NoTraffic)
}

// prepare runs the image's process type release, where it has one: a failed migration must not go live. A rollback does not run it:
// what it did for the older release is done.
func (m *Machine) prepare(ctx context.Context, w *work, service *servingv1.Service) error {
	if !has(w.release.Processes, releaseProcess) {
		return nil
	}
	if err := w.to(ctx, store.Event{State: app.StateReleasing}); err != nil {
		return err
	}
	w.log.Step("Release v%d: running the release command", w.release.Version)
	limit := m.o.Limits.WithDefaults().Time
	ctx, cancel := context.WithTimeoutCause(ctx, limit, app.Errorf(app.CodeReleaseFailed, "make it faster, or run it in parts",
		"the release command did not end within %s", limit))
	defer cancel()
	began := time.Now()
	err := m.o.Platform.RunProcess(ctx, service, releaseProcess, w.log)
	w.log.Flush()
	var e *app.Error
	var ended *deploy.StartError
	switch {
	case err == nil:
		w.log.Detail("done in %s", app.Elapsed(time.Since(began)))
	case ctx.Err() != nil && errors.As(context.Cause(ctx), &e):
		return e
	case errors.As(err, &ended) && ended.Reason == deploy.Exited && ended.Signal == "":
		return app.Errorf(app.CodeReleaseFailed, "see its output above; what served before goes on serving", "the release command exited with status %d", ended.ExitCode)
	case errors.As(err, &ended) && ended.Reason == deploy.OutOfMemory:
		return app.Errorf(app.CodeReleaseFailed, "give it more in project.toml: [io.gitd.web] memory", "the release command was killed at its memory limit of %s", ended.Detail)
	case errors.As(err, &ended):
		return app.Errorf(app.CodeReleaseFailed, "see its output above; what served before goes on serving", "the release command failed: %w", err)
	}
	return err
}

// The process types that are no workers.
const (
	webProcess     = "web"     // gets the requests
	releaseProcess = "release" // runs before a release starts, as on Heroku
)

func (m *Machine) build(ctx context.Context, w *work, p Push, settings project.Descriptor) (*build.Result, error) {
	w.timings.Receive = time.Since(w.start)
	leave, err := m.queue(ctx, w, p.By.Name())
	if err != nil {
		return nil, err
	}
	defer leave()
	defer m.lease()()
	if err := w.to(ctx, store.Event{State: app.StateBuilding}); err != nil {
		return nil, err
	}
	result, err := m.o.Builder.Build(ctx, build.Request{
		App: p.App, AppID: w.release.AppID, Version: w.release.Version, Commit: p.Commit, Source: p.Source, Env: settings.BuildEnv,
		ClearCache: p.Clear, Limits: m.o.Limits, Log: w.log,
	})
	if err != nil {
		return nil, err
	}
	if err := checkProcesses(result.Processes); err != nil {
		return nil, err
	}
	w.timings.Times = result.Times
	w.release.Repository, w.release.Digest, w.release.Processes = result.Repository, result.Digest, result.Processes
	return result, w.to(ctx, store.Event{State: app.StateBuilt, Repository: result.Repository, Digest: result.Digest, Processes: result.Processes})
}

// queue waits until the build may begin, and says so. Call leave when it has ended.
func (m *Machine) queue(ctx context.Context, w *work, key string) (leave func(), err error) {
	if m.o.Queue == nil {
		return func() {}, nil
	}
	began, told := time.Now(), false
	leave, err = m.o.Queue.Enter(ctx, key, func(n int) {
		builds := fmt.Sprintf("%d builds", n)
		if n == 1 {
			builds = "1 build"
		}
		if !told {
			told = true
			w.log.Step("Waiting for %s ahead", builds)
		} else {
			w.log.Detail("waiting for %s ahead", builds)
		}
	})
	w.timings.Queue = time.Since(began)
	if err == nil && told {
		w.log.Detail("waited %s", app.Elapsed(w.timings.Queue))
	}
	return leave, err
}

// ready ends a release that was asked to get no traffic.
func (m *Machine) ready(ctx context.Context, w *work, o *deploy.Outcome, accept func() error) error {
	if err := w.allowed(ctx); err != nil {
		return err
	}
	if err := accept(); err != nil {
		return err
	}
	if err := w.to(context.WithoutCancel(ctx), store.Event{State: app.StateReady, Reason: "gets no traffic"}); err != nil {
		return err
	}
	w.log.Detail("%s is ready, without traffic, until the next push: %s (%s)", w.release.Revision, o.GreenURL, app.Elapsed(time.Since(w.start)))
	w.log.Detail("take it live: promote %s v%d", w.release.App, w.release.Version)
	m.runs.Go(func() { m.Collect(m.ctx, w.release.App) })
	return nil
}

// allowed asks again, by the rights of this moment, whether the release may go live: its build may have taken long.
func (w *work) allowed(ctx context.Context) error {
	return w.m.o.Store.Confirm(ctx, w.by, w.release.App, w.release.AppID, app.VerbPush)
}

// rollOut takes a Service live and says so in the ledger. accept is called when the new revision is healthy, before it gets traffic.
func (m *Machine) rollOut(ctx context.Context, w *work, service *servingv1.Service, web project.Web, accept func() error, noTraffic bool) error {
	manifest, err := json.Marshal(service)
	if err != nil {
		return err
	}
	revision := service.Spec.Template.Name
	if err := w.to(ctx, store.Event{State: app.StateStarting, Repository: w.release.Repository, Digest: w.release.Digest, Processes: w.release.Processes,
		Revision: revision, Service: manifest}); err != nil {
		return err
	}
	path, timeout := check(service)
	started, shifted := time.Now(), time.Time{}
	outcome, err := deploy.Rollout(ctx, m.o.Platform, deploy.Plan{
		Service: service,
		Check:   deploy.Check{Path: path, Timeout: timeout},
		Steps:   web.Steps, StepWait: web.StepTime,
		NoTraffic: noTraffic,
		Log:       w.log,
		OnState: func(s app.State) error {
			if s != app.StateShifting {
				return nil
			}
			shifted = time.Now()
			if err := w.allowed(ctx); err != nil {
				return err
			}
			if accept != nil {
				if err := accept(); err != nil {
					return err
				}
			}
			return w.to(ctx, store.Event{State: app.StateShifting})
		},
	})
	if err != nil {
		return err
	}
	if noTraffic {
		return m.ready(ctx, w, outcome, accept)
	}
	// All traffic is on the new revision: from here on nothing turns back, also not a client that goes away.
	m.employ(ctx, w, service)
	if err := w.to(context.WithoutCancel(ctx), store.Event{State: app.StateLive}); err != nil {
		return err
	}
	w.timings.Start, w.timings.Shift = shifted.Sub(started), time.Since(shifted)
	w.timings.Total = time.Since(w.start)
	w.log.Detail("%s is live (%s)", m.o.URL(w.release.App), app.Elapsed(w.timings.Total))
	m.note(w)
	m.runs.Go(func() { m.Collect(m.ctx, w.release.App) })
	return nil
}
