package release

import (
	"context"
	"fmt"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/store"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// split returns the split that is in effect for an app, and its live release; nil where all traffic is on that.
func (m *Machine) split(ctx context.Context, name string) (*store.Split, error) {
	live, err := m.o.Store.Ledger(name).Live(ctx)
	if app.CodeOf(err) == app.CodeNotFound {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return m.o.Store.Ledger(name).Split(ctx, live.Version)
}

// traffic returns what the live release and, with a split in effect, others get.
func (m *Machine) traffic(ctx context.Context, live app.Release) ([]servingv1.TrafficTarget, error) {
	sp, err := m.o.Store.Ledger(live.App).Split(ctx, live.Version)
	if err != nil || sp == nil {
		return []servingv1.TrafficTarget{{RevisionName: live.Revision, Percent: ptr.Int64(100)}}, err
	}
	var out []servingv1.TrafficTarget
	for _, s := range sp.Shares {
		r, err := m.o.Store.Ledger(live.App).Find(ctx, s.Version)
		if err != nil {
			return nil, err
		}
		out = append(out, servingv1.TrafficTarget{RevisionName: r.Revision, Percent: ptr.Int64(s.Percent)})
	}
	return out, nil
}

// kept returns the releases whose images and revisions an app needs: the last ones, and those of its split.
func (m *Machine) kept(ctx context.Context, name string) ([]app.Release, error) {
	releases, err := m.o.Store.Ledger(name).Kept(ctx, kept)
	if err != nil {
		return nil, err
	}
	sp, err := m.split(ctx, name)
	if err != nil || sp == nil {
		return releases, err
	}
	for _, s := range sp.Shares {
		r, err := m.o.Store.Ledger(name).Find(ctx, s.Version)
		if err != nil {
			return nil, err
		}
		releases = append(releases, r)
	}
	return releases, nil
}

// endsSplit tells that a release which goes live ends the split that is in effect.
func (d *deployment) endsSplit(ctx context.Context) {
	sp, err := d.m.split(ctx, d.release.App)
	if err != nil || sp == nil {
		return
	}
	var parts []string
	for _, s := range sp.Shares {
		parts = append(parts, fmt.Sprintf("v%d %d%%", s.Version, s.Percent))
	}
	d.log.Detail("this release ends the split of the traffic by %s: %s", app.Plain(sp.Key), strings.Join(parts, ", "))
}

// resumeSplits has the traffic follow the splits that are in effect: the server may have stopped between the ledger and the platform.
func (m *Machine) resumeSplits(ctx context.Context) error {
	names, err := m.o.Store.SplitApps(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := m.resumeSplit(ctx, name); err != nil && ctx.Err() == nil {
			m.o.Log("app %s: the split of its traffic could not be looked at: %v", name, err)
		}
	}
	return nil
}

func (m *Machine) resumeSplit(ctx context.Context, name string) error {
	sp, err := m.split(ctx, name)
	if err != nil || sp == nil {
		return err
	}
	now, err := m.o.Platform.Get(ctx, name)
	if err != nil {
		return err
	}
	live, err := m.o.Store.Ledger(name).Live(ctx)
	if err != nil {
		return err
	}
	want, err := m.traffic(ctx, live)
	if err != nil || same(now.Status.Traffic, want) {
		return err
	}
	m.o.Log("app %s: the traffic is divided as %s asked before the server stopped", name, sp.Key)
	service, err := m.service(ctx, live)
	if err != nil {
		return err
	}
	a, err := m.o.Store.App(ctx, name)
	if err != nil {
		return err
	}
	deploy.SetAppID(service, a.ID)
	service.Spec.Traffic = want
	return m.o.Platform.Apply(ctx, service)
}

// same reports whether two splits give each revision the same share.
func same(a, b []servingv1.TrafficTarget) bool {
	share := map[string]int64{}
	for _, t := range a {
		share[t.RevisionName] += ptr.Int64Value(t.Percent)
	}
	for _, t := range b {
		share[t.RevisionName] -= ptr.Int64Value(t.Percent)
	}
	for _, left := range share {
		if left != 0 {
			return false
		}
	}
	return true
}

// Serving returns the releases that can have traffic, the newest entry of each revision first, and the split that is in effect; nil for none.
func (m *Machine) Serving(ctx context.Context, name string) ([]app.Release, *store.Split, error) {
	releases, err := m.kept(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	sp, err := m.split(ctx, name)
	return releases, sp, err
}
