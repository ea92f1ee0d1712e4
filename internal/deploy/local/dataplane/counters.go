package dataplane

import (
	"sync/atomic"
	"time"
)

// bounds are those of the histogram of latencies: close enough to compare two revisions, few enough to find one's place in a moment.
var bounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond, 7500 * time.Microsecond, 10 * time.Millisecond, 15 * time.Millisecond,
	20 * time.Millisecond, 30 * time.Millisecond, 50 * time.Millisecond, 75 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond,
	300 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond, time.Second, 1500 * time.Millisecond, 2 * time.Second, 3 * time.Second, 5 * time.Second,
	7500 * time.Millisecond, 10 * time.Second, 30 * time.Second, time.Minute,
}

// counters are what a revision has answered since this process serves it.
type counters struct {
	classes [6]atomic.Int64               // by hundreds of the status; 0 for any other
	latency [len(bounds) + 1]atomic.Int64 // until the answer began
}

// count adds an answer.
func (c *counters) count(status int, took time.Duration) {
	class := status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	c.classes[class].Add(1)
	low, high := 0, len(bounds)
	for low < high {
		if middle := (low + high) / 2; took > bounds[middle] {
			low = middle + 1
		} else {
			high = middle
		}
	}
	c.latency[low].Add(1)
}

// Count is the answers within a bound of latency, and not within a shorter one.
type Count struct {
	UpTo time.Duration // 0 for no bound
	N    int64
}

// Counts returns how many requests the revision has answered, by hundreds of the status (0 for any other than those of HTTP), and by latency.
func (r *Revision) Counts() (classes [6]int64, latency []Count) {
	for i := range classes {
		classes[i] = r.counters.classes[i].Load()
	}
	latency = make([]Count, len(r.counters.latency))
	for i := range latency {
		latency[i].N = r.counters.latency[i].Load()
		if i < len(bounds) {
			latency[i].UpTo = bounds[i]
		}
	}
	return classes, latency
}
