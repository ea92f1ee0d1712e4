package local

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// bySender are rights by which apps get what apps with an ID that is even or odd as theirs is send, and each sender pays for itself.
type bySender struct{}

func (bySender) Gets(id int64, from event.Sender, keys []string) bool {
	return from.ID == 0 || from.ID%2 == id%2 || slices.Contains(keys, from.Name)
}
func (bySender) Sends(from event.Sender, keys []string) bool {
	return len(keys) == 0 || slices.Contains(keys, from.Name)
}
func (bySender) Payer(from event.Sender) string { return string(from.Kind) + " " + from.Name }

// An app gets the events of those whose events it may have: when they come, and at a replay.
func TestRights(t *testing.T) {
	p := opened(t, filepath.Join(t.TempDir(), "events.db"), func(http.ResponseWriter, *http.Request) {}, func(o *Options) { o.Rights = bySender{} })
	if err := p.CreateBroker(t.Context(), "team", ""); err != nil {
		t.Fatal(err)
	}
	if err := p.ShareBroker(t.Context(), "team", []string{"even", "more"}); err != nil {
		t.Fatal(err)
	}
	all, team := triggerOn("a"), triggerOn("a")
	team.Broker, team.Name = "team", "team"
	if err := p.SetTriggers(t.Context(), owner, []event.Trigger{all, team}); err != nil {
		t.Fatal(err)
	}
	even, odd := event.Sender{Kind: event.FromApp, Name: "even", ID: 8}, event.Sender{Kind: event.FromApp, Name: "odd", ID: 9}
	for _, c := range []struct {
		broker   string
		from     event.Sender
		triggers int
		code     app.Code
	}{
		{"", even, 0, ""}, {"", odd, 1, ""}, {"", key, 1, ""}, {"team", even, 1, ""}, {"team", odd, 0, app.CodeForbidden},
	} {
		r, err := p.Send(t.Context(), c.broker, event.Event{ID: "1", Source: "s", Type: "a"}, c.from)
		if app.CodeOf(err) != c.code || r.Triggers != c.triggers {
			t.Errorf("%s to %q: %+v, %v", c.from.Name, c.broker, r, err)
		}
		if err == nil {
			settled(t, p, r.Number) // what waits is not replayed
		}
	}
	for name, n := range map[string]int{"on-a": 2, "team": 1} {
		if got, err := p.Replay(t.Context(), owner, name, fromMilli(1)); err != nil || got != n {
			t.Errorf("a replay to %s: %d, %v; want %d", name, got, err, n)
		}
	}
	if list, err := p.Brokers(t.Context()); err != nil || !slices.Equal(list[1].Keys, []string{"even", "more"}) || len(list[0].Keys) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	for name, code := range map[string]app.Code{event.DefaultBroker: app.CodeInvalidInput, "nowhere": app.CodeNotFound} {
		if err := p.ShareBroker(t.Context(), name, nil); app.CodeOf(err) != code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What each has of the room is known after a start, and after its events or their broker are gone.
func TestShares(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.db")
	set := func(o *Options) { o.Rights = bySender{} }
	p := opened(t, file, func(http.ResponseWriter, *http.Request) {}, set)
	if err := p.CreateBroker(t.Context(), "team", ""); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := p.Send(t.Context(), "", event.Event{ID: fmt.Sprint(i), Source: "s", Type: "a", Data: make([]byte, 1000)}, key); err != nil {
			t.Fatal(err)
		}
	}
	has := p.shares.of("key laptop")
	if _, err := p.Send(t.Context(), "team", event.Event{ID: "1", Source: "s", Type: "a", Data: make([]byte, 5000)}, key); err != nil {
		t.Fatal(err)
	}
	if with := p.shares.of("key laptop"); has < 3000 || with < has+5000 || with != p.bytes.Load() {
		t.Errorf("%d, with another one %d, all %d", has, with, p.bytes.Load())
	}
	if err := p.DeleteBroker(t.Context(), "team"); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = opened(t, file, func(http.ResponseWriter, *http.Request) {}, set)
	if n := p.shares.of("key laptop"); n != has || p.bytes.Load() != has {
		t.Errorf("%d and %d after a start, want %d", n, p.bytes.Load(), has)
	}
	later := p.clock.now().Add(1)
	if n, err := p.remove(t.Context(), later, later, 100); n != 3 || err != nil || p.shares.of("key laptop") != 0 || p.bytes.Load() != 0 {
		t.Errorf("%d removed, %v; %d left", n, err, p.shares.of("key laptop"))
	}
}
