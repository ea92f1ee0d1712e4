// Package tail keeps the end of what a program prints: it says why the program failed.
package tail

import (
	"cmp"
	"sync"
)

// Tail keeps the last bytes that are written to it. Its zero value can be used, by several goroutines.
type Tail struct {
	Limit int // how many bytes; 0 for 8 KiB

	mu sync.Mutex
	// mu guards the following.
	kept []byte
}

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	limit, n := t.limit(), len(p)
	p = p[max(0, n-limit):]
	if len(t.kept)+len(p) > 2*limit { // seldom, for it copies
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-limit:]...)
	}
	t.kept = append(t.kept, p...)
	return n, nil
}

// String returns what is kept.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept[max(0, len(t.kept)-t.limit()):])
}

func (t *Tail) limit() int { return cmp.Or(t.Limit, 8<<10) }
