package operation

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// Trigger is a trigger of what is live.
type Trigger struct {
	Name       string          `json:"name"`
	Broker     string          `json:"broker"`
	Filters    json.RawMessage `json:"filters"` // Knative's, as a list: an event passes all of them
	Path       string          `json:"path"`
	Retry      int             `json:"retry"`
	Policy     string          `json:"backoffPolicy"`
	Delay      string          `json:"backoffDelay"`         // ISO 8601
	Timeout    string          `json:"timeout,omitempty"`    // ISO 8601
	DeadLetter string          `json:"deadLetter,omitempty"` // an app, one with a path, or a URL
	Release    int             `json:"release"`              // version of the release that it is of
	Queued     int             `json:"queued"`               // events that wait, or are tried
	Dead       int             `json:"dead"`                 // dead letters
}

// Triggers lists the triggers of an app.
var Triggers = Operation[OfApp, []Trigger]{
	Declaration{Name: "triggers", Args: "APP", Does: "List which events an app gets", Verb: app.VerbRead, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) ([]Trigger, error) {
		list := []Trigger{}
		events, err := c.events()
		if err != nil {
			return list, err
		}
		all, err := events.Triggers(ctx, c.app)
		for _, t := range all {
			filters := t.Filters
			if filters == nil {
				filters = []event.Filter{}
			}
			text, err := json.Marshal(filters)
			if err != nil {
				return list, err
			}
			d := &t.Delivery
			one := Trigger{Name: t.Name, Broker: t.Broker, Filters: text, Path: t.Path, Retry: d.Retry, Policy: string(d.Policy), Delay: event.FormatDuration(d.Delay), DeadLetter: d.DeadLetter,
				Release: t.Release, Queued: t.Queued, Dead: t.Dead}
			if d.Timeout > 0 {
				one.Timeout = event.FormatDuration(d.Timeout)
			}
			list = append(list, one)
		}
		return list, err
	},
}

// eventsOfApp returns what takes events, and the app as it knows it.
func (c call) eventsOfApp(ctx context.Context) (event.Platform, event.Owner, error) {
	events, err := c.events()
	if err != nil {
		return nil, event.Owner{}, err
	}
	a, err := c.Store.App(ctx, c.app)
	return events, event.Owner{App: a.Name, ID: a.ID}, err
}

// DeadOf asks for the dead letters of an app.
type DeadOf struct {
	OfApp
	Before int64 // only those with a lower number; 0 for all
	Lines  int   // how many, from 1 to MaxEvents
}

// Dead lists the dead letters of an app.
var Dead = Operation[DeadOf, []Event]{
	Declaration{Name: "events dead", Args: "APP", Does: "List events that could not be delivered to an app, newest first", Verb: app.VerbRead, Needs: NeedsServer},
	func(ctx context.Context, c call, in DeadOf) ([]Event, error) {
		if in.Lines < 1 || in.Lines > MaxEvents {
			return []Event{}, app.Errorf(app.CodeInvalidInput, "ask for fewer", "the number of events is not from 1 to %d", MaxEvents)
		}
		events, of, err := c.eventsOfApp(ctx)
		if err != nil {
			return []Event{}, err
		}
		return listed(ctx, events, event.Query{Dead: true, Apps: map[int64]bool{of.ID: true}, Before: in.Before, Limit: in.Lines})
	},
}

// EventsOfApp asks for something to be done with dead letters of an app.
type EventsOfApp struct {
	OfApp
	Numbers []int64 // of the events; none for all dead letters
}

// Done is how many deliveries a command was about.
type Done struct {
	Deliveries int `json:"deliveries"`
}

// RetryDead queues dead letters again.
var RetryDead = Operation[EventsOfApp, Done]{
	Declaration{Name: "events retry", Args: "APP [EVENT...]", Does: "Deliver dead letters of an app again: all, or those of these events", Verb: app.VerbChange, Needs: NeedsServer},
	func(ctx context.Context, c call, in EventsOfApp) (Done, error) {
		return c.withDead(ctx, in, event.Platform.RetryDead)
	},
}

// DiscardDead removes dead letters.
var DiscardDead = Operation[EventsOfApp, Done]{
	Declaration{Name: "events discard", Args: "APP [EVENT...]", Does: "Give up dead letters of an app: all, or those of these events", Verb: app.VerbChange, Needs: NeedsServer},
	func(ctx context.Context, c call, in EventsOfApp) (Done, error) {
		return c.withDead(ctx, in, event.Platform.Discard)
	},
}

func (c call) withDead(ctx context.Context, in EventsOfApp, do func(event.Platform, context.Context, event.Owner, []int64) (int, error)) (Done, error) {
	events, of, err := c.eventsOfApp(ctx)
	if err != nil {
		return Done{}, err
	}
	n, err := do(events, ctx, of, in.Numbers)
	if err == nil && n == 0 && len(in.Numbers) > 0 {
		err = app.Errorf(app.CodeNotFound, "see the dead letters: gitd events dead "+c.app, "none of these events is a dead letter of %s", c.app)
	}
	return Done{n}, err
}

// ReplayOf asks for a replay.
type ReplayOf struct {
	OfApp
	Trigger string
	Since   time.Time
}

// Replay queues the events since a time for one trigger again.
var Replay = Operation[ReplayOf, Done]{
	Declaration{Name: "events replay", Args: "APP TRIGGER", Does: "Deliver the events since a time to one trigger of an app again", Verb: app.VerbChange, Needs: NeedsServer},
	func(ctx context.Context, c call, in ReplayOf) (Done, error) {
		events, of, err := c.eventsOfApp(ctx)
		if err != nil {
			return Done{}, err
		}
		n, err := events.Replay(ctx, of, in.Trigger, in.Since)
		return Done{n}, err
	},
}
