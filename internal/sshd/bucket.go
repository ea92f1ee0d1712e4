package sshd

import "time"

// bucket is a leaky bucket: what is put in drains at a steady rate. It bounds how often something happens while it lets bursts pass.
type bucket struct {
	level float64
	at    time.Time // of level
}

// now returns the level at t, when perSecond drains.
func (b *bucket) now(t time.Time, perSecond float64) float64 {
	if gone := t.Sub(b.at).Seconds(); gone > 0 { // a clock that was set back drains nothing
		b.level, b.at = max(0, b.level-gone*perSecond), t
	}
	return b.level
}

// take puts one in unless the bucket is full, and says whether it did.
func (b *bucket) take(t time.Time, size, perSecond float64) bool {
	if b.now(t, perSecond)+1 > size {
		return false
	}
	b.level++
	return true
}
