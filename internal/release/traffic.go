package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/store"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Divide gives the traffic of an app to some of its releases, by shares that add up to 100: the live one, and others that were live or are ready and are
// kept. A release that got no traffic is started and checked first. All of it for the live release ends a split; so does the next release that goes
// live. Divide waits for the deployment that is under way. It returns an *app.Error: CodeInvalidInput for shares that do not add up, or of a release
// that cannot take traffic, CodeNotFound for one that does not exist, CodeForbidden if by has no right to change the app.
func (m *Machine) Divide(ctx context.Context, by app.Caller, name string, shares []store.Share, log *app.Log) error {
	a, err := m.o.Store.Authorize(ctx, by, name, app.VerbChange)
	if err != nil {
		return err
	}
	if err := addUp(shares); err != nil {
		return err
	}
	return m.inTurn(ctx, name, log, func(ctx context.Context) error {
		d := &division{m: m, by: by, app: a, log: log}
		if err := d.find(ctx, shares); err != nil {
			return err
		}
		return d.run(ctx, shares)
	})
}

// addUp checks shares by themselves.
func addUp(shares []store.Share) error {
	sum, seen := int64(0), map[int]bool{}
	for _, s := range shares {
		switch {
		case s.Percent < 1 || s.Percent > 100:
			return app.Errorf(app.CodeInvalidInput, "give each release from 1 to 100 percent, and leave out the others", "v%d=%d is not a share of the traffic", s.Version, s.Percent)
		case seen[s.Version]:
			return app.Errorf(app.CodeInvalidInput, "name each release once", "v%d is given twice", s.Version)
		}
		seen[s.Version] = true
		sum += s.Percent
	}
	if sum != 100 {
		return app.Errorf(app.CodeInvalidInput, "give shares that add up to 100, such as v12=90 v13=10", "the shares add up to %d%%", sum)
	}
	return nil
}

// division is a split under way. Its steps: find checks the releases; run starts those that serve nothing, records the split, and applies it.
type division struct {
	m    *Machine
	by   app.Caller
	app  app.App
	log  *app.Log
	live app.Release
	of   map[int]app.Release // that get a share, by the version as it was given
}

// find checks that each release can take traffic.
func (d *division) find(ctx context.Context, shares []store.Share) (err error) {
	name, ledger := d.app.Name, d.m.o.Store.Ledger(d.app.Name)
	if d.live, err = ledger.Live(ctx); err != nil {
		return err
	}
	if err := d.m.refuseStopped(ctx, d.live); err != nil {
		return err
	}
	there, err := d.m.kept(ctx, name)
	if err != nil {
		return err
	}
	d.of = map[int]app.Release{}
	byRevision := map[string]int{}
	for _, s := range shares {
		r, err := ledger.Find(ctx, s.Version)
		if err != nil {
			return err
		}
		see := "see what can: gitd traffic " + name
		switch {
		case r.State != app.StateLive && r.State != app.StateReady:
			return app.Errorf(app.CodeInvalidInput, see, "v%d of %s cannot take traffic: it is %s", s.Version, name, r.State)
		case !slices.ContainsFunc(there, func(k app.Release) bool { return k.Revision == r.Revision }):
			return app.Errorf(app.CodeInvalidInput, see, "v%d of %s cannot take traffic: only the last %d releases are kept", s.Version, name, kept)
		case byRevision[r.Revision] != 0:
			return app.Errorf(app.CodeInvalidInput, "name one of them", "v%d and v%d are the same revision, %s", byRevision[r.Revision], s.Version, r.Revision)
		}
		byRevision[r.Revision] = s.Version
		d.of[s.Version] = r
	}
	if byRevision[d.live.Revision] == 0 {
		next := fmt.Sprintf("give v%d a share as well; or bring an earlier release back: gitd rollback %s", d.live.Version, name)
		return app.Errorf(app.CodeInvalidInput, next, "v%d of %s is live, and would get no traffic", d.live.Version, name)
	}
	return nil
}

