package local

import (
	"context"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
)

// lastEnd is how the last ready instance that ended by itself ended.
type lastEnd struct {
	mu sync.Mutex // mu guards the following

	at  time.Time
	why *deploy.StartError
}

func (l *lastEnd) note(why *deploy.StartError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at, l.why = time.Now(), why
}

// Ended implements deploy.Platform.
func (p *Platform) Ended(_ context.Context, service, revision string, since time.Time) error {
	r, err := p.find(service, revision)
	if err != nil {
		return err
	}
	r.ended.mu.Lock()
	defer r.ended.mu.Unlock()
	if r.ended.why == nil || r.ended.at.Before(since) {
		return nil
	}
	return r.ended.why
}
