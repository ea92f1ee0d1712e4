package local

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"
)

// How often, and how many at a time, what is old is removed.
const (
	cleanEvery = time.Minute
	cleanGroup = 500
)

// clean removes what is old, until the Platform is closed.
func (p *Platform) clean() {
	for {
		if err := p.cleanOnce(p.going); err != nil && p.going.Err() == nil {
			p.o.Log("events: remove old ones: %v", err)
		}
		select {
		case <-time.After(cleanEvery):
		case <-p.going.Done():
			return
		}
	}
}

func (p *Platform) cleanOnce(ctx context.Context) error {
	if err := p.sweep(ctx); err != nil {
		return err
	}
	now := p.clock.now()
	if err := p.giveUp(ctx, now.Add(-p.o.KeepDead)); err != nil {
		return err
	}
	for {
		n, err := p.remove(ctx, now.Add(-p.o.Keep), now.Add(-p.o.KeepDead), cleanGroup)
		if err != nil || n < cleanGroup {
			return err
		}
	}
}

// sweep makes dead letters of what waits for triggers that are gone: no queue takes it. A trigger that is live and cannot be read is there.
func (p *Platform) sweep(ctx context.Context) error {
	var key queueKey
	for {
		err := p.db.QueryRowContext(ctx, "SELECT app_id, trigger FROM deliveries WHERE state = 0 AND (app_id, trigger) > (?, ?) ORDER BY app_id, trigger LIMIT 1", key.app, key.trigger).Scan(&key.app, &key.trigger)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		for n := cleanGroup; n == cleanGroup && p.fan.Load().keys[key] == nil; {
			if err := p.w.write(ctx, func(t *tx) error {
				swept, err := t.count(`UPDATE deliveries SET state = ?, reason = 'its trigger is gone' WHERE number IN (SELECT number FROM deliveries WHERE state = 0 AND app_id = ?2 AND trigger = ?3 LIMIT ?4)
					AND NOT EXISTS (SELECT 1 FROM owners WHERE owners.id = ?2 AND NOT json_valid(triggers))
					AND NOT EXISTS (SELECT 1 FROM owners, json_each(CASE WHEN json_valid(triggers) THEN triggers ELSE '[]' END) t WHERE owners.id = ?2 AND t.value ->> '$.name' = ?3)`,
					dead, key.app, key.trigger, cleanGroup)
				n = swept
				return err
			}, nil); err != nil {
				return err
			}
		}
	}
}

// giveUp makes dead letters of what has waited since before a time for apps that are away.
func (p *Platform) giveUp(ctx context.Context, old time.Time) error {
	for key, t := range p.fan.Load().keys {
		for n := cleanGroup; n == cleanGroup && p.away(key); {
			if err := p.w.write(ctx, func(w *tx) error {
				gone, err := w.count(`UPDATE deliveries SET state = ?, reason = ? WHERE number IN (SELECT d.number FROM deliveries d JOIN events e ON e.number = d.event
					WHERE d.state = 0 AND d.app_id = ? AND d.trigger = ? AND e.accepted < ? LIMIT ?)`,
					dead, "it has waited for too long: the app "+t.App+" is stopped or in maintenance", key.app, key.trigger, old.UnixMilli(), cleanGroup)
				n = gone
				return err
			}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayGo are the events that came in before a time, of which nothing waits, and nothing has died after another.
const mayGo = "accepted < ? AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event = e.number AND (state = 0 OR state = 3 AND died >= ?))"

// remove removes the oldest events: those that came in before done and of which nothing waits or is dead, and those of which all that is dead died before
// old. They are looked for outside of the writer: where most wait, it takes long.
func (p *Platform) remove(ctx context.Context, done, old time.Time, most int) (n int, err error) {
	numbers, err := p.mayGo(ctx, done, old, most)
	if err != nil || len(numbers) == 0 {
		return 0, err
	}
	var bytes int64
	paid := map[string]int64{}
	err = p.w.write(ctx, func(t *tx) error {
		n, bytes = 0, 0
		clear(paid)
		for _, number := range numbers {
			var broker, payer string
			var size int64
			err := t.row("SELECT broker, payer, size FROM events e WHERE number = ? AND "+mayGo, []any{number, done.UnixMilli(), old.UnixMilli()}, &broker, &payer, &size)
			if errors.Is(err, sql.ErrNoRows) { // it waits again, or is gone
				continue
			}
			if err != nil {
				return err
			}
			if _, err := t.exec("DELETE FROM events WHERE number = ?", number); err != nil {
				return err
			}
			if _, err := t.exec("UPDATE brokers SET events = events - 1, bytes = bytes - ? WHERE name = ?", size, broker); err != nil {
				return err
			}
			if err := t.pay(payer, -size); err != nil {
				return err
			}
			n++
			bytes += size
			paid[payer] += size
		}
		return nil
	}, func() {
		p.bytes.Add(-bytes)
		for payer, n := range paid {
			p.shares.add(payer, -n)
		}
	})
	return n, err
}

// mayGo returns the oldest events that may go.
func (p *Platform) mayGo(ctx context.Context, done, old time.Time, most int) (list []int64, err error) {
	rows, err := p.db.QueryContext(ctx, "SELECT number FROM events e INDEXED BY events_age WHERE "+mayGo+" ORDER BY number LIMIT ?", done.UnixMilli(), old.UnixMilli(), most)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, rows.Err()
}

// eviction looks for what may go, one at a time.
type eviction struct {
	mu    sync.Mutex
	pause time.Time // until then it does not look again: nothing was found
}

// evictShare is how many times as long as it looks in vain it does not look again.
const evictShare = 20

// evict removes delivered events, the oldest first, until a payer has room for size bytes, or nothing more may go.
func (p *Platform) evict(ctx context.Context, payer string, size int64) error {
	p.evicts.mu.Lock()
	defer p.evicts.mu.Unlock()
	for p.fits(payer, size) != nil {
		now := p.clock.now()
		if now.Before(p.evicts.pause) {
			return nil
		}
		n, err := p.remove(ctx, now.Add(-p.o.Recognised), now.Add(-p.o.KeepDead), cleanGroup)
		if err != nil {
			return err
		}
		if n == 0 {
			end := p.clock.now()
			p.evicts.pause = end.Add(min(evictShare*end.Sub(now), cleanEvery))
		}
	}
	return nil
}
