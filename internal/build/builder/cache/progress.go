package cache

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Progress tells what is going on: at once, every two seconds, and when it is done.
type Progress struct {
	log     *app.Log
	title   string
	Began   time.Time
	mu      sync.Mutex
	detail  string
	told    bool
	end     chan struct{}
	stopped sync.Once
	done    sync.WaitGroup
}

const interval = 2 * time.Second

// Start tells the title after the delay (at once for 0), and nothing at all where Stop comes before that.
func Start(log *app.Log, delay time.Duration, title string, args ...any) *Progress {
	p := &Progress{log: log, title: fmt.Sprintf(title, args...), Began: time.Now(), end: make(chan struct{})}
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
				log.Detail("%s, %.0f s so far", p.line(), time.Since(p.Began).Seconds())
			}
		}
	})
	return p
}

// Note sets what is told after the title.
func (p *Progress) Note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detail = fmt.Sprintf(format, args...)
}

func (p *Progress) line() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.detail == "" {
		return p.title
	}
	return p.title + ": " + p.detail
}

// Stop ends the telling. It may be called more than once, and on nil.
func (p *Progress) Stop() {
	if p == nil {
		return
	}
	p.stopped.Do(func() { close(p.end) })
	p.done.Wait()
}

// Finish stops, and tells how long it took.
func (p *Progress) Finish(format string, args ...any) {
	p.Stop()
	p.log.Detail("%s in %.1f s", fmt.Sprintf(format, args...), time.Since(p.Began).Seconds())
}

// WatchSize notes how large a folder has grown, until ctx ends.
func (p *Progress) WatchSize(ctx context.Context, dir string) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if n := size(dir); n > 1<<20 {
				p.Note("%s", app.Size(n))
			}
		}
	}
}

func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}
