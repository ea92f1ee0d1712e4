package release

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Bounds on the process types of an image: the build writes them, and the ledger keeps them with each release.
const (
	maxProcesses     = 100
	maxProcessesSize = 64 << 10 // bytes, as JSON
)

// checkProcesses enforces these bounds.
func checkProcesses(all []app.Process) error {
	const next = "give the app fewer process types, or move what they run into a script"
	if len(all) > maxProcesses {
		return app.Errorf(app.CodeLimitExceeded, next, "the image has %d process types, more than %d", len(all), maxProcesses)
	}
	b, err := json.Marshal(all)
	if err == nil && len(b) > maxProcessesSize {
		err = app.Errorf(app.CodeLimitExceeded, next, "the commands of the image's process types take more than %s together", app.Size(maxProcessesSize))
	}
	return err
}

// workersLimit is how long a platform may take to set the workers of an app.
const workersLimit = time.Minute

// setWorkers replaces the workers of the previous release with those of this one. It is called when the release serves; a failure is reported
// and does not end the release.
func (d *deployment) setWorkers(ctx context.Context, service *servingv1.Service) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), workersLimit)
	defer cancel()
	workers := deploy.Workers(service)
	if err := d.m.o.Platform.SetWorkers(ctx, service, workers); err != nil {
		message, next := app.Explain(err)
		if app.CodeOf(err) == app.CodeInternal {
			d.m.o.Log("release %s v%d: workers: %v", d.release.App, d.release.Version, err, d.logged())
		}
		d.log.Error("the app is live, but its workers are not set: %s", message)
		if next != "" {
			d.log.Detail("%s", next)
		}
		return
	}
	if len(workers) > 0 {
		d.log.Step("Workers: %s", deploy.WorkerNames(workers))
		d.log.Detail("restarted when they end; their output is in the app's log")
	}
}

// service reads the Service of a release from the ledger.
func (m *Machine) service(ctx context.Context, r app.Release) (*servingv1.Service, error) {
	manifest, err := m.o.Store.Ledger(r.App).Service(ctx, r.Version)
	if err != nil {
		return nil, err
	}
	return readService(manifest, r)
}

// live returns the live release of an app, with its Service, or an *app.Error with code CodeNotFound where nothing is live.
func (m *Machine) live(ctx context.Context, name string) (r app.Release, service *servingv1.Service, err error) {
	if r, err = m.o.Store.Ledger(name).Live(ctx); err == nil {
		service, err = m.service(ctx, r)
	}
	return r, service, err
}

// services reads the Service of a release and, for one of a preview, the Service that it is promoted with.
func (m *Machine) services(ctx context.Context, r app.Release) (service, production *servingv1.Service, err error) {
	if service, err = m.service(ctx, r); err != nil {
		return nil, nil, err
	}
	manifest, err := m.o.Store.Ledger(r.App).Production(ctx, r.Version)
	if err == nil && len(manifest) > 0 {
		production, err = readService(manifest, r)
	}
	return service, production, err
}

func readService(manifest []byte, r app.Release) (*servingv1.Service, error) {
	var service servingv1.Service
	if err := json.Unmarshal(manifest, &service); err != nil {
		return nil, fmt.Errorf("service of %s v%d: %w", r.App, r.Version, err)
	}
	return &service, nil
}

// bringBackWorkers sets the workers of the release that is live, after one without web that failed. Where none was live, the platform has
// nothing of the app any more.
func (m *Machine) bringBackWorkers(ctx context.Context, failed app.Release) {
	ctx = context.WithoutCancel(ctx)
	if live, err := m.o.Store.Ledger(failed.App).Live(ctx); err == nil {
		m.resumeWorkers(ctx, live)
	}
}

// resumeWorkers sets the workers of the release that serves after a restart of the server.
func (m *Machine) resumeWorkers(ctx context.Context, r app.Release) {
	service, err := m.service(ctx, r)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, workersLimit)
		defer cancel()
		err = m.o.Platform.SetWorkers(ctx, service, deploy.Workers(service))
	}
	if err != nil {
		m.o.Log("release %s v%d: its workers could not be set: %v", r.App, r.Version, err)
	}
}
