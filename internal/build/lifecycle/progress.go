package lifecycle

import (
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Progress says that a phase still goes on when nothing was said for a while, and then less and less often.
type Progress struct {
	log      *app.Log
	patience time.Duration
	began    time.Time

	mu         sync.Mutex
	phase      string // what we wait for, as a noun: "build"
	phaseBegan time.Time
	output     *Output
}

// NewProgress returns the progress of a build that begins now. patience is how long to be silent.
func NewProgress(log *app.Log, patience time.Duration) *Progress {
	now := time.Now()
	return &Progress{log: log, patience: patience, began: now, phase: "preparation", phaseBegan: now}
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
	tick := time.NewTicker(max(p.patience/4, time.Millisecond))
	defer tick.Stop()
	var told time.Time
	wait := p.patience
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		phase, quiet, o := p.phase, p.phaseBegan, p.output
		p.mu.Unlock()
		if o != nil {
			if last := o.Silence(); last.After(quiet) {
				quiet = last
			}
		}
		if quiet.After(told) {
			told, wait = quiet, p.patience
		}
		if time.Since(told) >= wait {
			told, wait = time.Now(), min(2*wait, 15*time.Second)
			p.log.Detail("… %s, %.0f s so far", phase, time.Since(p.began).Seconds())
		}
	}
}
