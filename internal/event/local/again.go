package local

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// RetryDead implements event.Platform.
func (p *Platform) RetryDead(ctx context.Context, of event.Owner, numbers []int64) (n int, err error) {
	text, err := json.Marshal(numbers)
	if err != nil {
		return 0, err
	}
	err = p.w.write(ctx, func(t *tx) error {
		query, args := "UPDATE deliveries SET state = 0, attempts = 0, dead = 0, reason = '', replay = 1, due = ? WHERE state = 3 AND app_id = ?", []any{p.clock.now().UnixMilli(), of.ID}
		if len(numbers) > 0 {
			query += " AND event IN (SELECT value FROM json_each(?))"
			args = append(args, string(text))
		}
		r, err := t.exec(query, args...)
		if err != nil {
			return err
		}
		rows, _ := r.RowsAffected()
		n = int(rows)
		return nil
	}, func() { p.wakeApp(of.ID) })
	return n, err
}

// Discard implements event.Platform.
func (p *Platform) Discard(ctx context.Context, of event.Owner, numbers []int64) (n int, err error) {
	text, err := json.Marshal(numbers)
	if err != nil {
		return 0, err
	}
	err = p.w.write(ctx, func(t *tx) error {
		r, err := t.exec("UPDATE deliveries SET state = ?, reason = 'discarded: ' || reason WHERE state = 3 AND app_id = ? AND (? = 0 OR event IN (SELECT value FROM json_each(?)))", discarded, of.ID, len(numbers), string(text))
		if err != nil {
			return err
		}
		rows, _ := r.RowsAffected()
		n = int(rows)
		return nil
	}, nil)
	return n, err
}

// wakeApp wakes the queues of an app.
func (p *Platform) wakeApp(id int64) {
	for key := range p.fan.Load().keys {
		if key.app == id {
			p.wake(key)
		}
	}
}

// replayPage is how many events a replay looks at in one transaction, and maxReplay how many it queues.
const (
	replayPage = 1000
	maxReplay  = 1_000_000
)

// Replay implements event.Platform.
func (p *Platform) Replay(ctx context.Context, of event.Owner, name string, since time.Time) (int, error) {
	t := p.fan.Load().keys[queueKey{of.ID, name}]
	if t == nil {
		return 0, app.Errorf(app.CodeNotFound, "see the triggers: gitd triggers "+of.App, "the app %s has no trigger %q", of.App, app.Clip(name, 60))
	}
	total := 0
	until := int64(1<<62 - 1) // those that are there now
	if err := p.db.QueryRowContext(ctx, "SELECT coalesce(max(number), 0) + 1 FROM events").Scan(&until); err != nil {
		return 0, err
	}
	for before := until; total < maxReplay; {
		page, err := p.page(ctx, "broker = ? AND accepted >= ?", []any{t.Broker, since.UnixMilli()}, before, replayPage)
		if err != nil || len(page) == 0 {
			return total, err
		}
		before = page[len(page)-1].Number
		var numbers []int64
		for i := range page {
			if t.passes(&page[i].Event) {
				numbers = append(numbers, page[i].Number)
			}
		}
		n, err := p.queueAgain(ctx, t, numbers)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// queueAgain queues events for a trigger, also those that it had. Those that still wait for it are left alone.
func (p *Platform) queueAgain(ctx context.Context, to *trigger, numbers []int64) (n int, err error) {
	err = p.w.write(ctx, func(t *tx) error {
		n = 0
		now := p.clock.now().UnixMilli()
		for _, number := range numbers {
			r, err := t.exec(`INSERT INTO deliveries (event, app, app_id, trigger, state, due, replay) SELECT number, ?, ?, ?, 0, ?, 1 FROM events
				WHERE number = ? AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event = ? AND app_id = ? AND trigger = ? AND state = 0)`, to.App, to.ID, to.Name, now, number, number, to.ID, to.Name)
			if err != nil {
				return err
			}
			added, _ := r.RowsAffected()
			n += int(added)
		}
		return nil
	}, func() { p.wake(to.key()) })
	return n, err
}
