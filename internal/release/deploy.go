package release

import (
	"context"
	"encoding/json"
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
	result, err := m.build(ctx, w, p, settings)
	if err != nil {
		return err
	}
	w.release.Revision = app.RevisionName(p.App, w.release.Version)
	service, err := newService(w.release, result, settings.Web)
	if err != nil {
		return err
	}
	w.log.Step("Release v%d: starting revision %s", w.release.Version, w.release.Revision)
	return m.rollOut(ctx, w, service, p.Accept)
}

func (m *Machine) build(ctx context.Context, w *work, p Push, settings project.Descriptor) (*build.Result, error) {
	m.images.RLock()
	defer m.images.RUnlock()
	if err := w.to(ctx, store.Event{State: app.Building}); err != nil {
		return nil, err
	}
	w.timings.Receive = time.Since(w.start)
	result, err := m.o.Builder.Build(ctx, build.Request{
		App: p.App, Version: w.release.Version, Commit: p.Commit, Source: p.Source, Env: settings.BuildEnv,
		ClearCache: p.Clear, Limits: m.o.Limits, Log: w.log,
	})
	if err != nil {
		return nil, err
	}
	w.timings.Times = result.Times
	w.release.Repository, w.release.Digest, w.release.Processes = result.Repository, result.Digest, result.Processes
	return result, w.to(ctx, store.Event{State: app.Built, Repository: result.Repository, Digest: result.Digest, Processes: result.Processes})
}

// rollOut takes a Service live and says so in the ledger. accept is called when the new revision is healthy, before it gets traffic.
func (m *Machine) rollOut(ctx context.Context, w *work, service *servingv1.Service, accept func() error) error {
	manifest, err := json.Marshal(service)
	if err != nil {
		return err
	}
	revision := service.Spec.Template.Name
	if err := w.to(ctx, store.Event{State: app.Starting, Repository: w.release.Repository, Digest: w.release.Digest, Processes: w.release.Processes,
		Revision: revision, Service: manifest}); err != nil {
		return err
	}
	path, timeout := check(service)
	started, shifted := time.Now(), time.Time{}
	_, err = deploy.Rollout(ctx, m.o.Platform, deploy.Plan{
		Service: service,
		Check:   deploy.Check{Path: path, Timeout: timeout},
		Log:     w.log,
		OnState: func(s app.State) error {
			if s != app.Shifting {
				return nil
			}
			shifted = time.Now()
			if accept != nil {
				if err := accept(); err != nil {
					return err
				}
			}
			return w.to(ctx, store.Event{State: app.Shifting})
		},
	})
	if err != nil {
		return err
	}
	// All traffic is on the new revision: from here on nothing turns back, also not a client that goes away.
	if err := w.to(context.WithoutCancel(ctx), store.Event{State: app.Live}); err != nil {
		return err
	}
	w.timings.Start, w.timings.Shift = shifted.Sub(started), time.Since(shifted)
	w.timings.Total = time.Since(w.start)
	w.log.Detail("%s is live (%s)", m.o.URL(w.release.App), app.Elapsed(w.timings.Total))
	m.note(w)
	m.runs.Go(func() { m.Collect(m.ctx, w.release.App) })
	return nil
}
