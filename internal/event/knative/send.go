package knative

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/keeper"
)

// Send implements event.Platform, by way of the keeper: it is on the keeper's disk until the broker has taken it.
func (p *Platform) Send(ctx context.Context, broker string, e event.Event, from event.Sender) (event.Receipt, error) {
	broker = cmp.Or(broker, event.DefaultBroker)
	if from.Kind == event.FromSource {
		return p.own(ctx, broker, e, from, true)
	}
	if err := e.Check(); err != nil {
		return event.Receipt{}, err
	}
	if err := e.CheckSender(from); err != nil {
		return event.Receipt{}, err
	}
	e = e.From(from)
	if err := p.installed(ctx); err != nil {
		return event.Receipt{}, err
	}
	if _, err := e.Spend(); err != nil {
		return event.Receipt{}, err
	}
	to, err := p.ensureBroker(ctx, broker)
	if err != nil {
		return event.Receipt{}, err
	}
	if err := p.sends(ctx, from, broker); err != nil {
		return event.Receipt{}, err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return event.Receipt{}, err
	}
	sent, err := p.give(ctx, "/send", keeper.Mail{To: to, Broker: broker, From: from, Event: text})
	if err != nil {
		return event.Receipt{}, err
	}
	switch sent.Refused {
	case 0:
	case http.StatusNotFound:
		p.mu.Lock()
		delete(p.known, broker)
		p.mu.Unlock()
		return event.Receipt{}, event.NoBroker(broker)
	default:
		return event.Receipt{}, app.Errorf(app.CodeInvalidInput, "see docs/events.md for what an event is", "the broker %s refuses the event: %d %s", broker, sent.Refused, app.Line(sent.Detail, 200))
	}
	receipt := event.Receipt{Number: sent.Number, Duplicate: sent.Duplicate}
	if !sent.Duplicate {
		receipt.Triggers = len(p.takers(ctx, broker, &e))
	}
	return receipt, nil
}

// give gives an event to the keeper.
func (p *Platform) give(ctx context.Context, path string, what any) (sent keeper.Sent, err error) {
	if _, err := p.ensureKeeper(ctx); err != nil {
		return sent, err
	}
	status, body, err := p.ask(ctx, http.MethodPost, path, nil, what)
	switch {
	case err != nil:
		return sent, err
	case status == http.StatusServiceUnavailable:
		return sent, app.Errorf(app.CodeUnavailable, "try again later; see what waits: gitd events dead", "the event is not accepted: %s", app.Line(string(body), 200))
	case status != http.StatusOK:
		return sent, unanswered(status, body)
	}
	return sent, json.Unmarshal(body, &sent)
}

// takers are the live triggers of a broker whose filters an event passes.
func (p *Platform) takers(ctx context.Context, broker string, e *event.Event) (out []event.Live) {
	all, err := p.live(ctx, "")
	if err != nil {
		return nil
	}
	return passing(all, broker, e)
}

// passing are the triggers to which Knative takes an event: none where it says that it is gitd's own, for those never come by a broker of Knative.
func passing(all []event.Live, broker string, e *event.Event) (out []event.Live) {
	if e.SaysOwn() {
		return nil
	}
	return accepting(all, broker, e)
}

// accepting are the triggers of a broker whose filters an event passes.
func accepting(all []event.Live, broker string, e *event.Event) (out []event.Live) {
	for _, l := range all {
		if l.Broker != broker {
			continue
		}
		if passes, err := event.Compile(l.Filters); err == nil && passes(e) {
			out = append(out, l)
		}
	}
	return out
}

