package project

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/schedule"
)

// triggerTable is one of [[io.gitd.triggers]].
type triggerTable struct {
	Name       string  `toml:"name"`
	Broker     string  `toml:"broker"`
	Filter     any     `toml:"filter"` // a table with one of Knative's dialects, or a list of them
	Path       string  `toml:"path"`
	Retry      *int64  `toml:"retry"`
	Policy     string  `toml:"backoff-policy"`
	Delay      *string `toml:"backoff-delay"`
	Timeout    *string `toml:"timeout"`
	DeadLetter string  `toml:"dead-letter"`
}

// triggers sets what the descriptor says of triggers. lines are where each of them begins.
func (d *Descriptor) triggers(tables []triggerTable, lines []int) error {
	if len(tables) > event.MostTriggers {
		return bad("io.gitd.triggers: there are %d, and at most %d can be", len(tables), event.MostTriggers)
	}
	for i, table := range tables {
		t, err := table.trigger()
		switch {
		case err != nil:
		case slices.ContainsFunc(d.Triggers, func(o event.Trigger) bool { return o.Name == t.Name }):
			err = fmt.Errorf("there is another of that name: give each a name of its own")
		case slices.ContainsFunc(d.Schedules, func(o schedule.Schedule) bool { return o.Path != "" && o.Name == t.Name }):
			err = fmt.Errorf("a schedule with a path has that name: give each a name of its own")
		}
		if err != nil {
			return bad("%sio.gitd.triggers %q: %v", at(lines, i), app.Clip(cmp.Or(table.Name, table.Path), 60), err)
		}
		d.Triggers = append(d.Triggers, t)
	}
	return nil
}

func (table triggerTable) trigger() (t event.Trigger, err error) {
	t = event.Trigger{Broker: cmp.Or(table.Broker, event.DefaultBroker), Path: cmp.Or(table.Path, "/"), Delivery: event.Defaults()}
	t.Name = cmp.Or(table.Name, nameOfPath(t.Path))
	if t.Filters, err = event.ReadFilters(table.Filter); err != nil {
		return t, err
	}
	delivery := &t.Delivery
	if table.Retry != nil {
		delivery.Retry = int(min(max(*table.Retry, -1), event.MaxRetry+1))
	}
	delivery.Policy = cmp.Or(event.Policy(table.Policy), delivery.Policy)
	if table.Delay != nil {
		if delivery.Delay, err = event.ParseDuration(*table.Delay); err != nil {
			return t, fmt.Errorf("backoff-delay: %w", err)
		}
	}
	if table.Timeout != nil {
		if delivery.Timeout, err = event.ParseDuration(*table.Timeout); err != nil {
			return t, fmt.Errorf("timeout: %w", err)
		}
	}
	delivery.DeadLetter = table.DeadLetter
	return t, t.Check()
}

// nameOfPath is the name of a trigger that has none: "/orders/new" is orders-new, and "/" is events.
func nameOfPath(path string) string {
	path, _, _ = strings.Cut(strings.ToLower(path), "?")
	name := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, strings.Trim(path, "/"))
	return cmp.Or(strings.Trim(name[:min(len(name), 40)], "-"), "events")
}
