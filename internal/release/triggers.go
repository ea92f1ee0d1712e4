package release

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/schedule"
	"github.com/gitd-io/gitd/internal/webhook"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Triggers is the part of event.Platform that the machine uses: the triggers are those of the release that is live.
type Triggers interface {
	SetTriggers(ctx context.Context, of event.Owner, all []event.Trigger) error
	Owners(ctx context.Context) (map[string]event.Owner, error)
	Forget(ctx context.Context, of event.Owner) error
	// Ready returns an *app.Error where no trigger can work, or one of these cannot: a release with triggers is refused with it.
	Ready(ctx context.Context, all ...event.Trigger) error
	Brokers(ctx context.Context) ([]event.Broker, error)
}

// getsEvents says whether a release gets events: by triggers, or by schedules and webhooks that send them.
func getsEvents(settings *project.Descriptor) bool {
	return len(settings.Triggers) > 0 || slices.ContainsFunc(settings.Schedules, func(s schedule.Schedule) bool { return s.Path != "" }) ||
		slices.ContainsFunc(settings.Webhooks, func(w webhook.Webhook) bool { return w.Path != "" })
}

// canGetEvents fails where a release that gets events cannot go live.
func (m *Machine) canGetEvents(ctx context.Context, name string, settings *project.Descriptor) error {
	if m.o.Triggers == nil || !getsEvents(settings) && len(settings.Webhooks) == 0 {
		return nil
	}
	if err := m.o.Triggers.Ready(ctx, settings.Triggers...); err != nil {
		return err
	}
	if err := m.hasBrokers(ctx, name, "trigger", settings.Triggers); err != nil {
		return err
	}
	var webhooks []event.Trigger
	for _, w := range settings.Webhooks {
		webhooks = append(webhooks, w.Trigger(name))
	}
	if err := m.hasBrokers(ctx, name, "webhook", webhooks); err != nil || len(webhooks) == 0 || m.o.TakeRequests == nil {
		return err
	}
	return m.o.TakeRequests(ctx)
}

// hasBrokers fails where a trigger of an app, or what else it says, is of a broker that does not exist, or that was not given to the app's owner: it would get nothing, and nothing would say why.
func (m *Machine) hasBrokers(ctx context.Context, name, what string, all []event.Trigger) error {
	var there []event.Broker
	for _, t := range all {
		if t.Broker == event.DefaultBroker {
			continue
		}
		if there == nil {
			var err error
			if there, err = m.o.Triggers.Brokers(ctx); err != nil {
				return err
			}
		}
		i := slices.IndexFunc(there, func(b event.Broker) bool { return b.Name == t.Broker })
		if i < 0 {
			return app.Errorf(app.CodeInvalidInput, "an administrator makes it: gitd brokers create "+t.Broker+"; or name another in project.toml, see gitd brokers",
				"the %s %q is of the broker %q, which does not exist", what, t.Name, t.Broker)
		}
		if err := m.maySubscribe(ctx, name, &there[i]); err != nil {
			return err
		}
	}
	return nil
}

// maySubscribe fails where a broker was not given to the owner of an app.
func (m *Machine) maySubscribe(ctx context.Context, name string, b *event.Broker) error {
	if len(b.Keys) == 0 {
		return nil
	}
	a, err := m.o.Store.App(ctx, name)
	if err != nil {
		return err
	}
	rights, err := m.o.Store.Rights(ctx, nil)
	if err == nil && !slices.Contains(b.Keys, a.Owner) && !rights.Admin(a.Owner) {
		err = event.NotShared(b.Name)
	}
	return err
}

// triggersIn are the triggers in a Service of an app: its own, and those of its schedules and webhooks.
func triggersIn(name string, service *servingv1.Service) ([]event.Trigger, error) {
	all, err := event.TriggersOf(service.Spec.Template.Annotations)
	if err != nil {
		return nil, err
	}
	schedules, err := schedule.Of(service.Spec.Template.Annotations)
	for _, s := range schedules {
		if s.Path != "" {
			all = append(all, event.TriggerOfSchedule(name, s.Name, s.Path))
		}
	}
	if err != nil {
		return all, err
	}
	webhooks, err := webhook.Of(service.Spec.Template.Annotations)
	for _, w := range webhooks {
		if w.Path != "" {
			all = append(all, w.Trigger(name))
		}
	}
	return all, err
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
			if m.setTriggersIdle(name) {
				return
			}
		}
	})
}

// setTriggersIdle sets the triggers of an app if nothing is under way for it: a release that goes live meanwhile would have its triggers replaced by older ones,
// and an app that is destroyed would have some. It reports whether there is nothing left to do.
func (m *Machine) setTriggersIdle(name string) (done bool) {
	_ = m.turns.whileIdle(name, func() error {
		err := m.trySetTriggers(m.ctx, name)
		done = err == nil || app.CodeOf(err) == app.CodeNotFound
		return nil
	})
	return done
}

func (m *Machine) trySetTriggers(ctx context.Context, name string) error {
	a, err := m.o.Store.App(ctx, name)
	if err != nil {
		return err
	}
	live, service, err := m.live(ctx, name)
	if err != nil {
		return err
	}
	all, err := triggersIn(name, service)
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
		known, now := of.ID == a.ID, standings[a.Name]
		if now.Live != 0 && (known && of.Release != now.Live || !known && now.GetsEvents) {
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
