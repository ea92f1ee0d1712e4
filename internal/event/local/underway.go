package local

import (
	"context"
	"sync"
)

// underWay is how many bytes the deliveries under way of each app hold: their events, and what the app has answered with so far. An app may have 50 triggers
// with 32 requests each, whose events and answers are of 1 MiB and more.
type underWay struct {
	most int64 // of one app

	mu sync.Mutex
	// mu guards the following.
	held  map[int64]int64 // by app
	freed chan struct{}   // is closed when some are given back; nil while no delivery waits
}

// hold is what one delivery holds.
type hold struct {
	of    *underWay
	app   int64
	bytes int64 // guarded by of.mu
}

// begin waits until an event of this size fits, and returns what holds it; nil where ctx ends before. One that is too large for all fits alone.
func (u *underWay) begin(ctx context.Context, app, size int64) *hold {
	for {
		u.mu.Lock()
		if h := u.held[app]; h == 0 || h+size <= u.most {
			if u.held == nil {
				u.held = map[int64]int64{}
			}
			u.held[app] += size
			u.mu.Unlock()
			return &hold{of: u, app: app, bytes: size}
		}
		if u.freed == nil {
			u.freed = make(chan struct{})
		}
		freed := u.freed
		u.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil
		}
	}
}

// more holds so much more, if it fits now: one that waited for that, while it holds something, could wait for ever.
func (h *hold) more(n int) bool {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	if h.of.held[h.app]+int64(n) > h.of.most {
		return false
	}
	h.of.held[h.app] += int64(n)
	h.bytes += int64(n)
	return true
}

// end gives all of it back.
func (h *hold) end() {
	u := h.of
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held[h.app] -= h.bytes; u.held[h.app] == 0 {
		delete(u.held, h.app)
	}
	h.bytes = 0
	if u.freed != nil {
		close(u.freed)
		u.freed = nil
	}
}
