package local

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/gitd-io/gitd/internal/event"
)

// What waits for one that follows the events, at most.
const (
	tailBuffer = 256     // events
	tailBytes  = 4 << 20 // of them, beyond the first
)

// tails are those who follow the events.
type tails struct {
	mu sync.Mutex
	// mu guards the following.
	all map[*tail]struct{}
}

type tail struct {
	query         event.Query
	passes        event.Matcher
	events        chan event.Record
	bytes, missed int // guarded by tails.mu
}

// whom are those who follow the events and see this one. It is asked before the event is written: a filter may take long, and all wait for the writer.
func (t *tails) whom(a *accept) (out []*tail) {
	t.mu.Lock()
	all := slices.Collect(maps.Keys(t.all))
	t.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	r := a.record()
	for _, f := range all {
		if f.query.Sees(&r) && f.passes(&r.Event) {
			out = append(out, f)
		}
	}
	return out
}

// record is what those who follow see of an event.
func (a *accept) record() event.Record {
	r := event.Record{Number: a.receipt.Number, Broker: a.broker, From: a.from, Accepted: a.at.UTC(), Event: a.event.ForApp()}
	for _, to := range a.triggers {
		r.Deliveries = append(r.Deliveries, event.DeliveryRecord{App: to.App, AppID: to.ID, Trigger: to.Name, State: event.StateQueued})
	}
	return r
}

func (t *tails) tell(a *accept) {
	if len(a.follow) == 0 {
		return
	}
	r := a.record()
	size := r.Event.Size() + overhead
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range a.follow {
		if f.bytes > 0 && f.bytes+size > tailBytes || len(f.events) == cap(f.events) {
			f.missed++
			continue
		}
		f.bytes += size
		f.events <- r // there is room: tell alone sends, in turn
	}
}

// next notes that an event was taken out of what waits, and returns how many were left out before it.
func (t *tails) next(f *tail, r *event.Record) (missed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.bytes -= r.Event.Size() + overhead
	missed, f.missed = f.missed, 0
	return missed
}

// Tail implements event.Platform.
func (p *Platform) Tail(ctx context.Context, q event.Query, do func(event.Record, int) error) error {
	passes, err := event.Compile(q.Filters)
	if err != nil {
		return err
	}
	f := &tail{query: q, passes: passes, events: make(chan event.Record, tailBuffer)}
	p.tails.mu.Lock()
	if p.tails.all == nil {
		p.tails.all = map[*tail]struct{}{}
	}
	p.tails.all[f] = struct{}{}
	p.tails.mu.Unlock()
	defer func() {
		p.tails.mu.Lock()
		delete(p.tails.all, f)
		p.tails.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.going.Done():
			return errClosed()
		case r := <-f.events:
			if err := do(r, p.tails.next(f, &r)); err != nil {
				return err
			}
		}
	}
}
