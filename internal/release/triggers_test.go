package release

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/store"
)

// fakeTriggers notes what it is given.
type fakeTriggers struct {
	fails   error
	set     []event.Owner
	owners  map[string]event.Owner
	brokers []event.Broker
}

func (f *fakeTriggers) SetTriggers(_ context.Context, of event.Owner, _ []event.Trigger) error {
	f.set = append(f.set, of)
	return f.fails
}

func (f *fakeTriggers) Owners(context.Context) (map[string]event.Owner, error) {
	return maps.Clone(f.owners), nil
}
func (f *fakeTriggers) Forget(context.Context, event.Owner) error     { return nil }
func (f *fakeTriggers) Ready(context.Context, ...event.Trigger) error { return nil }

func (f *fakeTriggers) Brokers(context.Context) ([]event.Broker, error) { return f.brokers, nil }

// Triggers that could not be set are not set beside a deployment, or the end, of their app: it may have newer ones by then, or none.
func TestSetTriggersIdle(t *testing.T) {
	f := &fakeTriggers{}
	m := newMachine(t, nil, func(o *Options) { o.Triggers = f })
	past(t, m, "hello", app.StateLive, "hello-v1")
	me := &turn{destroys: true}
	if _, err := m.turns.enter("hello", me, func(*turn) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if m.setTriggersIdle("hello") || len(f.set) != 0 {
		t.Errorf("while the app is being destroyed: %v", f.set)
	}
	m.turns.leave("hello", me)
	f.fails = errors.New("no")
	if m.setTriggersIdle("hello") || len(f.set) != 1 {
		t.Errorf("what fails is done: %v", f.set)
	}
	f.fails = nil
	if !m.setTriggersIdle("hello") || len(f.set) != 2 || f.set[1].Release != 1 {
		t.Errorf("%v", f.set)
	}
	if !m.setTriggersIdle("nowhere") || len(f.set) != 2 {
		t.Errorf("an app that is gone: %v", f.set)
	}
}

// A push whose trigger names a broker that does not exist, or was given to others, is refused, with what to do.
func TestCanGetEvents_NoBroker(t *testing.T) {
	f := &fakeTriggers{brokers: []event.Broker{{Name: event.DefaultBroker}, {Name: "team"}, {Name: "ours", Keys: []string{"dev"}}, {Name: "theirs", Keys: []string{"guest"}}}}
	m := newMachine(t, nil, func(o *Options) { o.Triggers = f })
	past(t, m, "shop", app.StateLive, "shop-v1")
	if err := m.canGetEvents(t.Context(), "shop", &project.Descriptor{Triggers: []event.Trigger{{Name: "orders", Broker: "theirs"}}}); app.CodeOf(err) != app.CodeForbidden {
		t.Errorf("a broker of others: %v", err)
	}
	for broker, refused := range map[string]bool{event.DefaultBroker: false, "team": false, "ours": false, "other": true} {
		err := m.canGetEvents(t.Context(), "shop", &project.Descriptor{Triggers: []event.Trigger{{Name: "orders", Broker: broker}}})
		if refused != (app.CodeOf(err) == app.CodeInvalidInput) || !refused && err != nil {
			t.Errorf("%s: %v", broker, err)
		}
		if _, next := app.Explain(err); refused && (!strings.Contains(next, "gitd brokers create other") || !strings.Contains(err.Error(), "orders")) {
			t.Errorf("%v; %s", err, next)
		}
	}
}

// After a start, triggers are set of what went live meanwhile, and the apps that get no events cost nothing.
func TestResumeTriggers(t *testing.T) {
	f := &fakeTriggers{}
	m := newMachine(t, nil, func(o *Options) { o.Triggers = f })
	owner := func(name string, release int) event.Owner {
		a, err := m.o.Store.App(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return event.Owner{App: name, ID: a.ID, Release: release}
	}
	for _, name := range []string{"plain", "known", "behind"} {
		past(t, m, name, app.StateLive, name+"-v1")
	}
	past(t, m, "behind", app.StateLive, "behind-v2")
	if _, err := m.o.Store.EnsureApp(t.Context(), "missing", "dev"); err != nil {
		t.Fatal(err)
	}
	r, err := m.o.Store.AddRelease(t.Context(), app.Release{App: "missing", Commit: "c", Ref: "refs/heads/main", Key: "dev"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []store.Event{{State: app.StateStarting, Revision: "missing-v1", Service: []byte("{}"), GetsEvents: true}, {State: app.StateLive}} {
		if err := m.o.Store.AddEvent(t.Context(), "missing", r.Version, e); err != nil {
			t.Fatal(err)
		}
	}
	f.owners = map[string]event.Owner{"known": owner("known", 1), "behind": owner("behind", 1)}
	if err := m.resumeTriggers(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(f.set, func(a, b event.Owner) int { return strings.Compare(a.App, b.App) })
	if want := []event.Owner{owner("behind", 2), owner("missing", 1)}; !slices.Equal(f.set, want) {
		t.Errorf("%v, want %v", f.set, want)
	}
}
