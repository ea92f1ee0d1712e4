// Package local is brokers on one machine: a durable log in SQLite, with triggers that deliver through the machine's own proxy, so that an app wakes from zero.
package local

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// Options configure a Platform. What is zero has the default that is given.
type Options struct {
	File   string       // the database
	Proxy  http.Handler // takes requests to apps by their host
	Domain string       // apps answer under NAME.Domain
	// Away says that an app takes no requests, since it is stopped or in maintenance: its events wait. nil: none is.
	Away func(app string) bool
	Log  func(format string, args ...any)

	Metrics telemetry.Events
	Rights  event.Rights // nil: each app gets all events, and has all of the room

	MaxBytes   int64         // of all events that are kept; 2 GiB, of which one sender may have half
	Keep       time.Duration // how long events are kept that were delivered; 72 h
	KeepDead   time.Duration // how long dead letters are kept, and events wait for an app that is away; 30 days
	Recognised time.Duration // how long a second event with the same sender, source and id is recognised at least; 10 minutes
	Concurrent int           // requests of one trigger at a time; 32
	UnderWay   int64         // bytes of events and answers of the deliveries under way of one app; 64 MiB
	MaxReplay  int           // deliveries that may wait for one trigger after a replay; 100,000
}

func (o Options) withDefaults() Options {
	o.MaxBytes = cmp.Or(o.MaxBytes, 2<<30)
	o.Keep = cmp.Or(o.Keep, 72*time.Hour)
	o.KeepDead = cmp.Or(o.KeepDead, 30*24*time.Hour)
	o.Recognised = cmp.Or(o.Recognised, 10*time.Minute)
	o.Concurrent = cmp.Or(o.Concurrent, 32)
	o.UnderWay = cmp.Or(o.UnderWay, 64<<20)
	o.MaxReplay = cmp.Or(o.MaxReplay, 100_000)
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	return o
}

// Platform implements event.Platform.
type Platform struct {
	o       Options
	db      *sql.DB // reads
	wdb     *sql.DB
	w       *writer
	clock   clock
	ctx     context.Context // ends with Stop: requests under way are cut off
	cancel  context.CancelFunc
	going   context.Context // ends when Stop begins
	halt    context.CancelFunc
	tasks   sync.WaitGroup
	fan     atomic.Pointer[fan]
	recent  recent
	bytes   atomic.Int64 // of all events that are kept
	shares  shares
	given   given
	evicts  eviction
	tails   tails
	outside http.RoundTripper // to URLs that triggers name
	under   underWay

	mu sync.Mutex
	// mu guards the following.
	queues  map[queueKey]*queue
	started bool
}

var _ event.Platform = (*Platform)(nil)

// Open opens the brokers, and delivers what an earlier process has not, once Start is called.
func Open(ctx context.Context, o Options) (*Platform, error) {
	o = o.withDefaults()
	write, read, err := open(o.File)
	if err != nil {
		return nil, explain(err)
	}
	p := &Platform{o: o, db: read, wdb: write, queues: map[queueKey]*queue{}}
	if p.w, err = newWriter(write); err != nil {
		return nil, errors.Join(err, read.Close(), write.Close())
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.going, p.halt = context.WithCancel(p.ctx)
	p.recent.most, p.outside, p.under.most = recentBytes, newOutside(), o.UnderWay
	if err := p.load(ctx); err != nil {
		_ = p.Close()
		return nil, explain(err)
	}
	return p, nil
}

// load reads what is live, and sets the clock.
func (p *Platform) load(ctx context.Context) error {
	if err := p.recount(ctx); err != nil {
		return err
	}
	if err := p.loadGiven(ctx); err != nil {
		return err
	}
	if err := p.setClock(ctx); err != nil {
		return err
	}
	return p.loadTriggers(ctx)
}

// Ready implements event.Platform: on one machine, nothing can be missing.
func (p *Platform) Ready(context.Context, ...event.Trigger) error { return nil }

// Start begins to deliver, and to remove what is old.
func (p *Platform) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = true
	for _, q := range p.queues {
		q.start()
	}
	p.tasks.Go(p.clean)
}

// grace is how long deliveries under way may take when the Platform stops.
const grace = 10 * time.Second

// Stop begins no further delivery, and waits for those under way; what takes too long is begun again by the next process. Events are accepted until Close.
func (p *Platform) Stop() error {
	p.halt()
	done := make(chan struct{})
	go func() { p.tasks.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(grace):
	}
	p.cancel()
	p.tasks.Wait()
	return nil
}

// Close is Stop, and closes the database.
func (p *Platform) Close() error {
	_ = p.Stop() // it never fails
	p.w.close()
	return errors.Join(p.db.Close(), p.wdb.Close())
}

// clock is the time of day, which never goes back while the process runs.
type clock struct{ began time.Time }

func (c *clock) now() time.Time { return c.began.Add(time.Since(c.began)) }

// setClock starts the clock. Where the machine's has gone back since the last change, the due times go back as much: what waits for a
// retry would wait for the difference as well. What says how late it was goes back too, so that the next start does not find the difference again.
func (p *Platform) setClock(ctx context.Context) error {
	p.clock.began = time.Now()
	var last int64
	if err := p.db.QueryRowContext(ctx, "SELECT max((SELECT coalesce(max(accepted), 0) FROM events WHERE number = (SELECT max(number) FROM events)), (SELECT coalesce(max(at), 0) FROM deliveries WHERE state = ?))", queued).Scan(&last); err != nil {
		return err
	}
	back := last - p.clock.began.UnixMilli()
	if back <= 0 {
		return nil
	}
	p.o.Log("events: the clock has gone back by %s", time.Duration(back)*time.Millisecond)
	return p.w.write(ctx, func(t *tx) error {
		now := last - back
		if _, err := t.exec("UPDATE deliveries SET due = due - ?, at = min(at, ?) WHERE state = ?", back, now, queued); err != nil {
			return err
		}
		_, err := t.exec("UPDATE events SET accepted = min(accepted, ?) WHERE number = (SELECT max(number) FROM events)", now)
		return err
	}, nil)
}
