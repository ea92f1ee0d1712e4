package contract

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// Rights let each app get what each sender sends, but for what is hidden. They are those of the platform under test.
type Rights struct {
	mu     sync.Mutex
	hidden map[[2]int64]bool // of the app that gets, and of what sends or is told of
}

var _ event.Rights = (*Rights)(nil)

// Hide keeps from an app what another one sends, and what is told of it.
func (r *Rights) Hide(from, of int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hidden == nil {
		r.hidden = map[[2]int64]bool{}
	}
	r.hidden[[2]int64{from, of}] = true
}

// Gets implements event.Rights.
func (r *Rights) Gets(id int64, from event.Sender, _ []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.hidden[[2]int64{id, from.ID}]
}

// Sends implements event.Rights.
func (r *Rights) Sends(from event.Sender, keys []string) bool {
	return len(keys) == 0 || slices.Contains(keys, from.Name)
}

// Payer implements event.Rights.
func (r *Rights) Payer(event.Sender) string { return "" }

// told is a trigger that takes what gitd tells of an app.
func (a *testApp) told(name, path, of string) event.Trigger {
	one := a.trigger(name, path, "")
	one.Filters = []event.Filter{{Exact: map[string]string{event.AppAttribute: of}}}
	return one
}

// own is an event that gitd tells of the app.
func (a *testApp) own(id string) (event.Event, event.Sender) {
	return event.Event{ID: id, Source: event.SourceOfApp(a.of.App), Type: event.OwnType + "contract", Extensions: map[string]string{event.AppAttribute: a.of.App}, Data: []byte("told"), ContentType: "text/plain"},
		event.Sender{Kind: event.FromSource, Name: "gitd", ID: a.of.ID}
}

// What gitd itself tells of an app reaches those who may know of it, and no others. No other sender can tell it.
func (s *suite) own(t *testing.T) {
	a, friend, stranger := s.app(t), s.app(t), s.app(t)
	e, from := a.own("o1")
	if r, err := s.Platform.Announce(t.Context(), e, from); err != nil || r.Number != 0 {
		t.Errorf("where no trigger takes it: %+v, %v", r, err)
	}
	s.Rights.Hide(stranger.of.ID, a.of.ID)
	for _, who := range []*testApp{a, friend, stranger} {
		who.set(t, who.told("told", "/told", a.of.App))
	}
	r, err := s.Platform.Announce(t.Context(), e, from)
	if err != nil || r.Number == 0 || r.Triggers != 2 || r.Duplicate {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, who := range []*testApp{a, friend} {
		if g := who.receives(t, "/told", "o1")[0]; g.Header["ce-"+event.AppAttribute] != a.of.App || g.Header["ce-type"] != e.Type || string(g.Body) != "told" || g.Header["prefer"] != "reply" {
			t.Errorf("%+v", g)
		}
	}
	a.becomes(t, r.Number, event.StateDelivered, event.StateDelivered)
	if again, err := s.Platform.Announce(t.Context(), e, from); err != nil || !again.Duplicate || again.Number != r.Number {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := s.Platform.Send(t.Context(), "", e, sender); app.CodeOf(err) != app.CodeInvalidInput {
		t.Errorf("a key tells it: %v", err)
	}
	forged, _ := a.own("forged-1")
	s.AsApp(t, friend.of, forged)
	forged.ID, forged.Source, forged.Type = "forged-2", "/elsewhere", a.kind+".forged" // with gitd's attribute
	s.AsApp(t, friend.of, forged)
	time.Sleep(s.Quiet)
	a.receives(t, "/told", "o1")
	friend.receives(t, "/told", "o1")
	stranger.receives(t, "/told")
	// An app with what is hidden from it finds none to replay.
	if n, err := s.Platform.Replay(t.Context(), stranger.of, "told", time.Time{}); n != 0 || err != nil {
		t.Errorf("%d replayed, %v", n, err)
	}
}

// What gitd tells and cannot be delivered is a dead letter like any other, and an answer to it a reply.
func (s *suite) ownFails(t *testing.T) {
	a, sink := s.app(t), s.app(t)
	bad, sunk, asks := a.told("bad", pathOf(400), a.of.App), a.told("sunk", pathOf(500), a.of.App), a.told("asks", "/reply/"+a.kind+".reply", a.of.App)
	sunk.Delivery = fast(1)
	sunk.Delivery.DeadLetter = sink.of.App + "/ok"
	answer := a.trigger("answer", "/ok", ".reply")
	a.set(t, asks, bad, sunk, answer)
	e, from := a.own("f1")
	r, err := s.Platform.Send(t.Context(), "", e, from)
	if err != nil || r.Triggers != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	show := a.becomes(t, r.Number, event.StateDelivered, event.StateDead, event.StateSunk) // by the triggers' names
	if d := show.Deliveries[1]; d.Trigger != "bad" || !strings.Contains(d.Reason, "400") {
		t.Errorf("%+v", d)
	}
	a.receives(t, "/ok", "f1-r")
	if g := sink.receives(t, "/ok", "f1")[0]; g.Header["ce-knativeerrorcode"] != "500" || !strings.HasSuffix(g.Header["ce-knativeerrordest"], "/status/500") || string(g.Body) != "told" {
		t.Errorf("%+v", g)
	}
	bad.Path = "/good"
	a.set(t, asks, bad, sunk, answer)
	if n, err := s.Platform.RetryDead(t.Context(), a.of, nil); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	a.receives(t, "/good", "f1")
	a.becomes(t, r.Number, event.StateDelivered, event.StateDelivered, event.StateSunk)
}
