package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Recover finishes what an earlier process left unfinished: a release whose revision has all the traffic is live; any other
// has failed, its revision is removed, and the last live release serves. The ref of each app then names what is live. If an app cannot
// be recovered, its release stays unfinished until the next start, and the others are not affected. From then on the machine sweeps regularly.
func (m *Machine) Recover(ctx context.Context) error {
	open, err := m.o.Store.Unfinished(ctx)
	if err != nil {
		return err
	}
	var apps sync.WaitGroup
	turn := make(chan struct{}, recoverAtOnce)
	for len(open) > 0 {
		n := slices.IndexFunc(open, func(r app.Release) bool { return r.App != open[0].App })
		if n < 0 {
			n = len(open)
		}
		of := open[:n]
		open = open[n:]
		turn <- struct{}{}
		apps.Go(func() {
			defer func() { <-turn }()
			for _, r := range of {
				if err := m.recover(ctx, r); err != nil && ctx.Err() == nil {
					m.o.Log("release %s v%d: it stays as the server left it, until the next start: %v", r.App, r.Version, err)
				}
			}
		})
	}
	apps.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("finish what was under way: %w", context.Cause(ctx))
	}
	if err := m.resumeSplits(ctx); err != nil {
		return err
	}
	if err := m.resumeStops(ctx); err != nil {
		return err
	}
	if err := m.setRefs(ctx); err != nil {
		return err
	}
	if err := m.resumeTriggers(ctx); err != nil {
		return err
	}
	m.cleanPulls()
	m.running.Go(m.sweepOften)
	m.running.Go(m.removeExpiredOften)
	return nil
}

// setRefs moves the refs that do not name what is live: the server stopped between a deployment and its ref.
func (m *Machine) setRefs(ctx context.Context) error {
	live, err := m.o.Store.LiveCommits(ctx)
	if err != nil {
		return err
	}
	for _, l := range live {
		if m.o.LiveRef != nil {
			if commit, err := m.o.LiveRef(l.App); err == nil && commit == l.Commit {
				continue
			}
		}
		if err := m.o.SetLive(l.App, l.Commit); err != nil {
			m.o.Log("app %s: the ref of what is live (v%d, %q) could not be set: %v", l.App.Name, l.Version, l.Commit, err)
		}
	}
	return nil
}

// recoverAtOnce is how many apps are recovered at a time: most of the time is spent waiting for instances.
const recoverAtOnce = 8

// recoverLimit is how long the recovery of one release may take.
const recoverLimit = 2 * time.Minute

func (m *Machine) recover(ctx context.Context, r app.Release) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	d := &deployment{m: m, release: r}
	service, err := m.o.Platform.Get(ctx, r.App)
	switch {
	case errors.Is(err, deploy.ErrNotFound):
		service = nil
	case err != nil:
		return err
	}
	if service != nil {
		if err := m.endMaintenance(ctx, r); err != nil {
			return err
		}
	}
	if r.State == app.StateShifting && service != nil && serves(service, r.Revision) {
		m.o.Log("release %s v%d: the server stopped while traffic shifted; all of it is on %s: live", r.App, r.Version, r.Revision)
		m.resumeWorkers(ctx, r)
		if r.Kind == app.KindConfig || r.Kind == app.KindRollback {
			if d.configuration, err = m.configurationOf(ctx, r); err != nil {
				return err
			}
		}
		return d.to(ctx, store.Event{State: app.StateLive, Reason: "finished after a restart of the server", Configuration: d.configuration})
	}
	m.o.Log("release %s v%d: the server stopped in state %s; it failed, and the release before it serves", r.App, r.Version, r.State)
	if service != nil {
		if err := m.restore(ctx, r); err != nil {
			return err
		}
	}
	return d.to(ctx, store.Event{State: app.StateFailed, Code: app.CodeUnavailable, Reason: fmt.Sprintf("the server stopped while the release was %s", r.State)})
}

// restore gives the traffic back to the last live release and removes what the unfinished one left on the platform.
func (m *Machine) restore(ctx context.Context, r app.Release) error {
	live, err := m.o.Store.Ledger(r.App).Live(ctx)
	if app.CodeOf(err) == app.CodeNotFound {
		return m.o.Platform.Delete(ctx, r.App)
	} else if err != nil {
		return err
	}
	service, err := m.service(ctx, live)
	if err != nil {
		return err
	}
	a, err := m.o.Store.App(ctx, r.App)
	if err != nil {
		return err
	}
	deploy.SetAppID(service, a.ID) // releases of an older gitd have none
	if service.Spec.Traffic, err = m.traffic(ctx, live); err != nil {
		return err
	}
	err = m.o.Platform.Apply(ctx, service)
	var start *deploy.StartError
	if errors.As(err, &start) { // the traffic is set; this release is not the one that fails to run
		m.o.Log("release %s v%d, which is live, does not run: %v", live.App, live.Version, err)
	} else if err != nil {
		return err
	}
	m.resumeWorkers(ctx, live)
	if needed, err := m.o.Store.Ledger(r.App).Serves(ctx, r.Revision); err != nil || needed { // a rollback's revision is an older release's as well
		return err
	}
	if err := m.o.Platform.DeleteRevision(ctx, r.App, r.Revision); err != nil && r.Revision != "" && !errors.Is(err, deploy.ErrNotFound) {
		return err
	}
	return nil
}

func serves(s *servingv1.Service, revision string) bool {
	for _, t := range s.Spec.Traffic {
		if t.RevisionName == revision && t.Percent != nil && *t.Percent == 100 {
			return true
		}
	}
	return false
}
