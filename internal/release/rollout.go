package release

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/store"
	"github.com/gitd-io/gitd/internal/telemetry"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// launch is what a rollout takes live, and how.
type launch struct {
	service   *servingv1.Service
	steps     []int64        // see deploy.Plan
	stepTime  time.Duration  // how long each step lasts
	canary    *deploy.Canary // before the steps; nil for none
	accept    func() error   // called when the new revision is healthy, before it gets traffic; may be nil
	noTraffic bool
}

// rollOut takes a Service live and records it in the ledger. An app that was stopped stays so unless it goes live.
func (d *deployment) rollOut(ctx context.Context, l launch) error {
	stopAgain, err := d.startsAgain(ctx)
	if err == nil {
		err = d.takeLive(ctx, l)
	}
	if err != nil {
		stopAgain()
	}
	return err
}

// takeLive is rollOut for an app that may run.
func (d *deployment) takeLive(ctx context.Context, l launch) (err error) {
	if err := d.begins(ctx, l.service); err != nil {
		return err
	}
	path, timeout := check(l.service)
	ctx, span := telemetry.StartTask(ctx, "deploy", telemetry.TaskDeploy)
	defer func() { span.EndTask(err) }()
	started, shifted := time.Now(), time.Time{}
	outcome, err := deploy.Rollout(ctx, d.m.o.Platform, deploy.Plan{
		Service: l.service,
		Check:   deploy.Check{Path: path, Timeout: timeout},
		Steps:   l.steps, StepWait: l.stepTime, Canary: l.canary,
		NoTraffic: l.noTraffic,
		Log:       d.log,
		Step:      func(name string, began time.Time, err error) { step(ctx, name, began, err) },
		OnState: func(s app.State) error {
			if s != app.StateShifting {
				return nil
			}
			shifted = time.Now()
			return d.shift(ctx, l)
		},
	})
	if err == nil {
		d.resume()
	}
	workersAlone := deploy.WithoutWeb(&l.service.Spec.Template)
	if err != nil {
		if workersAlone { // they took the place of those before
			d.m.bringBackWorkers(ctx, d.release)
		}
		return err
	}
	if l.noTraffic {
		d.timings.Start = time.Since(started)
		return d.ready(ctx, outcome, l.accept)
	}
	// All traffic is on the new revision: nothing turns back from here, not even if the client goes away.
	if !workersAlone {
		d.setWorkers(ctx, l.service)
	}
	if !shifted.IsZero() {
		d.timings.Start, d.timings.Shift = shifted.Sub(started), time.Since(shifted)
	}
	if err := d.to(context.WithoutCancel(ctx), store.Event{State: app.StateLive, Times: d.timings.parts(), Configuration: d.configuration}); err != nil {
		return err
	}
	d.timings.Total = time.Since(d.start)
	d.tellLive(l.service)
	d.note()
	d.collect()
	return nil
}

// tellLive says that the release is live, and where.
func (d *deployment) tellLive(service *servingv1.Service) {
	if deploy.WithoutWeb(&service.Spec.Template) {
		d.log.Detail("%s is live as workers, without an address: %s (%s)", d.release.App, deploy.WorkerNames(deploy.Workers(service)), app.Elapsed(d.timings.Total))
		return
	}
	d.url = d.m.o.URL(d.release.App)
	d.log.Detail("%s is live (%s)", d.url, app.Elapsed(d.timings.Total))
}

// begins notes in the ledger that a release is started, with the Service that runs it.
func (d *deployment) begins(ctx context.Context, service *servingv1.Service) error {
	manifest, err := json.Marshal(service)
	if err != nil {
		return err
	}
	var production []byte
	if d.production != nil {
		if production, err = json.Marshal(d.production); err != nil {
			return err
		}
	}
	events, err := triggersIn(d.release.App, service)
	if err != nil {
		return err
	}
	d.release.Revision = service.Spec.Template.Name
	return d.to(ctx, store.Event{State: app.StateStarting, Repository: d.release.Repository, Digest: d.release.Digest, Processes: d.release.Processes,
		Revision: d.release.Revision, Service: manifest, Production: production, NoWeb: deploy.WithoutWeb(&service.Spec.Template), GetsEvents: len(events) > 0})
}

// shift is what comes right before the first of the traffic.
func (d *deployment) shift(ctx context.Context, l launch) error {
	if l.canary != nil || len(l.steps) > 0 { // the old version serves beside it
		d.resume()
	}
	d.endsSplit(ctx)
	if err := d.accept(ctx, l.accept); err != nil {
		return err
	}
	return d.to(ctx, store.Event{State: app.StateShifting})
}

// ready ends a release in mode no-traffic.
func (d *deployment) ready(ctx context.Context, o *deploy.Outcome, accept func() error) error {
	if err := d.accept(ctx, accept); err != nil {
		return err
	}
	if err := d.to(context.WithoutCancel(ctx), store.Event{State: app.StateReady, Reason: "gets no traffic", Times: d.timings.parts()}); err != nil {
		return err
	}
	d.url = o.GreenURL
	d.log.Detail("%s is ready, without traffic, until the next push: %s (%s)", d.release.Revision, d.url, app.Elapsed(time.Since(d.start)))
	d.log.Detail("take it live: promote %s v%d", d.release.App, d.release.Version)
	d.collect()
	return nil
}

// accept checks the rights again, and then makes the pushed objects permanent.
func (d *deployment) accept(ctx context.Context, keep func() error) error {
	if err := d.allowed(ctx); err != nil || keep == nil {
		return err
	}
	return keep()
}

// collect removes in the background what the app no longer needs.
func (d *deployment) collect() {
	d.m.running.Go(func() { d.m.Collect(d.m.ctx, d.release.App) })
}
