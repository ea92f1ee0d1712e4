package release

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/schedule"
	"github.com/gitd-io/gitd/internal/store"
	"github.com/gitd-io/gitd/internal/telemetry"
	"github.com/gitd-io/gitd/internal/webhook"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// What the ledger keeps of a commit, in bytes.
const (
	maxAuthor  = 100
	maxSubject = 200
)

// Deploy builds the push and takes it live. If the error is nil, the release is live, or ready in mode no-traffic; otherwise the error is for
// people to read, and the app serves what it served before. A dry run waits for the release under way instead of cancelling it.
func (m *Machine) Deploy(ctx context.Context, p app.Push) (app.Result, error) {
	if err := m.enoughDisk(); err != nil {
		return app.Result{}, err
	}
	var of app.App
	if p.Branch != "" {
		var err error
		if p, of, err = m.enterPreview(ctx, p); err != nil {
			return app.Result{}, err
		}
	}
	d := &deployment{m: m, by: p.By, log: p.Log, start: p.Started, waits: p.Mode == app.ModeDryRun, preview: of, release: app.Release{
		App: p.App, AppID: p.AppID, Kind: app.KindPush, Commit: p.Commit, Ref: p.Ref, Message: p.Message, Signed: p.Signed, Author: app.Line(p.Author, maxAuthor), Subject: app.Line(p.Subject, maxSubject),
	}}
	err := d.run(ctx, func(ctx context.Context) error { return d.push(ctx, p) })
	return d.result(), err
}

// push takes a release from its settings to its end.
func (d *deployment) push(ctx context.Context, p app.Push) error {
	settings, err := project.Read(p.Source.ReadFile, app.FilesOf(p.Source), cmp.Or(d.preview.Parent, p.App))
	if err != nil {
		return err
	}
	settings.SetDefaults()
	production := settings.Web
	if d.preview.Parent != "" {
		settings = asPreview(settings, p.Branch)
	}
	if d.takesEvents(&settings) {
		settings.Config = settings.ConfigWithSecrets()
	}
	if err := settings.Ask(p.Rollout); err != nil {
		return err
	}
	if err := d.m.canGetEvents(ctx, d.release.App, &settings); err != nil {
		return err
	}
	if err := d.canFollow(ctx, settings); err != nil {
		return err
	}
	for _, r := range settings.Remarks {
		d.log.Detail("%s", r)
	}
	p.Source = inFolder(selectFiles(p.Source, settings.Files, d.log), settings.AppDir)
	declared, err := build.Declared(p.Source) // before a build that may take long
	if err != nil {
		return err
	}
	set, err := d.liveScale(ctx)
	if err != nil {
		return err
	}
	if err := d.m.checkCaps(ctx, d.release, &settings, d.workers(&settings, declared), set); err != nil {
		return err
	}
	if p.Mode == app.ModeNoTraffic {
		if err := d.servesAlready(ctx); err != nil {
			return err
		}
	}
	if d.buildSecrets, err = d.checkConfiguration(ctx, p, &settings); err != nil {
		return err
	}
	service, err := d.image(ctx, p, settings, production, declared)
	if err != nil {
		return err
	}
	d.takeScale(service, &settings, set)
	if p.Mode == app.ModeDryRun {
		return app.Errorf(app.CodeDryRun, "push without -o dry-run to take it live", "dry run: the build works; nothing was deployed")
	}
	return d.goLive(ctx, p, settings, service)
}

// goLive takes what was built live, with the commands that come before and after.
func (d *deployment) goLive(ctx context.Context, p app.Push, settings project.Descriptor, service *servingv1.Service) error {
	if err := d.predeploy(ctx, service, settings.Scripts); err != nil {
		return err
	}
	if err := d.runReleaseCommand(ctx, service); err != nil {
		return err
	}
	live, err := d.live(ctx)
	if err != nil {
		return err
	}
	d.log.Step("Release v%d: starting revision %s", d.release.Version, d.release.Revision)
	l := launch{service: service, accept: p.Accept, noTraffic: p.Mode == app.ModeNoTraffic}
	l.follow(settings)
	if err := d.rollOutOnItsPort(ctx, settings.Web.PortSet, l); err != nil || l.noTraffic {
		return err
	}
	d.postdeploy(ctx, service, settings.Scripts, live == nil)
	return nil
}

// workers returns what will run beside web, as far as is known before the build.
func (d *deployment) workers(settings *project.Descriptor, declared []string) []deploy.Worker {
	var workers []deploy.Worker
	if d.preview.Parent == "" || settings.Previews.Workers {
		for t := range workersAsked(declared, settings.Processes) {
			workers = append(workers, workerOf(t, settings.Processes))
		}
	}
	return workers
}

// servesAlready fails if no release of the app is live, or if it is stopped.
func (d *deployment) servesAlready(ctx context.Context) error {
	live, err := d.live(ctx)
	if err != nil {
		return err
	}
	if live == nil {
		return app.Errorf(app.CodeInvalidInput, "push without -o no-traffic", "nothing of %s is live yet: its first release takes the traffic", d.release.App)
	}
	return d.m.refuseStopped(ctx, live.Release)
}

