package local

import (
	"context"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
)

// lastEnd is how the last instance that ended by itself ended.
type lastEnd struct {
	mu sync.Mutex // mu guards the following

	ready, any end // of those that had become ready, and of all
}

// end is how an instance ended; times is how many have.
type end struct {
	at    time.Time
	why   *deploy.StartError
	times int
}

// note records the end of an instance; ready says whether it had become ready.
func (l *lastEnd) note(why *deploy.StartError, ready bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.any = end{time.Now(), why, l.any.times + 1}
	if ready {
		l.ready = l.any
	}
}

// last is the end of the last instance, ready or not.
func (l *lastEnd) last() end {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.any
}

// Ended implements deploy.Platform.
func (p *Platform) Ended(_ context.Context, service, revision string, since time.Time) error {
	r, err := p.find(service, revision)
	if err != nil {
		return err
	}
	r.ended.mu.Lock()
	defer r.ended.mu.Unlock()
	if r.ended.ready.why == nil || r.ended.ready.at.Before(since) {
		return nil
	}
	return r.ended.ready.why
}
