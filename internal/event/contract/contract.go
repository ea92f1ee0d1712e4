// Package contract is what event.Platform promises, as tests. Every platform runs the same suite, with apps that really receive.
//
// To add a platform, implement event.Platform, and call Run in a test of its package with an Env: how an app of the suite is made, and where the broker takes events
// over HTTP. The apps run receiver.Receiver: in the test's process, or as internal/event/contract/testapp.
//
// A case is a method of suite, with apps and types of events of its own, since cases run in parallel.
package contract

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/event/contract/receiver"
)

// Env is a platform under test.
type Env struct {
	Platform event.Platform
	// App makes an app of that name which runs the receiver, and returns it and what it got so far.
	App func(t *testing.T, name string) (of event.Owner, got func(t *testing.T) []receiver.Got)
	// Ingress returns the URL at which a broker takes events over HTTP from those with a token; nil where nothing outside reaches it.
	Ingress func(t *testing.T, broker string) string
	// AsApp sends an event as an app does, to K_SINK. What it is answered does not count.
	AsApp func(t *testing.T, of event.Owner, e event.Event)
	// Rights are those that the platform asks.
	Rights *Rights
	// Reopen ends the process's part of the platform without warning, and opens it again; nil where the process has no part in the delivery.
	Reopen func(t *testing.T) event.Platform
	// Wait is how long what should happen may take. Default 10 s.
	Wait time.Duration
	// Quiet is how long nothing must happen where nothing should. Default 200 ms.
	Quiet time.Duration
	// LaterTriggers says that a trigger takes effect some time after SetTriggers has returned, but never after one that is set later.
	LaterTriggers bool
	// Blind says that the platform does not tell what became of a delivery that is no dead letter.
	Blind bool
	// FewerHops is how much lower the platform counts an event's time to live.
	FewerHops int
	// Differs names cases which the platform does not pass, because what it stands on is otherwise, and says how.
	Differs map[string]string
}

type suite struct {
	*Env
	apps atomic.Int64
}

// Run runs the suite.
func Run(t *testing.T, env *Env) {
	env.Wait, env.Quiet = cmp.Or(env.Wait, 10*time.Second), cmp.Or(env.Quiet, 200*time.Millisecond)
	s := &suite{Env: env}
	s.run(t, "parallel", true, []testCase{
		{"event arrives whole", s.whole}, {"filters", s.filters}, {"duplicates", s.duplicates}, {"refused events", s.refused},
		{"retry", s.retry}, {"statuses", s.statuses}, {"timeout", s.timeout},
		{"reply", s.reply}, {"answers that are no reply", s.noReply}, {"loop of replies", s.loop}, {"dead letters", s.deadLetters}, {"dead-letter app", s.deadLetterApp}, {"dead-letter app that fails", s.deadLetterAppFails}, {"discard", s.discard},
		{"triggers change while events wait", s.triggersChangeWaiting}, {"app destroyed", s.destroyed}, {"replay", s.replay}, {"tail", s.tail}, {"list", s.list},
		{"gitd's own events", s.own}, {"gitd's own events that fail", s.ownFails},
		{"brokers", s.brokers}, {"shared broker", s.shared}, {"ingress", s.ingress}, {"tokens", s.tokens},
	})
	// On a cluster, triggers that these cases remove can make dead letters of what other cases send.
	s.run(t, "alone", false, []testCase{{"triggers change", s.triggersChange}, {"a delivery that changes", s.deliveryChanges}, {"a trigger that goes", s.triggerGoes}})
	t.Run("restart", s.restart)
}

// testCase is a case of the suite, with its name.
type testCase struct {
	name string
	run  func(*testing.T)
}

// run runs cases, all at a time or one after the other.
func (s *suite) run(t *testing.T, name string, parallel bool, cases []testCase) {
	t.Run(name, func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				if parallel {
					t.Parallel()
				}
				if why := s.Differs[c.name]; why != "" {
					t.Skip(why)
				}
				c.run(t)
			})
		}
	})
}

// testApp is an app of one case.
type testApp struct {
	s    *suite
	of   event.Owner
	kind string // type of events that no other case uses
	got  func(t *testing.T) []receiver.Got
}

func (s *suite) app(t *testing.T) *testApp {
	t.Helper()
	n := s.apps.Add(1)
	a := &testApp{s: s, kind: fmt.Sprintf("test.case%d", n)}
	a.of, a.got = s.App(t, fmt.Sprintf("receiver%d", n))
	return a
}

