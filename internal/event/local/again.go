package local

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
)

// liveNames are, within a transaction, the triggers of an app that are live.
const liveNames = "(SELECT t.value ->> '$.name' FROM owners, json_each(owners.triggers) t WHERE owners.app = ? AND owners.id = ? AND t.type = 'object')"

// RetryDead implements event.Platform. A dead letter whose trigger is gone stays one: no queue would take it.
func (p *Platform) RetryDead(ctx context.Context, of event.Owner, numbers []int64) (n int, err error) {
	text, err := json.Marshal(numbers)
	if err != nil {
		return 0, err
	}
	where, args := " WHERE state = 3 AND app_id = ? AND (? = 0 OR event IN (SELECT value FROM json_each(?)))", []any{of.ID, len(numbers), string(text), of.App, of.ID}
	var left int
	var gone string
	err = p.w.write(ctx, func(t *tx) error {
		if err := t.row("SELECT count(*), coalesce(group_concat(DISTINCT trigger), '') FROM deliveries"+where+" AND trigger NOT IN "+liveNames, args, &left, &gone); err != nil {
			return err
		}
		rows, err := t.count("UPDATE deliveries SET state = 0, attempts = 0, dead = 0, reason = '', replay = 1, due = ?"+where+" AND trigger IN "+liveNames, append([]any{p.clock.now().UnixMilli()}, args...)...)
		n = rows
		return err
	}, func() { p.wakeApp(of.ID) })
	if err == nil && left > 0 {
		err = app.Errorf(app.CodeNotFound, "push a release that has them, or discard what is left: gitd events discard "+of.App+" EVENT...",
			"%d queued for delivery, %d left: the app %s has no triggers any more that are called %s", n, left, of.App, app.Clip(strings.ReplaceAll(gone, ",", ", "), 200))
	}
	return n, err
}

// Discard implements event.Platform.
func (p *Platform) Discard(ctx context.Context, of event.Owner, numbers []int64) (n int, err error) {
	text, err := json.Marshal(numbers)
	if err != nil {
		return 0, err
	}
	err = p.w.write(ctx, func(t *tx) error {
		rows, err := t.count("UPDATE deliveries SET state = ?, reason = 'discarded: ' || reason WHERE state = 3 AND app_id = ? AND (? = 0 OR event IN (SELECT value FROM json_each(?)))", discarded, of.ID, len(numbers), string(text))
		n = rows
		return err
	}, nil)
	return n, err
}

// RetryRefused implements event.Platform: what is accepted is in the broker.
func (p *Platform) RetryRefused(context.Context, string, []int64) (int, error) { return 0, nil }

// DiscardRefused implements event.Platform.
func (p *Platform) DiscardRefused(context.Context, string, []int64) (int, error) { return 0, nil }

// wakeApp wakes the queues of an app.
func (p *Platform) wakeApp(id int64) {
	for key := range p.fan.Load().keys {
		if key.app == id {
			p.wake(key)
		}
	}
}

// replayPage is how many events a replay looks at in one transaction.
const replayPage = 1000

// Replay implements event.Platform. The triggers may change while it goes on: then it goes on by those that are live.
func (p *Platform) Replay(ctx context.Context, of event.Owner, name string, since time.Time) (total int, err error) {
	var before int64 // those that are there now
	if err := p.db.QueryRowContext(ctx, "SELECT coalesce(max(number), 0) + 1 FROM events").Scan(&before); err != nil {
		return 0, err
	}
	for {
		t := p.fan.Load().keys[queueKey{of.ID, name}]
		if t == nil {
			return total, app.Errorf(app.CodeNotFound, "see the triggers: gitd triggers "+of.App, "the app %s has no trigger %q", of.App, app.Clip(name, 60))
		}
		page, err := p.page(ctx, "broker = ? AND accepted >= ?", []any{t.Broker, since.UnixMilli()}, before, replayPage)
		if err != nil || len(page) == 0 {
			return total, err
		}
		var numbers []int64
		for i := range page {
			if t.passes(&page[i].Event) && p.gets(t, t.Broker, page[i].From) {
				numbers = append(numbers, page[i].Number)
			}
		}
		n, err := p.queueAgain(ctx, t, numbers)
		if errors.Is(err, errStale) {
			continue
		}
		if total += n; err != nil {
			return total, err
		}
		before = page[len(page)-1].Number
	}
}

// queueAgain queues events for a trigger, also those that it had. Those that still wait for it are left alone. What became of an earlier replay of one is
// not kept: there would be as many rows as replays.
func (p *Platform) queueAgain(ctx context.Context, to *trigger, numbers []int64) (n int, err error) {
	full := false
	err = p.w.write(ctx, func(t *tx) error {
		n, full = 0, false
		var live bool
		var waiting int
		if err := t.row("SELECT "+isLive, to.owner(), &live); err != nil {
			return err
		}
		if !live {
			return errStale
		}
		if err := t.row("SELECT count(*) FROM deliveries WHERE app_id = ? AND trigger = ? AND state = 0", []any{to.ID, to.Name}, &waiting); err != nil {
			return err
		}
		now := p.clock.now().UnixMilli()
		for _, number := range numbers {
			if full = waiting+n >= p.o.MaxReplay; full {
				return nil
			}
			if _, err := t.exec("DELETE FROM deliveries WHERE event = ? AND app_id = ? AND trigger = ? AND replay = 1 AND state <> 0", number, to.ID, to.Name); err != nil {
				return err
			}
			added, err := t.count(`INSERT INTO deliveries (event, app, app_id, trigger, state, due, replay) SELECT number, ?, ?, ?, 0, ?, 1 FROM events
				WHERE number = ? AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event = ? AND app_id = ? AND trigger = ? AND state = 0)`, to.App, to.ID, to.Name, now, number, number, to.ID, to.Name)
			if err != nil {
				return err
			}
			n += added
		}
		return nil
	}, func() { p.wake(to.key()) })
	if err == nil && full {
		err = app.Errorf(app.CodeLimitExceeded, "wait until they are delivered, see gitd triggers "+to.App+", and replay a shorter time",
			"%d events wait for the trigger %s, as many as may after a replay: the newest are queued, and the older ones are not", p.o.MaxReplay, to.Name)
	}
	return n, err
}
