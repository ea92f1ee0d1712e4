package local

import (
	"context"
	"sync"

	"github.com/gitd-io/gitd/internal/event"
)

// tailBuffer is how many events wait for one that follows them.
const tailBuffer = 256

// tails are those who follow the events.
type tails struct {
	mu sync.Mutex
	// mu guards the following.
	all map[*tail]struct{}
}

type tail struct {
	events chan event.Record
	missed int // guarded by tails.mu
}

func (t *tails) tell(a *accept) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) == 0 {
		return
	}
	r := event.Record{Number: a.receipt.Number, Broker: a.broker, From: a.from, Accepted: a.at.UTC(), Event: a.event.ForApp()}
	for _, to := range a.triggers {
		r.Deliveries = append(r.Deliveries, event.DeliveryRecord{App: to.App, AppID: to.ID, Trigger: to.Name, State: event.StateQueued})
	}
	for f := range t.all {
		select {
		case f.events <- r:
		default:
			f.missed++
		}
	}
}

// Tail implements event.Platform.
func (p *Platform) Tail(ctx context.Context, q event.Query, do func(event.Record, int) error) error {
	passes, err := event.Compile(q.Filters)
	if err != nil {
		return err
	}
	f := &tail{events: make(chan event.Record, tailBuffer)}
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
			p.tails.mu.Lock()
			missed := f.missed
			f.missed = 0
			p.tails.mu.Unlock()
			if !q.Sees(&r) || !passes(&r.Event) {
				continue
			}
			if err := do(r, missed); err != nil {
				return err
			}
		}
	}
}