// fast is a delivery whose retries come soon.
func fast(retry int) event.Delivery {
	return event.Delivery{Retry: retry, Policy: event.Exponential, Delay: 10 * time.Millisecond}
}

// trigger is one on the app's own type, or, with a suffix, on that.
func (a *testApp) trigger(name, path, suffix string) event.Trigger {
	return event.Trigger{Name: name, Broker: event.DefaultBroker, Path: path, Filters: []event.Filter{{Exact: map[string]string{"type": a.kind + suffix}}}, Delivery: fast(3)}
}

// set makes these the app's triggers.
func (a *testApp) set(t *testing.T, all ...event.Trigger) {
	t.Helper()
	a.of.Release++
	if a.s.LaterTriggers && len(all) > 0 {
		a.fence(t, all)
		return
	}
	if err := a.s.Platform.SetTriggers(t.Context(), a.of, all); err != nil {
		t.Fatal(err)
	}
}

// fence sets triggers and waits until they take effect: one more is set with them, and once an event comes by that one, they do. How long that takes depends on
// what else the platform does. The one more keeps its name: one that goes leaves dead letters of what is still on its way to it.
func (a *testApp) fence(t *testing.T, all []event.Trigger) {
	t.Helper()
	one := a.trigger("fence", fmt.Sprintf("/fence%d", a.of.Release), "")
	kind := fmt.Sprintf("fence%d.%s", a.of.Release, a.kind) // which the filters of no case take
	one.Filters = []event.Filter{{Exact: map[string]string{"type": kind}}}
	if err := a.s.Platform.SetTriggers(t.Context(), a.of, append(slices.Clone(all), one)); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(a.s.Wait); time.Now().Before(end); {
		e := event.Event{ID: event.NewID(), Source: a.source(), Type: kind}
		if _, err := a.s.Platform.Send(t.Context(), "", e, sender); err != nil {
			t.Fatal(err)
		}
		for range 10 { // an event that comes before the trigger takes effect does not arrive
			if slices.ContainsFunc(a.got(t), func(g receiver.Got) bool { return g.Path == one.Path }) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	t.Fatalf("the triggers of %s take no effect after %s", a.of.App, a.s.Wait)
}

// source is that of its events.
func (a *testApp) source() string { return "/contract/" + a.kind }

var sender = event.Sender{Kind: event.FromKey, Name: "tester"}

// send sends an event of the app's type.
func (a *testApp) send(t *testing.T, id, suffix string, set ...func(*event.Event)) event.Receipt {
	t.Helper()
	e := event.Event{ID: id, Source: a.source(), Type: a.kind + suffix, Data: []byte("data"), ContentType: "text/plain"}
	for _, f := range set {
		f(&e)
	}
	r, err := a.s.Platform.Send(t.Context(), "", e, sender)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// eventually waits until f returns "".
func (s *suite) eventually(t *testing.T, f func() string) {
	t.Helper()
	why := ""
	for end := time.Now().Add(s.Wait); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if why = f(); why == "" {
			return
		}
	}
	t.Fatal(why)
}

// receives waits until the app has got events with these ids at a path, in any order, and no other.
func (a *testApp) receives(t *testing.T, path string, ids ...string) []receiver.Got {
	t.Helper()
	slices.Sort(ids)
	var at []receiver.Got
	a.s.eventually(t, func() string {
		at = nil
		var have []string
		for _, g := range a.got(t) {
			if g.Path == path {
				at = append(at, g)
				have = append(have, g.Header["ce-id"])
			}
		}
		slices.Sort(have)
		if !slices.Equal(have, ids) {
			return fmt.Sprintf("%s got %q at %s, want %q", a.of.App, have, path, ids)
		}
		return ""
	})
	return at
}

// same says whether a delivery is in a state, as far as the platform tells.
func (s *suite) same(have, want event.State) bool {
	return have == want || s.Blind && have == event.StateHandedOver && want != event.StateDead
}

// becomes waits until the deliveries of an event are in these states, by trigger.
func (a *testApp) becomes(t *testing.T, number int64, want ...event.State) event.Record {
	t.Helper()
	var r event.Record
	a.s.eventually(t, func() string {
		var err error
		if r, err = a.s.Platform.Show(t.Context(), number); err != nil {
			return err.Error()
		}
		var have []event.State
		for _, d := range r.Deliveries {
			have = append(have, d.State)
		}
		if !slices.EqualFunc(have, want, a.s.same) {
			return fmt.Sprintf("e%d: %q, want %q: %+v", number, have, want, r.Deliveries)
		}
		return ""
	})
	return r
}

func pathOf(status int) string { return fmt.Sprintf("/status/%d", status) }
