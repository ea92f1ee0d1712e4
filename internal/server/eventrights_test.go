package server

import (
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/store"
)

// An app gets the events of those whom its owner may see, and a broker that was given to some is for them.
func TestEventRights(t *testing.T) {
	s, err := store.Open(filepath.Join(t.TempDir(), "gitd.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e := &eventRights{store: s, log: t.Logf}
	if err := e.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	ids := map[string]int64{}
	for i, k := range []app.Key{{Name: "ann"}, {Name: "ben"}, {Name: "boss", Admin: true}} {
		k.Public, k.Fingerprint = k.Name, string(rune('a'+i))
		if err := s.AddKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{k.Name + "-one", k.Name + "-two"} {
			a, err := s.CreateApp(t.Context(), name, k.Name)
			if err != nil {
				t.Fatal(err)
			}
			ids[name] = a.ID
		}
	}
	if err := s.AddKey(t.Context(), app.Key{Name: "ci", Public: "ci", Fingerprint: "z", Apps: []app.Scope{{Name: "ann-one"}}}); err != nil {
		t.Fatal(err)
	}
	from := func(kind event.SenderKind, name string) event.Sender {
		return event.Sender{Kind: kind, Name: name, ID: ids[name]}
	}
	for _, name := range []string{"root-one", "root-two"} {
		a, err := s.CreateAppAs(t.Context(), app.Root, name)
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = a.ID
	}
	for _, c := range []struct {
		app  string
		from event.Sender
		keys []string
		gets bool
	}{
		{"ann-one", from(event.FromApp, "ann-one"), nil, true},
		{"ann-one", from(event.FromApp, "ann-two"), nil, true},
		{"ann-one", from(event.FromReply, "ann-two"), nil, true},
		{"ann-one", from(event.FromApp, "ben-one"), nil, false},
		{"ann-one", from(event.FromSource, "ben-one"), nil, false},
		{"ann-one", from(event.FromSource, "ann-two"), nil, true},
		{"ann-one", from(event.FromSource, "the server"), nil, false},
		{"ann-one", from(event.FromApp, "boss-one"), nil, false},
		{"boss-one", from(event.FromApp, "ann-one"), nil, true},
		{"boss-one", from(event.FromSource, "the server"), nil, true},
		{"ann-one", from(event.FromKey, "ann"), nil, true},
		{"ann-one", from(event.FromKey, "ci"), nil, true},
		{"ann-two", from(event.FromKey, "ci"), nil, false},
		{"ann-one", from(event.FromKey, "ben"), nil, false},
		{"ann-one", from(event.FromKey, "boss"), nil, true},
		{"ann-one", from(event.FromKey, "root"), nil, true},
		{"ann-one", from(event.FromKey, "gone"), nil, false},
		{"ann-one", from(event.FromToken, "ci"), nil, true},
		{"gone", from(event.FromToken, "ci"), nil, false},
		{"root-one", from(event.FromSource, "root-one"), nil, true},
		{"root-one", from(event.FromApp, "root-two"), nil, true},
		{"root-one", from(event.FromApp, "ann-one"), nil, false},
		{"root-one", from(event.FromApp, "gone"), nil, false},
		{"root-one", from(event.FromKey, "root"), nil, true},
		{"root-one", from(event.FromToken, "ci"), nil, true},
		{"root-one", from(event.FromKey, "ann"), nil, false},
		{"ann-one", from(event.FromApp, "root-one"), nil, false},
		{"boss-one", from(event.FromApp, "root-one"), nil, true},
		{"ann-one", from(event.FromApp, "ben-one"), []string{"ann", "ben"}, true},
		{"ann-one", from(event.FromApp, "ben-one"), []string{"ben"}, false},
		{"ann-one", from(event.FromApp, "ann-one"), []string{"ben"}, true}, // what it sent itself
		{"boss-one", from(event.FromApp, "ben-one"), []string{"ben"}, true},
	} {
		if got := e.Gets(ids[c.app], c.from, c.keys); got != c.gets {
			t.Errorf("%s gets what %s %s sends, to %q: %t", c.app, c.from.Kind, c.from.Name, c.keys, got)
		}
	}
	team := []string{"ann"}
	for _, c := range []struct {
		from  event.Sender
		keys  []string
		sends bool
		payer string
	}{
		{from(event.FromKey, "ann"), team, true, "ann"}, {from(event.FromKey, "ben"), team, false, "ben"}, {from(event.FromKey, "boss"), team, true, "boss"},
		{from(event.FromKey, "ben"), nil, true, "ben"}, {from(event.FromApp, "ann-one"), team, true, "ann"}, {from(event.FromApp, "ben-one"), team, false, "ben"},
		{from(event.FromSource, "ben-one"), team, false, "ben"}, {from(event.FromToken, "ci"), team, true, ""}, {from(event.FromSource, "the server"), team, true, ""},
	} {
		if got := e.Sends(c.from, c.keys); got != c.sends || e.Payer(c.from) != c.payer {
			t.Errorf("%s %s to %q: %t, %q pays", c.from.Kind, c.from.Name, c.keys, got, e.Payer(c.from))
		}
	}
	if err := s.RemoveKey(t.Context(), "boss"); err != nil {
		t.Fatal(err)
	}
	if err := e.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e.Gets(ids["boss-one"], from(event.FromApp, "ann-one"), nil) {
		t.Error("an app of a key that was removed gets what that key could read")
	}
}
