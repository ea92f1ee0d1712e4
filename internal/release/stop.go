package release

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// alone calls do in the app's turn with its live release, for a caller who may change the app. It waits for the deployment that is under way.
func (m *Machine) alone(ctx context.Context, by app.Caller, name string, log *app.Log, do func(ctx context.Context, live app.Release, service *servingv1.Service) error) error {
	a, err := m.o.Store.Authorize(ctx, by, name, app.VerbChange)
	if err != nil {
		return err
	}
	return m.inTurn(ctx, name, log, func(ctx context.Context) error {
		live, service, err := m.live(ctx, name)
		if err != nil {
			return err
		}
		deploy.SetAppID(service, a.ID) // releases of an older gitd have none
		return do(ctx, live, service)
	})
}

// Stop ends all instances of an app, until Start or until a release goes live. It returns an *app.Error: CodeNotFound if nothing is live yet,
// CodeForbidden if by has no right to change the app.
func (m *Machine) Stop(ctx context.Context, by app.Caller, name string, log *app.Log) error {
	return m.alone(ctx, by, name, log, func(ctx context.Context, live app.Release, _ *servingv1.Service) error {
		if st, err := m.o.Store.Ledger(name).Stopped(ctx, live.Version); err != nil || st != nil {
			if st != nil {
				log.Detail("%s is stopped already, by %s", name, app.Plain(st.Key))
			}
			return err
		}
		if err := m.o.Store.SetStopped(ctx, by, name, live.Version, true); err != nil {
			return err
		}
		if err := m.o.Platform.Stop(context.WithoutCancel(ctx), name); err != nil {
			return err
		}
		log.Detail("%s is stopped: none of it runs, and requests get 503, until ps start %s or the next push", name, name)
		return nil
	})
}

// Start ends a stop: what ran before runs again, and has answered when Start returns. Where it does not come up, the app stays stopped, and the error is
// an *app.Error, as for Stop.
func (m *Machine) Start(ctx context.Context, by app.Caller, name string, log *app.Log) error {
	return m.alone(ctx, by, name, log, func(ctx context.Context, live app.Release, service *servingv1.Service) error {
		st, err := m.o.Store.Ledger(name).Stopped(ctx, live.Version)
		if err != nil {
			return err
		}
		if st == nil {
			log.Detail("%s is not stopped", name)
			return nil
		}
		log.Step("Starting %s: v%d, revision %s", name, live.Version, live.Revision)
		if err := m.bringUp(ctx, live, service, log); err != nil {
			if e := m.o.Platform.Stop(context.WithoutCancel(ctx), name); e != nil {
				m.o.Log("app %s: it could not be stopped again: %v", name, e)
			}
			return err
		}
		if err := m.o.Store.SetStopped(context.WithoutCancel(ctx), by, name, live.Version, false); err != nil {
			return err
		}
		log.Detail("%s runs %s", name, strings.Join(scales(service), " "))
		return nil
	})
}

// bringUp has the platform run a live release that was stopped.
func (m *Machine) bringUp(ctx context.Context, live app.Release, service *servingv1.Service, log *app.Log) (err error) {
	if service.Spec.Traffic, err = m.traffic(ctx, live); err != nil {
		return err
	}
	if err := m.o.Platform.Apply(ctx, service); err != nil {
		return deploy.Explain(err, service, log)
	}
	if !deploy.WithoutWeb(&service.Spec.Template) {
		if err := m.o.Platform.WaitReady(ctx, live.App, live.Revision); err != nil {
			return deploy.Explain(err, service, log)
		}
	}
	return m.o.Platform.SetWorkers(ctx, service, deploy.Workers(service))
}

// RestartWorker ends the instances of a worker, and starts them again. It returns an *app.Error: CodeInvalidInput for a type that is no worker of the
// live release, CodeNotFound if nothing is live yet, CodeForbidden if by has no right to change the app.
func (m *Machine) RestartWorker(ctx context.Context, by app.Caller, name, process string, log *app.Log) error {
	return m.alone(ctx, by, name, log, func(ctx context.Context, live app.Release, service *servingv1.Service) error {
		workers := deploy.Workers(service)
		i := slices.IndexFunc(workers, func(w deploy.Worker) bool { return w.Type == process })
		if i < 0 {
			return app.Errorf(app.CodeInvalidInput, "see what runs: ps "+name, "%s runs no worker %q (it has: %s)", name, process, strings.Join(scales(service), " "))
		}
		if err := m.refuseStopped(ctx, live); err != nil {
			return err
		}
		if err := m.o.Platform.RestartWorker(context.WithoutCancel(ctx), service, workers[i]); err != nil {
			return err
		}
		log.Detail("%s is restarted", deploy.WorkerNames(workers[i:i+1]))
		return nil
	})
}

// refuseStopped is an *app.Error if the app is stopped: what is asked for would not run.
func (m *Machine) refuseStopped(ctx context.Context, live app.Release) error {
	st, err := m.o.Store.Ledger(live.App).Stopped(ctx, live.Version)
	if err != nil || st == nil {
		return err
	}
	return app.Errorf(app.CodeInvalidInput, "start it first: ps start "+live.App, "%s was stopped by %s", live.App, app.Plain(st.Key))
}

// startsAgain tells that a release takes the place of one that is stopped. undo stops it again, for a release that does not go live.
func (d *deployment) startsAgain(ctx context.Context) (undo func(), err error) {
	undo = func() {}
	live, err := d.live(ctx)
	if live == nil {
		return undo, err
	}
	st, err := d.m.o.Store.Ledger(d.release.App).Stopped(ctx, live.Version)
	if err != nil || st == nil {
		return undo, err
	}
	d.log.Detail("%s was stopped by %s: this release starts it", d.release.App, app.Plain(st.Key))
	return func() { d.m.stopAgain(context.WithoutCancel(ctx), d.release.App) }, nil
}

func (m *Machine) stopAgain(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	if err := m.o.Platform.Stop(ctx, name); err != nil && !errors.Is(err, deploy.ErrNotFound) {
		m.o.Log("app %s: it could not be stopped again: %v", name, err)
	}
}

// resumeStops has the platform follow the stops that are in effect: the server may have stopped between the ledger and the platform.
func (m *Machine) resumeStops(ctx context.Context) error {
	stops, err := m.o.Store.Stops(ctx)
	if err != nil {
		return err
	}
	for name := range stops {
		m.stopAgain(ctx, name)
	}
	return nil
}
