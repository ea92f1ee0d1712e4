package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// overhead is what an event takes beside its attributes and data, in bytes.
const overhead = 512

// accept is one event on its way in.
type accept struct {
	p        *Platform
	broker   string
	event    event.Event
	from     event.Sender
	payer    string // whose share of the room it takes
	at       time.Time
	triggers []*trigger // that it is for
	follow   []*tail    // who see it
	receipt  event.Receipt
}

// Send implements event.Platform.
func (p *Platform) Send(ctx context.Context, broker string, e event.Event, from event.Sender) (_ event.Receipt, err error) {
	defer func() {
		if err != nil {
			p.o.Metrics.Received.Inc("refused")
		} else {
			p.o.Metrics.Received.Inc("accepted")
		}
	}()
	a, err := p.accept(cmp.Or(broker, event.DefaultBroker), e, from)
	if err != nil {
		return event.Receipt{}, err
	}
	return a.keep(ctx, true)
}

// Announce implements event.Platform. What is told counts for no owner's share of the room: one whose share is full does not keep others from being told.
func (p *Platform) Announce(ctx context.Context, e event.Event, from event.Sender) (event.Receipt, error) {
	a, err := p.accept(event.DefaultBroker, e, from)
	if err != nil {
		return event.Receipt{}, err
	}
	a.payer = ""
	r, err := a.keep(ctx, false)
	if err == nil && r.Number != 0 && !r.Duplicate {
		p.o.Metrics.Received.Inc("accepted")
	}
	return r, err
}

// keep writes the event, once there is room. One that no trigger takes is kept where always is set.
func (a *accept) keep(ctx context.Context, always bool) (event.Receipt, error) {
	for {
		if !always && len(a.triggers) == 0 {
			return event.Receipt{}, nil
		}
		if err := a.p.room(ctx, a.payer, a.size()); err != nil {
			return event.Receipt{}, err
		}
		err := a.p.w.write(ctx, a.write, a.after)
		if !errors.Is(err, errStale) {
			return a.receipt, err
		}
		a.fanOut()
	}
}

// accept checks an event and finds the triggers that it is for.
func (p *Platform) accept(broker string, e event.Event, from event.Sender) (*accept, error) {
	if err := e.Check(); err != nil {
		return nil, err
	}
	if err := e.CheckSender(from); err != nil {
		return nil, err
	}
	e, err := e.From(from).Spend()
	if err != nil {
		return nil, err
	}
	if err := p.sends(from, broker); err != nil {
		return nil, err
	}
	a := &accept{p: p, broker: broker, event: e, from: from, payer: p.payer(from), at: p.clock.now()}
	a.fanOut()
	return a, nil
}

// errStale is the error of a change that goes by triggers which are not live any more. It is made again, by those that are.
var errStale = errors.New("the triggers have changed")

// fanOut finds the triggers that the event is for, and those who see it.
func (a *accept) fanOut() {
	a.triggers = nil
	for _, t := range a.p.fan.Load().brokers[a.broker] {
		if t.passes(&a.event) && a.p.gets(t, a.broker, a.from) {
			a.triggers = append(a.triggers, t)
		}
	}
	a.follow = a.p.tails.whom(a)
}

func (a *accept) size() int64 { return int64(a.event.Size() + overhead) }

// write adds the event and its deliveries. One that is there already changes nothing.
func (a *accept) write(t *tx) error {
	a.receipt = event.Receipt{}
	e := &a.event
	others, err := json.Marshal(otherAttributes(e))
	if err != nil {
		return err
	}
	there, err := t.count("UPDATE brokers SET events = events + 1, bytes = bytes + ? WHERE name = ?", a.size(), a.broker)
	if err != nil {
		return err
	}
	if there == 0 {
		return event.NoBroker(a.broker)
	}
	r, err := t.exec(`INSERT INTO events (broker, source, id, type, accepted, sender, sender_name, sender_id, payer, size, attributes, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (broker, source, id, sender, sender_name, sender_id) DO NOTHING`, a.broker, e.Source, e.ID, e.Type, a.at.UnixMilli(), string(a.from.Kind), a.from.Name, a.from.ID, a.payer, a.size(), string(others), e.Data)
	if err != nil {
		return err
	}
	if n, _ := r.RowsAffected(); n == 0 {
		a.receipt.Duplicate = true
		if _, err := t.exec("UPDATE brokers SET events = events - 1, bytes = bytes - ? WHERE name = ?", a.size(), a.broker); err != nil {
			return err
		}
		return t.row("SELECT number FROM events WHERE broker = ? AND source = ? AND id = ? AND sender = ? AND sender_name = ? AND sender_id = ?",
			[]any{a.broker, e.Source, e.ID, string(a.from.Kind), a.from.Name, a.from.ID}, &a.receipt.Number)
	}
	if a.receipt.Number, err = r.LastInsertId(); err != nil {
		return err
	}
	if err := t.pay(a.payer, a.size()); err != nil {
		return err
	}
	for _, to := range a.triggers {
		added, err := t.count("INSERT INTO deliveries (event, app, app_id, trigger, state, due) SELECT ?, ?, ?, ?, ?, ? WHERE "+isLive,
			append([]any{a.receipt.Number, to.App, to.ID, to.Name, queued, a.at.UnixMilli()}, to.owner()...)...)
		if err != nil {
			return err
		}
		if added == 0 { // no queue would take it
			return errStale
		}
	}
	a.receipt.Triggers = len(a.triggers)
	return nil
}

// after tells those who wait for events.
func (a *accept) after() {
	if a.receipt.Duplicate {
		return
	}
	a.p.bytes.Add(a.size())
	a.p.shares.add(a.payer, a.size())
	if len(a.triggers) > 0 {
		a.p.recent.add(a.receipt.Number, &a.event)
	}
	for _, t := range a.triggers {
		a.p.wake(t.key())
	}
	a.p.tails.tell(a)
}

// otherAttributes are those that have no column.
func otherAttributes(e *event.Event) map[string]string {
	m := map[string]string{}
	for _, name := range e.Attributes() {
		switch name {
		case "specversion", "id", "source", "type":
		default:
			m[name], _ = e.Attribute(name)
		}
	}
	return m
}
