package local

import (
	"context"
	"maps"
	"sync"
	"time"
)

// queueKey names the queue of a trigger.
type queueKey struct {
	app     int64
	trigger string
}

// queue delivers what is due of one trigger, so many at a time. Each trigger has its own: one whose app fails or hangs does not delay others.
type queue struct {
	p    *Platform
	key  queueKey
	poke chan struct{}

	mu sync.Mutex
	// mu guards the following.
	cancel context.CancelFunc // nil until it was started
	active map[int64]struct{} // deliveries under way, and those whose end is not on disk yet
	window int                // how many may be under way: fewer while they fail
}

func newQueue(p *Platform, key queueKey) *queue {
	return &queue{p: p, key: key, poke: make(chan struct{}, 1), active: map[int64]struct{}{}, window: p.o.Concurrent}
}

// start begins to deliver, unless it has.
func (q *queue) start() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.cancel != nil || q.p.going.Err() != nil {
		return
	}
	var ctx context.Context
	ctx, q.cancel = context.WithCancel(q.p.going)
	q.p.tasks.Go(func() { q.run(ctx) })
}

// stop begins no further delivery; those under way end.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.cancel != nil {
		q.cancel()
	}
}

// wake has the queue look for what is due.
func (q *queue) wake() {
	select {
	case q.poke <- struct{}{}:
	default:
	}
}

// wake wakes the queue of a trigger, if it is there.
func (p *Platform) wake(key queueKey) {
	p.mu.Lock()
	q := p.queues[key]
	p.mu.Unlock()
	if q != nil {
		q.wake()
	}
}

// lookAgain is how often a queue looks for what is due although nothing told it to.
const lookAgain = time.Minute

func (q *queue) run(ctx context.Context) {
	for ctx.Err() == nil {
		if q.p.away(q.key) {
			q.pause(ctx, lookAway)
			continue
		}
		list, next, err := q.due(ctx)
		if err != nil {
			if ctx.Err() == nil {
				q.p.o.Log("events: what is due cannot be read, and is looked for again: %v", err)
			}
			next = time.Second
		}
		for _, d := range list {
			if !q.enter(ctx, d.number) {
				return
			}
			q.p.tasks.Go(func() {
				if d.hold = q.p.under.begin(ctx, q.key.app, d.size); d.hold == nil {
					q.leave(d.number, true) // it was not tried
					return
				}
				ok := q.deliver(d)
				d.hold.end()
				q.leave(d.number, ok)
			})
		}
		if len(list) > 0 {
			continue
		}
		q.pause(ctx, next)
	}
}

// pause waits until the queue is woken, at most for so long.
func (q *queue) pause(ctx context.Context, most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-q.poke:
	case <-t.C:
	case <-ctx.Done():
	}
}

// lookAway is how often a queue asks whether its app is still away.
const lookAway = 500 * time.Millisecond

// away says whether the app of a trigger takes no requests: what is due for it waits, and no attempt counts.
func (p *Platform) away(key queueKey) bool {
	if p.o.Away == nil {
		return false
	}
	t := p.fan.Load().keys[key]
	return t != nil && p.o.Away(t.App)
}

// enter waits until one more delivery may begin.
func (q *queue) enter(ctx context.Context, number int64) bool {
	for {
		q.mu.Lock()
		if len(q.active) < q.window {
			q.active[number] = struct{}{}
			q.mu.Unlock()
			return ctx.Err() == nil
		}
		q.mu.Unlock()
		select {
		case <-q.poke:
		case <-ctx.Done():
			return false
		}
	}
}

// leave notes how a delivery ended: while they fail, fewer begin at a time.
func (q *queue) leave(number int64, ok bool) {
	q.mu.Lock()
	delete(q.active, number)
	if ok {
		q.window = min(q.window+1, q.p.o.Concurrent)
	} else {
		q.window = max(q.window/2, 1)
	}
	q.mu.Unlock()
	q.wake()
}

// due returns what is due now and not under way; where that is nothing, how long until something is.
func (q *queue) due(ctx context.Context) (list []*delivery, next time.Duration, err error) {
	now := q.p.clock.now().UnixMilli()
	q.mu.Lock()
	under := maps.Clone(q.active) // before the query: one that ends meanwhile is still queued in what the query sees
	q.mu.Unlock()
	most := len(under) + 2*q.p.o.Concurrent
	rows, err := q.p.db.QueryContext(ctx, `SELECT number, event, app, attempts, dead, failed_sink, failed_status, failed_error, coalesce((SELECT size FROM events e WHERE e.number = event), 0) FROM deliveries
		WHERE app_id = ? AND trigger = ? AND state = 0 AND due <= ? ORDER BY due LIMIT ?`, q.key.app, q.key.trigger, now, most)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		d := &delivery{key: q.key}
		if err := rows.Scan(&d.number, &d.event, &d.app, &d.attempts, &d.dead, &d.failed.Destination, &d.failed.Status, &d.failed.Data, &d.size); err != nil {
			return nil, 0, err
		}
		if _, yes := under[d.number]; !yes {
			list = append(list, d)
		}
	}
	if err := rows.Err(); err != nil || len(list) > 0 {
		return list, 0, err
	}
	var at int64
	err = q.p.db.QueryRowContext(ctx, "SELECT coalesce(min(due), 0) FROM deliveries WHERE app_id = ? AND trigger = ? AND state = 0 AND due > ?", q.key.app, q.key.trigger, now).Scan(&at)
	if err != nil || at == 0 {
		return nil, lookAgain, err
	}
	return nil, min(lookAgain, max(time.Duration(at-q.p.clock.now().UnixMilli())*time.Millisecond, time.Millisecond)), nil
}
