package operation

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// events are the brokers, or an error where there are none.
func (c call) events() (event.Platform, error) {
	if c.Events == nil {
		return nil, app.Errorf(app.CodeUnavailable, "ask the operator", "there are no brokers here")
	}
	return c.Events, nil
}

// SendEvent asks for an event to be sent.
type SendEvent struct {
	OfServer
	Broker string // "" for the default one
	// In has the event in the JSON format of CloudEvents, or, where Event has a type, its data; nil for no data.
	In    io.Reader
	Event event.Event // the source, the id and the time are set where they are missing
}

// SentEvent is an event that a broker took.
type SentEvent struct {
	ID        string `json:"id"` // by which gitd knows it: "e12"
	Broker    string `json:"broker"`
	Source    string `json:"source"`
	EventID   string `json:"eventId"`             // its attribute id
	Triggers  int    `json:"triggers"`            // that it is delivered to
	Duplicate bool   `json:"duplicate,omitempty"` // the broker had it: it is not delivered again
}

// Send sends an event to a broker.
var Send = Operation[SendEvent, SentEvent]{
	Declaration{Name: "events send", Does: "Send an event to a broker", Verb: app.VerbUse, Needs: NeedsServer, Stdin: true, Secret: true},
	func(ctx context.Context, c call, in SendEvent) (SentEvent, error) {
		events, err := c.events()
		if err != nil {
			return SentEvent{}, err
		}
		e, err := in.event(c.by)
		if err != nil {
			return SentEvent{}, err
		}
		r, err := events.Send(ctx, in.Broker, e, event.Sender{Kind: event.FromKey, Name: c.by.Name()})
		return SentEvent{ID: eventName(r.Number), Broker: cmp.Or(in.Broker, event.DefaultBroker), Source: e.Source, EventID: e.ID, Triggers: r.Triggers, Duplicate: r.Duplicate}, err
	},
}

// event is what is sent.
func (in *SendEvent) event(by app.Caller) (event.Event, error) {
	const most = 2 * event.MaxSize // in JSON, data is longer than it is
	var text []byte
	if in.In != nil {
		var err error
		if text, err = io.ReadAll(io.LimitReader(in.In, most+1)); err != nil {
			return event.Event{}, app.Errorf(app.CodeInvalidInput, "send it again", "the event did not arrive whole: %w", err)
		}
		if len(text) > most {
			return event.Event{}, app.Errorf(app.CodeLimitExceeded, "store the data elsewhere, and send where it is", "the event is larger than %s", app.Size(event.MaxSize))
		}
	}
	e := in.Event
	if e.Type == "" {
		return event.Parse(text)
	}
	if in.In != nil {
		e.Data = text
	}
	now := time.Now().UTC()
	e.Source = cmp.Or(e.Source, "/keys/"+by.Name())
	e.ID = cmp.Or(e.ID, event.NewID())
	e.Time = cmp.Or(e.Time, now.Format(time.RFC3339Nano))
	if e.ContentType == "" && len(e.Data) > 0 {
		e.ContentType = "text/plain"
		if json.Valid(e.Data) {
			e.ContentType = "application/json"
		}
	}
	return e, e.Check()
}

func eventName(number int64) string { return fmt.Sprintf("e%d", number) }

// Event is an event that a broker took, and what became of it.
type Event struct {
	ID         string          `json:"id"` // by which gitd knows it: "e12"
	Broker     string          `json:"broker"`
	Accepted   time.Time       `json:"accepted"`
	FromKind   string          `json:"fromKind"` // "key", "token", "app", "reply" (an app's answer to an event) or "source" (gitd itself)
	From       string          `json:"from"`     // name of the key, the token or the app
	Event      json.RawMessage `json:"event"`    // in the JSON format of CloudEvents; of list and dead, without its data
	Deliveries []EventDelivery `json:"deliveries"`
}

// EventDelivery is what became of an event for one trigger.
type EventDelivery struct {
	App      string         `json:"app"`
	Trigger  string         `json:"trigger"`
	State    string         `json:"state"`            // "queued", "delivered", "dead-letter" (what takes the app's dead letters took it), "dead", "discarded"
	Reason   string         `json:"reason,omitempty"` // why it is dead
	Attempts int            `json:"attempts"`
	Due      *time.Time     `json:"due,omitempty"`    // of the next attempt
	Replay   bool           `json:"replay,omitempty"` // it was asked for by retry or replay
	Log      []EventAttempt `json:"log"`              // the first attempt and the last ones, oldest first; of lists, the last one
}

// EventAttempt is one attempt to deliver an event.
type EventAttempt struct {
	At     time.Time `json:"at"`
	Millis int64     `json:"millis"` // that it took
	Sink   string    `json:"sink"`   // URL
	Status int       `json:"status,omitempty"`
	Error  string    `json:"error,omitempty"`
}