// image builds the image and returns the Service that runs it. For that of a preview it notes the Service that it is promoted with, by the settings of
// production.
func (d *deployment) image(ctx context.Context, p app.Push, settings project.Descriptor, production project.Web, declared []string) (*servingv1.Service, error) {
	result, err := d.build(ctx, p, settings)
	if err != nil {
		return nil, err
	}
	d.release.Revision = app.RevisionName(p.App, d.release.Version)
	settings.Web.Function(result.Function)
	production.Function(result.Function)
	run, err := processesOf(declared, result.Processes, settings.Processes)
	if err != nil {
		return nil, err
	}
	port, err := d.foundPort(ctx)
	if err != nil {
		return nil, err
	}
	if d.preview.Parent != "" {
		d.production = newService(d.release, result, production, run)
		maintained(d.production, settings.Release)
		noteRequired(d.production, settings.ConfigWithSecrets())
		if err := declares(d.production, &settings); err != nil {
			return nil, err
		}
		if !settings.Previews.Workers {
			if err := run.withoutWorkers(); err != nil {
				return nil, err
			}
		}
	}
	if len(run.workers) > len(d.workers(&settings, declared)) { // one that the build found
		set, err := d.liveScale(ctx)
		if err == nil {
			err = d.m.checkCaps(ctx, d.release, &settings, run.workers, set)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(run.oneOff) > 0 {
		d.log.Detail("not run: %s, by its name a command to start by hand; [io.gitd.processes.%s] instances = 1 in project.toml runs it as a worker", strings.Join(run.oneOff, ", "), run.oneOff[0])
	}
	service := newService(d.release, result, settings.Web, run)
	maintained(service, settings.Release)
	noteRequired(service, settings.Config)
	if port != 0 && !settings.Web.PortSet {
		d.listenOn(service, port)
	}
	if d.takesEvents(&settings) {
		if err := declares(service, &settings); err != nil {
			return nil, err
		}
	}
	return service, d.configure(ctx, service)
}

// takesEvents says whether the release has what its project.toml says of schedules, webhooks and events: a preview has it together with workers.
func (d *deployment) takesEvents(settings *project.Descriptor) bool {
	return d.preview.Parent == "" || settings.Previews.Workers
}

// declares notes in a Service what the release starts by the clock, the webhooks that it takes, and the events that it gets.
func declares(service *servingv1.Service, settings *project.Descriptor) error {
	if getsEvents(settings) && deploy.WithoutWeb(&service.Spec.Template) {
		return app.Errorf(app.CodeInvalidInput, "give the app a web process, or remove [[io.gitd.triggers]], and schedules and webhooks with a path", "%s says which events the app gets, and the app has no process that takes requests", project.File)
	}
	if err := schedule.Set(service.Spec.Template.Annotations, settings.Schedules); err != nil {
		return err
	}
	if err := webhook.Set(service.Spec.Template.Annotations, settings.Webhooks); err != nil {
		return err
	}
	return event.SetTriggers(service.Spec.Template.Annotations, settings.Triggers)
}

func (d *deployment) build(ctx context.Context, p app.Push, settings project.Descriptor) (*build.Result, error) {
	d.timings.Receive = time.Since(d.start)
	leave, err := d.queue(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	defer d.m.leases.take()()
	if err := d.to(ctx, store.Event{State: app.StateBuilding}); err != nil {
		return nil, err
	}
	ctx, watch := d.watchBuild(ctx)
	result, err := d.m.o.Builder.Build(ctx, build.Request{
		App: p.App, AppID: d.release.AppID, Version: d.release.Version, Commit: p.Commit, Source: p.Source, Env: settings.BuildEnv, Secrets: d.buildSecrets,
		AppDir: settings.AppDir, Buildpacks: asked(settings.Buildpacks),
		ClearCache: p.ClearCache, CacheOf: d.lentCache(ctx), Limits: d.m.o.Limits, Log: d.log, Step: watch.step,
	})
	watch.ended(result, err)
	if err != nil {
		return nil, err
	}
	if err := checkProcesses(result.Processes); err != nil {
		return nil, err
	}
	d.timings.Times = result.Times
	d.release.Repository, d.release.Digest, d.release.Processes = result.Repository, result.Digest, result.Processes
	return result, d.to(ctx, store.Event{State: app.StateBuilt, Repository: result.Repository, Digest: result.Digest, Processes: result.Processes})
}

// queue waits until the build may begin, and reports the wait. Call leave when the build has ended.
func (d *deployment) queue(ctx context.Context) (leave func(), err error) {
	if d.m.o.Queue == nil {
		return func() {}, nil
	}
	began, waited := time.Now(), false
	leave, err = d.m.o.Queue.Enter(ctx, d.by.Name(), func(n int) {
		builds := fmt.Sprintf("%d builds", n)
		if n == 1 {
			builds = "1 build"
		}
		if !waited {
			waited = true
			d.log.Step("Waiting for %s ahead", builds)
		} else {
			d.log.Detail("waiting for %s ahead", builds)
		}
	})
	d.timings.Queue = time.Since(began)
	d.m.o.Builds.Wait.Observe(d.timings.Queue)
	telemetry.Task(ctx, "queue", "", began, err)
	if err == nil && waited {
		d.log.Detail("waited %s", app.Elapsed(d.timings.Queue))
	}
	return leave, err
}
