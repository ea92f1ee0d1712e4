package dataplane

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/event"
)

// filterRows are filters in all dialects.
var filterRows = []struct {
	name    string
	filters []event.Filter
}{
	{"none", nil},
	{"exact", []event.Filter{{Exact: map[string]string{"type": "order.created"}}}},
	{"exact-two", []event.Filter{{Exact: map[string]string{"type": "order.created", "source": "/shop"}}}},
	{"exact-extension", []event.Filter{{Exact: map[string]string{"region": "eu"}}}},
	{"prefix", []event.Filter{{Prefix: map[string]string{"type": "order."}}}},
	{"suffix", []event.Filter{{Suffix: map[string]string{"type": ".deleted"}}}},
	{"not", []event.Filter{{Not: &event.Filter{Exact: map[string]string{"type": "order.created"}}}}},
	{"all", []event.Filter{{All: []event.Filter{{Prefix: map[string]string{"type": "order."}}, {Exact: map[string]string{"source": "/shop"}}}}}},
	{"any", []event.Filter{{Any: []event.Filter{{Exact: map[string]string{"source": "/stock"}}, {Exact: map[string]string{"region": "eu"}}}}}},
	{"list", []event.Filter{{Prefix: map[string]string{"type": "order."}}, {Not: &event.Filter{Exact: map[string]string{"region": "eu"}}}}},
	{"cesql", []event.Filter{{CESQL: "type LIKE 'order.%' AND EXISTS region"}}},
	{"cesql-missing", []event.Filter{{CESQL: "region = 'eu'"}}},
	{"cesql-numbers", []event.Filter{{CESQL: "amount > 10"}}},
	{"cesql-function", []event.Filter{{CESQL: "LENGTH(subject) = 3 OR UPPER(source) IN ('/STOCK', '/X')"}}},
}

var filterEvents = []event.Event{
	{ID: "f1", Source: "/shop", Type: "order.created"},
	{ID: "f2", Source: "/shop", Type: "order.deleted", Extensions: map[string]string{"region": "eu"}},
	{ID: "f3", Source: "/stock", Type: "order.created", Extensions: map[string]string{"region": "us", "amount": "11"}},
	{ID: "f4", Source: "/stock", Type: "item.deleted", Subject: "abc", Extensions: map[string]string{"amount": "9"}},
	{ID: "f5", Source: "/shop", Type: "orders", Subject: "abcd", Extensions: map[string]string{"amount": "many"}},
}

// filters compares what is delivered with what event.Compile says.
func (e *Env) filters(t *testing.T) {
	b := &book{all: map[string][]request{}}
	e.Handle(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { b.add(q) }))
	var all []event.Trigger
	want := map[string][]string{} // IDs, by row
	for _, row := range filterRows {
		all = append(all, event.Trigger{Name: row.name, Broker: event.DefaultBroker, Path: "/" + row.name, Filters: row.filters, Delivery: event.Defaults()})
		passes, err := event.Compile(row.filters)
		if err != nil {
			t.Fatal(err)
		}
		for i := range filterEvents {
			if passes(&filterEvents[i]) {
				want[row.name] = append(want[row.name], filterEvents[i].ID)
			}
		}
	}
	if err := e.Platform.SetTriggers(t.Context(), e.Of, all); err != nil {
		t.Fatal(err)
	}
	time.Sleep(e.Settle)
	for _, v := range filterEvents {
		e.send(t, v)
	}
	is := func() map[string][]string {
		out := map[string][]string{}
		for _, v := range filterEvents {
			for _, r := range b.of(v.ID) {
				if name := strings.TrimPrefix(r.path, "/"); !slices.Contains(out[name], v.ID) {
					out[name] = append(out[name], v.ID)
				}
			}
		}
		return out
	}
	e.until(t, "the events reach the triggers that take them", func() bool {
		got := is()
		for _, row := range filterRows {
			if e.Differs["filter "+row.name] == "" && len(got[row.name]) < len(want[row.name]) {
				return false
			}
		}
		return true
	})
	time.Sleep(300 * time.Millisecond)
	got := is()
	for _, row := range filterRows {
		e.check(t, "filter "+row.name, got[row.name], want[row.name])
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if name == "dead" && e.Settle > 0 { // of a trigger of before: such a broker still has what goes to it, and takes that it is gone for a failure
			continue
		}
		if !slices.ContainsFunc(all, func(t event.Trigger) bool { return t.Name == name }) {
			t.Errorf("an event came to %s", name)
		}
	}
}
