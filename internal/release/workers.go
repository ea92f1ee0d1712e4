package release

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// workerTypes are the process types that run beside web: those that the app's Procfile declares, and those that project.toml asks for
// (instances, by type). Other types in the image come from buildpacks (a console, each of a Go app's programs) and do not run
// unless they are asked for. It returns an *app.Error for a type in project.toml that the image does not have.
func workerTypes(declared []string, image []app.Process, instances map[string]int64) ([]string, error) {
	var workers []string
	for _, t := range declared {
		if t != webProcess && t != releaseProcess && has(image, t) {
			workers = append(workers, t)
		}
	}
	for _, t := range slices.Sorted(maps.Keys(instances)) {
		switch {
		case !has(image, t):
			return nil, app.Errorf(app.CodeInvalidInput, "add it to the Procfile, or take it out of project.toml",
				"project.toml: io.gitd.processes.%s: the image has no such process type (it has: %s)", t, types(image))
		case instances[t] == 0:
			workers = slices.DeleteFunc(workers, func(w string) bool { return w == t })
		case !slices.Contains(workers, t):
			workers = append(workers, t)
		}
	}
	return workers, nil
}

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

// Workers returns the process types that run beside web, as recorded in a Service.
func Workers(s *servingv1.Service) []string {
	if list := s.Spec.Template.Annotations[workersAnnotation]; list != "" {
		return strings.Split(list, ",")
	}
	return nil
}

// workersLimit is how long a platform may take to set the workers of an app.
const workersLimit = time.Minute

// setWorkers replaces the workers of the previous release with those of this one. It is called when the release serves; a failure is reported
// and does not end the release.
func (d *deployment) setWorkers(ctx context.Context, service *servingv1.Service) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), workersLimit)
	defer cancel()
	workers := Workers(service)
	if err := d.m.o.Platform.SetWorkers(ctx, service, workers); err != nil {
		message, next := app.Explain(err)
		if app.CodeOf(err) == app.CodeInternal {
			d.m.o.Log("release %s v%d: workers: %v", d.release.App, d.release.Version, err)
		}
		d.log.Error("the app is live, but its workers are not set: %s", message)
		if next != "" {
			d.log.Detail("%s", next)
		}
		return
	}
	if len(workers) > 0 {
		d.log.Step("Workers: %s", strings.Join(workers, ", "))
		d.log.Detail("one instance each, restarted when it ends; its output is in the app's log")
	}
}

// service reads the Service of a release from the ledger.
func (m *Machine) service(ctx context.Context, r app.Release) (*servingv1.Service, error) {
	manifest, err := m.o.Store.Ledger(r.App).Service(ctx, r.Version)
	if err != nil {
		return nil, err
	}
	var service servingv1.Service
	if err := json.Unmarshal(manifest, &service); err != nil {
		return nil, fmt.Errorf("service of %s v%d: %w", r.App, r.Version, err)
	}
	return &service, nil
}

// resumeWorkers sets the workers of the release that serves after a restart of the server.
func (m *Machine) resumeWorkers(ctx context.Context, r app.Release) {
	service, err := m.service(ctx, r)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, workersLimit)
		defer cancel()
		err = m.o.Platform.SetWorkers(ctx, service, Workers(service))
	}
	if err != nil {
		m.o.Log("release %s v%d: its workers could not be set: %v", r.App, r.Version, err)
	}
}
