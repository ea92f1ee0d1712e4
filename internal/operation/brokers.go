package operation

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// Broker is a broker with what it keeps.
type Broker struct {
	Name    string     `json:"name"`
	By      string     `json:"by,omitempty"`      // the key that made it
	Created *time.Time `json:"created,omitempty"` // of one that was made
	Events  int        `json:"events"`            // that are kept
	Queued  int        `json:"queued"`            // deliveries
	Dead    int        `json:"dead"`              // deliveries
	Bytes   int64      `json:"bytes"`             // that the events take
	Keys    []string   `json:"keys,omitempty"`    // to whose apps it was given; none where it is for every app
}

// Brokers lists the brokers.
var Brokers = Operation[OfServer, []Broker]{
	Declaration{Name: "brokers", Does: "List the brokers", Verb: app.VerbUse, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfServer) ([]Broker, error) {
		list := []Broker{}
		events, err := c.events()
		if err != nil {
			return list, err
		}
		all, err := events.Brokers(ctx)
		for _, b := range all {
			list = append(list, Broker{b.Name, b.By, timeOf(b.Created), b.Events, b.Queued, b.Dead, b.Bytes, b.Keys})
		}
		return list, err
	},
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// OneBroker names a broker.
type OneBroker struct {
	OfServer
	Name string
}

// CreateBroker makes a broker.
var CreateBroker = Operation[OneBroker, struct{}]{
	Declaration{Name: "brokers create", Args: "NAME", Does: "Make a broker", Verb: app.VerbManage, Needs: NeedsServer},
	func(ctx context.Context, c call, in OneBroker) (struct{}, error) {
		events, err := c.events()
		if err == nil {
			err = events.CreateBroker(ctx, in.Name, c.by.Name())
		}
		return struct{}{}, err
	},
}

// DeleteBroker removes a broker.
var DeleteBroker = Operation[OneBroker, struct{}]{
	Declaration{Name: "brokers delete", Args: "NAME", Does: "Remove a broker with its events and tokens", Verb: app.VerbManage, Needs: NeedsServer},
	func(ctx context.Context, c call, in OneBroker) (struct{}, error) {
		events, err := c.events()
		if err == nil {
			err = events.DeleteBroker(ctx, in.Name)
		}
		return struct{}{}, err
	},
}

// SharedBroker asks for a broker to be given to keys.
type SharedBroker struct {
	OfServer
	Name string
	Keys []string // none for every app
}

// ShareBroker says whose apps may use a broker.
var ShareBroker = Operation[SharedBroker, struct{}]{
	Declaration{Name: "brokers share", Args: "NAME [KEY...]", Does: "Give a broker to the apps of some keys, which get all of its events; without keys, to every app again", Verb: app.VerbManage, Needs: NeedsServer},
	func(ctx context.Context, c call, in SharedBroker) (struct{}, error) {
		events, err := c.events()
		if err != nil {
			return struct{}{}, err
		}
		for _, name := range in.Keys {
			if _, err := c.Store.KeyByName(ctx, name); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, events.ShareBroker(ctx, in.Name, in.Keys)
	},
}

// EventsOfBroker asks for something to be done with events that a broker accepted, and then refused.
type EventsOfBroker struct {
	OfServer
	Broker  string
	Numbers []int64 // of the events; none for all
}

// RetryRefused sends what a broker refused once more.
var RetryRefused = Operation[EventsOfBroker, Done]{
	Declaration{Name: "brokers retry", Args: "NAME [EVENT...]", Does: "Send events again that a cluster's broker refused after they were accepted", Verb: app.VerbManage, Needs: NeedsServer},
	func(ctx context.Context, c call, in EventsOfBroker) (Done, error) {
		return c.withRefused(ctx, in, event.Platform.RetryRefused)
	},
}

// DiscardRefused gives up what a broker refused.
var DiscardRefused = Operation[EventsOfBroker, Done]{
	Declaration{Name: "brokers discard", Args: "NAME [EVENT...]", Does: "Give up events that a cluster's broker refused after they were accepted", Verb: app.VerbManage, Needs: NeedsServer},
	func(ctx context.Context, c call, in EventsOfBroker) (Done, error) {
		return c.withRefused(ctx, in, event.Platform.DiscardRefused)
	},
}

func (c call) withRefused(ctx context.Context, in EventsOfBroker, do func(event.Platform, context.Context, string, []int64) (int, error)) (Done, error) {
	events, err := c.events()
	if err != nil {
		return Done{}, err
	}
	n, err := do(events, ctx, in.Broker, in.Numbers)
	return Done{n}, err
}

// EventToken lets those who have it send events to a broker over HTTP.
type EventToken struct {
	Name    string     `json:"name"`
	By      string     `json:"by"` // the key that made it
	Created time.Time  `json:"created"`
	Used    *time.Time `json:"used,omitempty"` // last, to the minute
}

// TokenOf names a token of a broker.
type TokenOf struct {
	OfServer
	Broker string // "" for the default one
	Name   string
}

// EventTokens lists the tokens of a broker.
var EventTokens = Operation[TokenOf, []EventToken]{
	Declaration{Name: "events token list", Does: "List the tokens of a broker", Verb: app.VerbManage, Needs: NeedsServer},
	func(ctx context.Context, c call, in TokenOf) ([]EventToken, error) {
		list := []EventToken{}
		events, err := c.events()
		if err != nil {
			return list, err
		}
		all, err := events.Tokens(ctx, in.Broker)
		for _, t := range all {
			list = append(list, EventToken{t.Name, t.By, t.Created, timeOf(t.Used)})
		}
		return list, err
	},
}

// NewToken is a token, which is shown once.
type NewToken struct {
	Name  string `json:"name"`
	Token string `json:"token"`
}

// CreateEventToken makes a token of a broker.
var CreateEventToken = Operation[TokenOf, NewToken]{
	Declaration{Name: "events token create", Args: "NAME", Does: "Make a token of a broker, with which it takes events over HTTP; it is shown once", Verb: app.VerbManage, Needs: NeedsServer},
	func(ctx context.Context, c call, in TokenOf) (NewToken, error) {
		events, err := c.events()
		if err != nil {
			return NewToken{}, err
		}
		token, err := events.CreateToken(ctx, in.Broker, in.Name, c.by.Name())
		if err != nil {
			return NewToken{}, err
		}
		return NewToken{in.Name, token}, nil
	},
}

// RevokeEventToken removes a token of a broker.
var RevokeEventToken = Operation[TokenOf, struct{}]{
	Declaration{Name: "events token revoke", Args: "NAME", Does: "Remove a token of a broker", Verb: app.VerbManage, Needs: NeedsServer},
	func(ctx context.Context, c call, in TokenOf) (struct{}, error) {
		events, err := c.events()
		if err == nil {
			err = events.RevokeToken(ctx, in.Broker, in.Name)
		}
		return struct{}{}, err
	},
}
