package local

import (
	"context"
	"database/sql"
	"errors"
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
		for n := int64(cleanGroup); n == cleanGroup && p.fan.Load().keys[key] == nil; {
			if err := p.w.write(ctx, func(t *tx) error {
				r, err := t.exec(`UPDATE deliveries SET state = ?, reason = 'its trigger is gone' WHERE number IN (SELECT number FROM deliveries WHERE state = 0 AND app_id = ?2 AND trigger = ?3 LIMIT ?4)
					AND NOT EXISTS (SELECT 1 FROM owners WHERE owners.id = ?2 AND NOT json_valid(triggers))
					AND NOT EXISTS (SELECT 1 FROM owners, json_each(CASE WHEN json_valid(triggers) THEN triggers ELSE '[]' END) t WHERE owners.id = ?2 AND t.value ->> '$.name' = ?3)`,
					dead, key.app, key.trigger, cleanGroup)
				if err == nil {
					n, err = r.RowsAffected()
				}
				return err
			}, nil); err != nil {
				return err
			}
		}
	}
}

// remove removes the oldest events: those that came in before done and of which nothing waits or is dead, and those of which all that is dead died before old.
func (p *Platform) remove(ctx context.Context, done, old time.Time, most int) (n int, err error) {
	var bytes int64
	err = p.w.write(ctx, func(t *tx) error {
		n, bytes = 0, 0
		numbers, err := t.numbers(`SELECT number FROM events e WHERE accepted < ? AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event = e.number AND (state = 0 OR state = 3 AND died >= ?)) ORDER BY number LIMIT ?`,
			done.UnixMilli(), old.UnixMilli(), most)
		if err != nil {
			return err
		}
		for _, number := range numbers {
			var broker string
			var size int64
			if err := t.row("SELECT broker, size FROM events WHERE number = ?", []any{number}, &broker, &size); err != nil {
				return err
			}
			if _, err := t.exec("DELETE FROM events WHERE number = ?", number); err != nil {
				return err
			}
			if _, err := t.exec("UPDATE brokers SET events = events - 1, bytes = bytes - ? WHERE name = ?", size, broker); err != nil {
				return err
			}
			n++
			bytes += size
		}
		return nil
	}, func() { p.bytes.Add(-bytes) })
	return n, err
}

// evict removes delivered events, the oldest first, until there is room for size bytes, or nothing more may go.
func (p *Platform) evict(ctx context.Context, size int64) error {
	now := p.clock.now()
	for p.bytes.Load()+size > p.o.MaxBytes {
		n, err := p.remove(ctx, now.Add(-p.o.Recognised), now.Add(-p.o.KeepDead), cleanGroup)
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// recount sets how many bytes are kept.
func (p *Platform) recount(ctx context.Context) error {
	var bytes int64
	return p.w.write(ctx, func(t *tx) error {
		return t.row("SELECT coalesce(sum(bytes), 0) FROM brokers", nil, &bytes)
	}, func() { p.bytes.Store(bytes) })
}

// numbers returns the one column of a query's rows.
func (t *tx) numbers(query string, args ...any) (list []int64, err error) {
	s, err := t.prepared(query)
	if err != nil {
		return nil, err
	}
	rows, err := s.Query(args...)
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
