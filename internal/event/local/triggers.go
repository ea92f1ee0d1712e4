package local

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// trigger is one that is live.
type trigger struct {
	event.Owner
	event.Trigger
	passes event.Matcher
}

func (t *trigger) key() queueKey { return queueKey{t.ID, t.Name} }

// isLive is the condition, within a transaction, that a trigger is still of the release that is live: those of the fan may have changed since it was read.
const isLive = "EXISTS (SELECT 1 FROM owners WHERE app = ? AND id = ? AND release = ?)"

// owner are the arguments of isLive.
func (t *trigger) owner() []any { return []any{t.App, t.ID, t.Release} }

// fan is which triggers are live. It is not changed after it was published.
type fan struct {
	owners  map[string]event.Owner // by app
	brokers map[string][]*trigger
	keys    map[queueKey]*trigger
}

// with is the fan with these triggers of an app instead of those that it had.
func (f *fan) with(of event.Owner, all []*trigger) *fan {
	n := &fan{owners: maps.Clone(f.owners), brokers: map[string][]*trigger{}, keys: map[queueKey]*trigger{}}
	n.owners[of.App] = of
	keep := func(t *trigger) {
		n.brokers[t.Broker] = append(n.brokers[t.Broker], t)
		n.keys[t.key()] = t
	}
	for _, t := range f.keys {
		if t.App != of.App {
			keep(t)
		}
	}
	for _, t := range all {
		keep(t)
	}
	return n
}

// without is the fan without an app.
func (f *fan) without(of event.Owner) *fan {
	n := f.with(of, nil)
	delete(n.owners, of.App)
	return n
}

func compile(of event.Owner, all []event.Trigger) (list []*trigger, err error) {
	for _, t := range all {
		passes, err := event.Compile(t.Filters)
		if err != nil {
			return nil, fmt.Errorf("the trigger %s of %s: %w", t.Name, of.App, err)
		}
		list = append(list, &trigger{of, t, passes})
	}
	return list, nil
}

// loadTriggers reads what is live. A trigger that cannot be read is reported and left out: what is queued for it stays.
func (p *Platform) loadTriggers(ctx context.Context) error {
	rows, err := p.db.QueryContext(ctx, "SELECT app, id, release, triggers FROM owners")
	if err != nil {
		return err
	}
	defer rows.Close()
	f := &fan{owners: map[string]event.Owner{}}
	for rows.Next() {
		var of event.Owner
		var text string
		if err := rows.Scan(&of.App, &of.ID, &of.Release, &text); err != nil {
			return err
		}
		var all []event.Trigger
		err := json.Unmarshal([]byte(text), &all)
		list, e := compile(of, all)
		if err != nil || e != nil {
			p.o.Log("events: the triggers of %s are left out: %v %v", of.App, err, e)
		}
		f = f.with(of, list)
	}
	p.fan.Store(f)
	for key := range f.keys {
		p.queues[key] = newQueue(p, key)
	}
	return rows.Err()
}

// SetTriggers implements event.Platform.
func (p *Platform) SetTriggers(ctx context.Context, of event.Owner, all []event.Trigger) error {
	if _, had := p.fan.Load().owners[of.App]; !had && len(all) == 0 {
		return nil // most apps get no events: their releases need not wait for a disk
	}
	list, err := compile(of, all)
	if err != nil {
		return err
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.Name
	}
	there, err := json.Marshal(names)
	if err != nil {
		return err
	}
	return p.w.write(ctx, func(t *tx) error {
		var newer int
		if err := t.row("SELECT coalesce(max(release), 0) FROM owners WHERE app = ? AND (id > ? OR id = ? AND release > ?)", []any{of.App, of.ID, of.ID, of.Release}, &newer); err != nil {
			return err
		}
		if newer > 0 {
			return app.Errorf(app.CodeSuperseded, "nothing to do", "the triggers of %s are those of %s already", of.App, app.VersionName(newer))
		}
		if _, err := t.exec("INSERT INTO owners (app, id, release, triggers) VALUES (?, ?, ?, ?) ON CONFLICT (app) DO UPDATE SET id = excluded.id, release = excluded.release, triggers = excluded.triggers",
			of.App, of.ID, of.Release, string(text)); err != nil {
			return err
		}
		_, err := t.exec("UPDATE deliveries SET state = ?, reason = ? WHERE state = ? AND app_id = ? AND trigger NOT IN (SELECT value FROM json_each(?))",
			dead, fmt.Sprintf("%s of %s has no such trigger", app.VersionName(of.Release), of.App), queued, of.ID, string(there))
		return err
	}, func() { p.publish(p.fan.Load().with(of, list)) })
}

// Forget implements event.Platform.
func (p *Platform) Forget(ctx context.Context, of event.Owner) error {
	return p.w.write(ctx, func(t *tx) error {
		if _, err := t.exec("DELETE FROM owners WHERE app = ? AND id = ?", of.App, of.ID); err != nil {
			return err
		}
		_, err := t.exec("UPDATE deliveries SET state = ?, reason = ? WHERE state = ? AND app_id = ?", dead, "the app "+of.App+" was destroyed", queued, of.ID)
		return err
	}, func() {
		if f := p.fan.Load(); f.owners[of.App].ID == of.ID {
			p.publish(f.without(of))
		}
	})
}

// publish makes a fan the one that events go by, and lets its triggers deliver. The writer alone calls it.
func (p *Platform) publish(f *fan) {
	p.fan.Store(f)
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, q := range p.queues {
		if f.keys[key] == nil {
			q.stop()
			delete(p.queues, key)
		}
	}
	for key := range f.keys {
		if p.queues[key] == nil {
			p.queues[key] = newQueue(p, key)
		}
		if p.started {
			p.queues[key].start()
			p.queues[key].wake()
		}
	}
}

// Owners implements event.Platform.
func (p *Platform) Owners(context.Context) (map[string]event.Owner, error) {
	return maps.Clone(p.fan.Load().owners), nil
}

// Triggers implements event.Platform.
func (p *Platform) Triggers(ctx context.Context, name string) ([]event.Live, error) {
	list := []event.Live{}
	for _, t := range p.fan.Load().keys {
		if name != "" && t.App != name {
			continue
		}
		l := event.Live{Owner: t.Owner, Trigger: t.Trigger}
		err := p.db.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM deliveries WHERE app_id = ?1 AND trigger = ?2 AND state = 0), (SELECT count(*) FROM deliveries WHERE app_id = ?1 AND trigger = ?2 AND state = 3)",
			t.ID, t.Name).Scan(&l.Queued, &l.Dead)
		if err != nil && err != sql.ErrNoRows { //nolint:errorlint // it is returned as it is
			return nil, err
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b event.Live) int {
		if c := strings.Compare(a.App, b.App); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list, nil
}