// RetryDead implements event.Platform: the keeper delivers them, with the trigger's retries.
func (p *Platform) RetryDead(ctx context.Context, of event.Owner, numbers []int64) (int, error) {
	chosen, err := p.chosen(ctx, of, numbers)
	if err != nil {
		return 0, err
	}
	all, err := p.live(ctx, of.App)
	if err != nil {
		return 0, err
	}
	if chosen, err = p.genuine(ctx, chosen, all); err != nil {
		return 0, err
	}
	orders := map[string]*keeper.Order{}
	for _, l := range chosen {
		if orders[l.Trigger] == nil {
			again, err := p.way(ctx, of, l.Trigger, all)
			if err != nil {
				return 0, err
			}
			orders[l.Trigger] = &keeper.Order{Again: again}
		}
		orders[l.Trigger].Letters = append(orders[l.Trigger].Letters, l.ID)
	}
	n := 0
	for _, o := range orders {
		done, err := p.order(ctx, o)
		n += done
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// chosen are the dead letters of an app, of these events or of all.
func (p *Platform) chosen(ctx context.Context, of event.Owner, numbers []int64) (out []keeper.Letter, err error) {
	all, err := p.letters(ctx, of.ID, 0)
	if err != nil {
		return nil, err
	}
	wanted := map[int64]bool{}
	for _, n := range numbers {
		wanted[n] = true
	}
	for _, l := range all {
		if l.Again == nil && (len(numbers) == 0 || wanted[l.Number]) {
			out = append(out, l)
		}
	}
	return out, nil
}

// refused returns the letters that a broker did not take after gitd had accepted them.
func (p *Platform) refused(ctx context.Context, broker string, numbers []int64) ([]keeper.Letter, error) {
	all, err := p.letters(ctx, 0, 0)
	return slices.DeleteFunc(all, func(l keeper.Letter) bool {
		return !l.Out || l.Again != nil || l.Broker != broker || len(numbers) > 0 && !slices.Contains(numbers, l.Number)
	}), err
}

// RetryRefused implements event.Platform: the keeper sends them to the broker as it did at first.
func (p *Platform) RetryRefused(ctx context.Context, broker string, numbers []int64) (int, error) {
	all, err := p.refused(ctx, broker, numbers)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	p.mu.Lock()
	delete(p.known, broker) // its URL may have changed: that may be why
	p.mu.Unlock()
	to, err := p.ensureBroker(ctx, broker)
	if err != nil {
		return 0, err
	}
	o := keeper.Order{Again: keeper.Again{To: to}}
	for _, l := range all {
		o.Letters = append(o.Letters, l.ID)
	}
	return p.order(ctx, &o)
}

// DiscardRefused implements event.Platform.
func (p *Platform) DiscardRefused(ctx context.Context, broker string, numbers []int64) (int, error) {
	all, err := p.refused(ctx, broker, numbers)
	if err != nil {
		return 0, err
	}
	return p.discard(ctx, all)
}

// Discard implements event.Platform.
func (p *Platform) Discard(ctx context.Context, of event.Owner, numbers []int64) (n int, err error) {
	chosen, err := p.chosen(ctx, of, numbers)
	if err != nil {
		return 0, err
	}
	return p.discard(ctx, chosen)
}

func (p *Platform) discard(ctx context.Context, all []keeper.Letter) (n int, err error) {
	for _, l := range all {
		status, body, err := p.ask(ctx, http.MethodDelete, "/letters/"+strconv.FormatInt(l.ID, 10), nil, nil)
		switch {
		case err != nil:
			return n, err
		case status == http.StatusNoContent:
			n++
		case status != http.StatusNotFound: // discarded meanwhile
			return n, unanswered(status, body)
		}
	}
	return n, nil
}

// way is how the keeper delivers to a trigger.
func (p *Platform) way(ctx context.Context, of event.Owner, trigger string, all []event.Live) (keeper.Again, error) {
	for i := range all {
		if all[i].ID != of.ID || all[i].Name != trigger {
			continue
		}
		to, err := p.ensureBroker(ctx, all[i].Broker)
		if err != nil {
			return keeper.Again{}, err
		}
		return p.again(&all[i], to), nil
	}
	return keeper.Again{}, app.Errorf(app.CodeNotFound, "push a release that has it, or discard the letters: gitd events discard "+of.App, "the app %s has no trigger %q any more", of.App, app.Clip(trigger, 60))
}

func (p *Platform) order(ctx context.Context, o *keeper.Order) (int, error) {
	status, body, err := p.ask(ctx, http.MethodPost, "/again", nil, o)
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, unanswered(status, body)
	}
	var done keeper.Done
	return done.Queued, json.Unmarshal(body, &done)
}

// Replay implements event.Platform, of the events that the keeper has.
func (p *Platform) Replay(ctx context.Context, of event.Owner, trigger string, since time.Time) (int, error) {
	t, err := p.find(ctx, of, trigger)
	if err != nil {
		return 0, err
	}
	again, err := p.way(ctx, of, trigger, []event.Live{*t})
	if err != nil {
		return 0, err
	}
	keys, err := p.keysOf(ctx, t.Broker)
	if err != nil {
		return 0, err
	}
	o := &keeper.Order{Broker: t.Broker, App: of.App, AppID: of.ID, Trigger: trigger, Again: again}
	err = p.each(ctx, 0, func(s keeper.Seen, e event.Event) bool {
		if s.Time.Before(since) {
			return false
		}
		if s.Broker == t.Broker && p.takes(t, &e, s.From, keys) {
			o.Events = append([]int64{s.Number}, o.Events...)
		}
		return true
	})
	if err != nil || len(o.Events) == 0 {
		return 0, err
	}
	return p.order(ctx, o)
}
