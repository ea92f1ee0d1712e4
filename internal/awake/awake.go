// Package awake measures time in which this process ran.
//
// A process that is stopped, and a machine that sleeps, do not notice how time passes: what was to happen within a limit had no chance to. So
// limits on what clients do are counted in steps, and one pause is one step, however long it was.
package awake

import (
	"sync"
	"time"
)

// steps is how many steps a limit is counted in.
const steps = 8

// Timer is a timer that counts only time in which this process ran.
type Timer struct {
	mu      sync.Mutex
	timer   *time.Timer
	left    int
	stopped bool
}

// AfterFunc calls f in a goroutine of its own after d in which this process ran.
func AfterFunc(d time.Duration, f func()) *Timer {
	a := &Timer{left: steps}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer = time.AfterFunc(d/steps, func() {
		if a.step(d / steps) {
			f()
		}
	})
	return a
}

// step counts one step, and says whether it was the last.
func (a *Timer) step(d time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return false
	}
	if a.left--; a.left > 0 {
		a.timer.Reset(d)
		return false
	}
	return true
}

// Stop keeps f from being called, if it was not yet.
func (a *Timer) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	a.timer.Stop()
}

// Stillness finds out that this process stood still between two beats, which are to come Every so often.
type Stillness struct {
	Every time.Duration
	last  time.Time // by the wall clock, which goes on while a machine sleeps
}

// Beat says whether the time since the last beat is longer than a busy machine explains.
func (s *Stillness) Beat(now time.Time) bool {
	now = now.Round(0)
	gap := now.Sub(s.last)
	still := !s.last.IsZero() && (gap > 2*s.Every || gap < 0)
	s.last = now
	return still
}
