package release

import (
	"context"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// Triggers is the part of event.Platform that the machine uses: the triggers are those of the release that is live.
type Triggers interface {
	SetTriggers(ctx context.Context, of event.Owner, all []event.Trigger) error
	Owners(ctx context.Context) (map[string]event.Owner, error)
	Forget(ctx context.Context, of event.Owner) error
	// Ready returns an *app.Error where no trigger can work: a release with triggers is refused with it.
	Ready(ctx context.Context) error
}

// canTrigger says whether a release with these triggers can go live.
func (m *Machine) canTrigger(ctx context.Context, all []event.Trigger) error {
	if m.o.Triggers == nil || len(all) == 0 {
		return nil
	}
	return m.o.Triggers.Ready(ctx)
}

// triggersAgain is how long the machine waits until it tries again to set triggers.
const triggersAgain = 5 * time.Second

// setTriggers makes the triggers of an app those of its live release. Where that fails, the old ones stay, and it is tried until it works.
func (m *Machine) setTriggers(ctx context.Context, name string) {
	if m.o.Triggers == nil {
		return
	}
	err := m.trySetTriggers(context.WithoutCancel(ctx), name)
	if err == nil {
		return
	}
	m.o.Log("the triggers of %s could not be set, and are tried again every %s: %v", name, triggersAgain, err)
	m.running.Go(func() {
		for {
			select {
			case <-time.After(triggersAgain):
			case <-m.ctx.Done():
				return
			}
			if err := m.trySetTriggers(m.ctx, name); err == nil || app.CodeOf(err) == app.CodeNotFound {
				return
			}
		}
	})
}

func (m *Machine) trySetTriggers(ctx context.Context, name string) error {
	a, err := m.o.Store.App(ctx, name)
	if err != nil {
		return err
	}
	live, err := m.o.Store.Ledger(name).Live(ctx)
	if err != nil {
		return err
	}
	service, err := m.service(ctx, live)
	if err != nil {
		return err
	}
	all, err := event.TriggersOf(service.Spec.Template.Annotations)
	if err != nil {
		return fmt.Errorf("v%d of %s: %w", live.Version, name, err)
	}
	return m.o.Triggers.SetTriggers(ctx, event.Owner{App: name, ID: a.ID, Release: live.Version}, all)
}

// resumeTriggers sets the triggers of the apps whose live release changed when the process before this one ended, and ends those of apps that are gone.
func (m *Machine) resumeTriggers(ctx context.Context) error {
	if m.o.Triggers == nil {
		return nil
	}
	have, err := m.o.Triggers.Owners(ctx)
	if err != nil {
		return err
	}
	standings, err := m.o.Store.Standings(ctx)
	if err != nil {
		return err
	}
	apps, err := m.o.Store.Apps(ctx)
	if err != nil {
		return err
	}
	for _, a := range apps {
		of := have[a.Name]
		if of.ID == a.ID {
			delete(have, a.Name)
		}
		if live := standings[a.Name].Live; live != 0 && (of.ID != a.ID || of.Release != live) {
			m.setTriggers(ctx, a.Name)
		}
	}
	for _, of := range have {
		if err := m.o.Triggers.Forget(ctx, of); err != nil {
			return err
		}
	}
	return nil
}
