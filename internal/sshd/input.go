package sshd

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitd-io/gitd/internal/awake"
)

// serialReader lets one reader in at a time. The indexer may still be waiting for input when the rest of it is drained, and
// the end of a channel wakes only one of those who wait for it. It also watches that who waits does not wait for too long.
type serialReader struct {
	mu      sync.Mutex
	r       io.Reader
	waiting atomic.Pointer[waitLimit]
}

// waitLimit is how long to wait for input, and what to do then. late is called once at most.
type waitLimit struct {
	limit time.Duration
	late  func()
	once  sync.Once
}

// wait sets how long every read from now on may take; 0 is for ever. It returns what takes that back.
func (s *serialReader) wait(limit time.Duration, late func()) (done func()) {
	p := &waitLimit{limit: limit, late: late}
	s.waiting.Store(p)
	return func() { s.waiting.CompareAndSwap(p, nil) }
}

func (s *serialReader) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.waiting.Load(); p != nil {
		t := awake.AfterFunc(p.limit, func() {
			if s.waiting.Load() == p { // else it is not waited for any more
				p.once.Do(p.late)
			}
		})
		defer t.Stop()
	}
	return s.r.Read(b)
}

// drainTime is how long a refused client may go on sending, and drainSilence how long it may send nothing: some wait for the end of the channel
// before they close theirs.
const (
	drainTime    = 10 * time.Second
	drainSilence = 2 * time.Second
)

// drain reads what the client still sends.
func (ss *Session) drain() {
	end := func() { _ = ss.ch.Close() }
	defer time.AfterFunc(drainTime, end).Stop()
	silence := time.AfterFunc(drainSilence, end)
	defer silence.Stop()
	buf := make([]byte, 32<<10)
	for {
		if _, err := ss.raw.Read(buf); err != nil {
			return
		}
		silence.Reset(drainSilence)
	}
}
