package release

import (
	"sync"
	"time"
)

// leases are the builds under way: what was put into the registry since the oldest of them began is not collected, since it is not in the
// ledger before its build ends.
type leases struct {
	mu sync.Mutex
	// mu guards the following.
	began map[*time.Time]struct{}
}

// take notes that a build begins; give it back when the build has ended.
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

// oldest returns when the oldest build under way began; now, where there is none.
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
