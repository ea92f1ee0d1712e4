package receive

import (
	"sync"
	"time"
)

// A process that is stopped, and a machine that sleeps, do not notice how time passes: what was to happen within a limit had no chance to. So
// limits on what clients do are counted in steps, and one pause is one step, however long it was.
const awakeSteps = 8

// awakeTimer is a timer that counts only time in which this process ran.
type awakeTimer struct {
	mu      sync.Mutex
	timer   *time.Timer
	left    int
	stopped bool
}

// afterAwake calls f in a goroutine of its own after d in which this process ran.
func afterAwake(d time.Duration, f func()) *awakeTimer {
	a := &awakeTimer{left: awakeSteps}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer = time.AfterFunc(d/awakeSteps, func() {
		if a.step(d / awakeSteps) {
			f()
		}
	})
	return a
}

// step counts one step, and says whether it was the last.
func (a *awakeTimer) step(d time.Duration) bool {
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
func (a *awakeTimer) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	a.timer.Stop()
}

// stillness finds out that this process stood still between two beats.
type stillness struct {
	every time.Duration
	last  time.Time // by the wall clock, which goes on while a machine sleeps
}

// beat says whether the time since the last beat is longer than a busy machine explains.
func (s *stillness) beat(now time.Time) bool {
	now = now.Round(0)
	gap := now.Sub(s.last)
	still := !s.last.IsZero() && (gap > 2*s.every || gap < 0)
	s.last = now
	return still
}
