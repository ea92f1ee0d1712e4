package builder

import (
	"fmt"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// progress tells what is going on: at once, every two seconds, and when it is done.
type progress struct {
	log     *app.Log
	title   string
	began   time.Time
	mu      sync.Mutex
	detail  string
	told    bool
	end     chan struct{}
	stopped sync.Once
	done    sync.WaitGroup
}

const interval = 2 * time.Second

// start tells the title after the delay (at once for 0), and nothing at all where stop comes before that.
func start(log *app.Log, delay time.Duration, title string, args ...any) *progress {
	p := &progress{log: log, title: fmt.Sprintf(title, args...), began: time.Now(), end: make(chan struct{})}
	if delay == 0 {
		p.told = true
		log.Detail("%s", p.title)
	}
	p.done.Go(func() {
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-p.end:
				return
			case <-t.C:
				p.told = true
				log.Detail("%s, %.0f s so far", p.line(), time.Since(p.began).Seconds())
			}
		}
	})
	return p
}

// note sets what is told after the title.
func (p *progress) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detail = fmt.Sprintf(format, args...)
}

func (p *progress) line() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.detail == "" {
		return p.title
	}
	return p.title + ": " + p.detail
}

// stop ends the telling. It may be called more than once, and on nil.
func (p *progress) stop() {
	if p == nil {
		return
	}
	p.stopped.Do(func() { close(p.end) })
	p.done.Wait()
}

// finish stops, and tells how long it took.
func (p *progress) finish(format string, args ...any) {
	p.stop()
	p.log.Detail("%s in %.1f s", fmt.Sprintf(format, args...), time.Since(p.began).Seconds())
}
