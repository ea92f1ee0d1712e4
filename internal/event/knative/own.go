package knative

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/keeper"
)

// What gitd itself tells, the events of webhooks and of schedules are not given to a broker of Knative: apps can send to it as well, so that it could not tell gitd's
// event from one that an app has made up, and it takes every event to each trigger, of whichever owner. So no trigger of Knative takes such an event (event.NotOwn), and the keeper
// delivers gitd's own, to the triggers whose filters they pass and whose app's owner may see them.

// Announce implements event.Platform.
func (p *Platform) Announce(ctx context.Context, e event.Event, from event.Sender) (event.Receipt, error) {
	return p.own(ctx, event.DefaultBroker, e, from, false)
}

// own takes an event of gitd's own. One that no trigger takes is kept where always is set.
func (p *Platform) own(ctx context.Context, broker string, e event.Event, from event.Sender, always bool) (r event.Receipt, err error) {
	if err := e.Check(); err != nil {
		return r, err
	}
	if e, err = e.Spend(); err != nil {
		return r, err
	}
	if err := p.installed(ctx); err != nil {
		return r, err
	}
	all, err := p.live(ctx, "")
	if err != nil {
		return r, err
	}
	all = accepting(all, broker, &e)
	if !always && len(all) == 0 {
		return r, nil
	}
	keys, err := p.keysOf(ctx, broker)
	if err != nil {
		return r, err
	}
	if p.o.Rights != nil && !p.o.Rights.Sends(from, keys) {
		return r, event.NotShared(broker)
	}
	if all = slices.DeleteFunc(all, func(t event.Live) bool { return !p.gets(&t, from, keys) }); !always && len(all) == 0 {
		return r, nil
	}
	to, err := p.ensureBroker(ctx, broker)
	if err != nil {
		return r, err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return r, err
	}
	o := keeper.Own{Broker: broker, From: from, Event: text, Lenient: !always}
	for i := range all {
		o.Takers = append(o.Takers, keeper.Taker{App: all[i].App, AppID: all[i].ID, Trigger: all[i].Name, Again: p.again(&all[i], to)})
	}
	sent, err := p.give(ctx, "/own", o)
	if err != nil {
		return r, err
	}
	for _, name := range sent.Without {
		p.o.Log("events: the app %s does not get e%d: it has as many dead letters as it may: gitd events dead %s", name, sent.Number, name)
	}
	return event.Receipt{Number: sent.Number, Duplicate: sent.Duplicate, Triggers: len(all) - len(sent.Without)}, nil
}

// keysOf are the keys that a broker was given to; none where it is for every app.
func (p *Platform) keysOf(ctx context.Context, broker string) ([]string, error) {
	if broker == event.DefaultBroker {
		return nil, nil
	}
	there, err := p.broker(ctx, broker)
	if err == nil && there == nil {
		err = event.NoBroker(broker)
	}
	if err != nil {
		return nil, err
	}
	return given(there), nil
}

// gets says whether the app of a trigger gets an event of gitd's own.
func (p *Platform) gets(t *event.Live, from event.Sender, keys []string) bool {
	return p.o.Rights == nil || p.o.Rights.Gets(t.ID, from, keys)
}

// takes says whether a trigger takes an event that came in.
func (p *Platform) takes(t *event.Live, e *event.Event, from event.Sender, keys []string) bool {
	one := []event.Live{*t}
	if from.Kind == event.FromSource {
		return len(accepting(one, t.Broker, e)) > 0 && p.gets(t, from, keys)
	}
	return len(passing(one, t.Broker, e)) > 0
}
