package release

import (
	"sync"
	"time"
)

// leases are the builds under way. What entered the registry after the oldest of them began is not collected: it is in the ledger only when its
// build has ended.
type leases struct {
	mu sync.Mutex
	// mu guards the following.
	began map[*time.Time]struct{}
}

// take records that a build begins. Call giveBack when it has ended.
func (l *leases) take() (giveBack func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	began := time.Now()
	if l.began == nil {
		l.began = map[*time.Time]struct{}{}
	}
	l.began[&began] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.began, &began)
	}
}

// oldest returns when the oldest build under way began, or now if no build is under way.
func (l *leases) oldest() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := time.Now()
	for began := range l.began {
		if began.Before(oldest) {
			oldest = *began
		}
	}
	return oldest
}
