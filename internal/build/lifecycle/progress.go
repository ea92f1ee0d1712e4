package lifecycle

import (
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Progress says that a phase still goes on when nothing was said for a while, and then less and less often.
type Progress struct {
	log   *app.Log
	quiet time.Duration
	began time.Time

	// mu guards the following.
	mu         sync.Mutex
	phase      string // what we wait for, as a noun: "build"
	phaseBegan time.Time
	output     *Output
}

// NewProgress returns the progress of a build that begins now. quiet is how long to be silent.
func NewProgress(log *app.Log, quiet time.Duration) *Progress {
	now := time.Now()
	return &Progress{log: log, quiet: quiet, began: now, phase: "preparation", phaseBegan: now}
}

// Enter begins a phase.
func (p *Progress) Enter(phase string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase, p.phaseBegan = phase, time.Now()
}

// Watch says whose words count as a sign of life.
func (p *Progress) Watch(o *Output) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output = o
}

// Phase is what we wait for.
func (p *Progress) Phase() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.phase
}

// Show tells until stop is closed.
func (p *Progress) Show(stop <-chan struct{}) {
	tick := time.NewTicker(max(p.quiet/4, time.Millisecond))
	defer tick.Stop()
	var told time.Time
	wait := p.quiet
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		phase, since, o := p.phase, p.phaseBegan, p.output
		p.mu.Unlock()
		if o != nil {
			if last := o.Silence(); last.After(since) {
				since = last
			}
		}
		if since.After(told) {
			told, wait = since, p.quiet
		}
		if time.Since(told) >= wait {
			told, wait = time.Now(), min(2*wait, 15*time.Second)
			p.log.Detail("… %s, %.0f s so far", phase, time.Since(p.began).Seconds())
		}
	}
}