// eventOf is a record for those who may see these apps; nil for all.
func eventOf(r event.Record, apps map[int64]bool) (Event, error) {
	text, err := json.Marshal(r.Event)
	o := Event{ID: eventName(r.Number), Broker: r.Broker, Accepted: r.Accepted, FromKind: string(r.From.Kind), From: r.From.Name, Event: text, Deliveries: []EventDelivery{}}
	for _, d := range r.Deliveries {
		if apps != nil && d.AppID != 0 && !apps[d.AppID] {
			continue
		}
		one := EventDelivery{App: d.App, Trigger: d.Trigger, State: string(d.State), Reason: d.Reason, Attempts: d.Attempts, Replay: d.Replay, Log: []EventAttempt{}}
		if !d.Due.IsZero() {
			one.Due = &d.Due
		}
		for _, a := range d.Log {
			one.Log = append(one.Log, EventAttempt{At: a.At, Millis: a.Took.Milliseconds(), Sink: a.Sink, Status: a.Status, Error: a.Error})
		}
		o.Deliveries = append(o.Deliveries, one)
	}
	return o, err
}

// EventsOf asks for events, newest first: those that the caller has sent, and those that an app has sent or gets that the caller may read.
type EventsOf struct {
	OfServer
	Broker string // "" for all
	App    string // "" for all
	Type   string // "" for all
	CESQL  string // an expression that they pass; "" for none
	Since  time.Time
	Before int64 // only those with a lower number; 0 for all
	Lines  int   // how many, from 1 to MaxEvents
	// Of Tail.
	Do func(e Event, missed int) error
}

// How many events are returned at once: where nothing else is asked for, and at most.
const (
	DefaultEvents = 20
	MaxEvents     = 200
)

// query is what the caller may see of what is asked for.
func (c call) query(ctx context.Context, in EventsOf) (q event.Query, err error) {
	q = event.Query{Broker: in.Broker, Since: in.Since, Before: in.Before, Limit: in.Lines}
	if in.Type != "" {
		q.Filters = append(q.Filters, event.Filter{Exact: map[string]string{"type": in.Type}})
	}
	if in.CESQL != "" {
		q.Filters = append(q.Filters, event.Filter{CESQL: in.CESQL})
	}
	if _, err := event.Compile(q.Filters); err != nil {
		return q, app.Errorf(app.CodeInvalidInput, "correct it; docs/events.md has examples", "the filter cannot be read: %s", err.Error())
	}
	if in.App != "" {
		name, err := app.ParseName(in.App)
		if err != nil {
			return q, err
		}
		a, err := c.Store.Authorize(ctx, c.by, name, app.VerbRead)
		q.Apps = map[int64]bool{a.ID: true}
		return q, err
	}
	if _, err := c.Store.Authorize(ctx, c.by, "", app.VerbManage); err == nil {
		return q, nil
	}
	all, err := c.Store.AppsFor(ctx, c.by, app.VerbRead)
	q.Apps, q.Key = map[int64]bool{}, c.by.Name()
	for _, a := range all {
		q.Apps[a.ID] = true
	}
	return q, err
}

// Events lists events.
var Events = Operation[EventsOf, []Event]{
	Declaration{Name: "events list", Does: "List events, newest first", Verb: app.VerbUse, Needs: NeedsServer},
	func(ctx context.Context, c call, in EventsOf) ([]Event, error) {
		list := []Event{}
		if in.Lines < 1 || in.Lines > MaxEvents {
			return list, app.Errorf(app.CodeInvalidInput, "ask for fewer", "the number of events is not from 1 to %d", MaxEvents)
		}
		events, err := c.events()
		if err != nil {
			return list, err
		}
		q, err := c.query(ctx, in)
		if err != nil {
			return list, err
		}
		return listed(ctx, events, q)
	},
}

func listed(ctx context.Context, events event.Platform, q event.Query) ([]Event, error) {
	list := []Event{}
	records, err := events.List(ctx, q)
	for _, r := range records {
		r.Event.Data = nil // it may be long: show has it
		e, err := eventOf(r, q.Apps)
		if err != nil {
			return list, err
		}
		list = append(list, e)
	}
	return list, err
}

// TailEvents calls In.Do with each event from now on.
var TailEvents = Operation[EventsOf, struct{}]{
	Declaration{Name: "events tail", Does: "Show events as they come", Verb: app.VerbUse, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in EventsOf) (struct{}, error) {
		events, err := c.events()
		if err != nil {
			return struct{}{}, err
		}
		q, err := c.query(ctx, in)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, events.Tail(ctx, q, func(r event.Record, missed int) error {
			e, err := eventOf(r, q.Apps)
			if err == nil {
				err = in.Do(e, missed)
			}
			return err
		})
	},
}

// OneEvent asks for an event by its number.
type OneEvent struct {
	OfServer
	Number int64
}

// ShowEvent returns an event with its deliveries and their attempts.
var ShowEvent = Operation[OneEvent, Event]{
	Declaration{Name: "events show", Args: "EVENT", Does: "Show an event, and what became of it", Verb: app.VerbUse, Needs: NeedsServer},
	func(ctx context.Context, c call, in OneEvent) (Event, error) {
		events, err := c.events()
		if err != nil {
			return Event{}, err
		}
		q, err := c.query(ctx, EventsOf{})
		if err != nil {
			return Event{}, err
		}
		r, err := events.Show(ctx, in.Number)
		if err == nil && !q.Sees(&r) { // as if it did not exist
			err = event.NoEvent(in.Number)
		}
		if err != nil {
			return Event{}, err
		}
		return eventOf(r, q.Apps)
	},
}