// run takes the split live.
func (d *division) run(ctx context.Context, shares []store.Share) error {
	name := d.app.Name
	live, err := d.m.service(ctx, d.live)
	if err != nil {
		return err
	}
	if deploy.WithoutWeb(&live.Spec.Template) {
		return app.Errorf(app.CodeInvalidInput, "see its workers: gitd apps "+name, "%s has no web process: there is no traffic to divide", name)
	}
	deploy.SetAppID(live, d.app.ID)
	now, err := d.m.o.Platform.Get(ctx, name)
	if err != nil {
		return err
	}
	before, err := d.m.o.Store.Ledger(name).Split(ctx, d.live.Version)
	if err != nil {
		return err
	}
	for _, s := range shares {
		if err := d.start(ctx, d.of[s.Version], now); err != nil {
			return errors.Join(err, d.apply(context.WithoutCancel(ctx), live, now.Status.Traffic))
		}
	}
	record := shares
	if len(shares) == 1 {
		record = nil
	}
	if err := d.m.o.Store.AddSplit(ctx, d.by, name, d.live.Version, record); err != nil {
		return errors.Join(err, d.apply(context.WithoutCancel(ctx), live, now.Status.Traffic))
	}
	if err := d.apply(ctx, live, d.targets(shares)); err != nil {
		var was []store.Share
		if before != nil {
			was = before.Shares
		}
		back := context.WithoutCancel(ctx)
		return errors.Join(err, d.m.o.Store.AddSplit(back, d.by, name, d.live.Version, was), d.apply(back, live, now.Status.Traffic))
	}
	d.log.Step("Traffic: %s", told(shares, d.of))
	if len(shares) > 1 {
		d.log.Detail("the next release that goes live ends the split; so does: traffic %s v%d=100", name, d.live.Version)
	}
	return nil
}

// start starts and checks a release that gets no traffic yet.
func (d *division) start(ctx context.Context, r app.Release, now *servingv1.Service) error {
	if slices.ContainsFunc(now.Status.Traffic, func(t servingv1.TrafficTarget) bool {
		return t.RevisionName == r.Revision && ptr.Int64Value(t.Percent) > 0
	}) {
		return nil
	}
	service, err := d.m.service(ctx, r)
	if err != nil {
		return err
	}
	if deploy.WithoutWeb(&service.Spec.Template) {
		return app.Errorf(app.CodeInvalidInput, "choose another", "v%d of %s cannot take traffic: it has no web process", r.Version, d.app.Name)
	}
	deploy.SetAppID(service, d.app.ID)
	path, timeout := check(service)
	d.log.Step("Starting revision %s", r.Revision)
	_, err = deploy.Rollout(ctx, d.m.o.Platform, deploy.Plan{Service: service, Check: deploy.Check{Path: path, Timeout: timeout}, NoTraffic: true, Log: d.log})
	return err
}

// apply routes the traffic of the live release's Service.
func (d *division) apply(ctx context.Context, live *servingv1.Service, traffic []servingv1.TrafficTarget) error {
	ctx, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	service := live.DeepCopy()
	service.Spec.Traffic = nil
	for _, t := range traffic {
		t.URL = nil
		service.Spec.Traffic = append(service.Spec.Traffic, t)
	}
	return d.m.o.Platform.Apply(ctx, service)
}

// applyLimit bounds one change of the traffic.
const applyLimit = 2 * time.Minute

func (d *division) targets(shares []store.Share) []servingv1.TrafficTarget {
	var out []servingv1.TrafficTarget
	for _, s := range shares {
		out = append(out, servingv1.TrafficTarget{RevisionName: d.of[s.Version].Revision, Percent: ptr.Int64(s.Percent), LatestRevision: ptr.Bool(false)})
	}
	return out
}

func told(shares []store.Share, of map[int]app.Release) string {
	var parts []string
	for _, s := range shares {
		parts = append(parts, fmt.Sprintf("v%d (%s) %d%%", s.Version, of[s.Version].Revision, s.Percent))
	}
	return strings.Join(parts, ", ")
}
