package dataplane

import (
	"sync/atomic"
	"time"

	"github.com/gitd-io/gitd/internal/telemetry/histogram"
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

	duration histogram.Histogram // the same, for metrics
	held     atomic.Int64        // requests that wait for an instance
	hold     histogram.Histogram // how long they did
	coldFrom atomic.Int64        // when the first of them found no instance, in Unix nanoseconds; 0 where none waits for the first instance
	cold     histogram.Histogram // from then until there was an instance
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
	c.duration.Observe(took)
}

// Connections counts the connections of clients.
type Connections struct{ open, refused atomic.Int64 }

// Counts returns how many are open, and how many connections and requests were refused because there were too many.
func (c *Connections) Counts() (open, refused int64) { return c.open.Load(), c.refused.Load() }

func (c *Connections) add(n int64) {
	if c != nil {
		c.open.Add(n)
	}
}

func (c *Connections) refuse() {
	if c != nil {
		c.refused.Add(1)
	}
}

// Why a request is answered without a revision.
const (
	refusedUnknown = iota // no app is served at its host
	refusedStopped
	refusedMaintenance
	refusedRemoved
	refusedMisdirected // it came over a connection for another name
)

// refusals are the names of these reasons.
var refusals = [...]string{"unknown-host", "stopped", "maintenance", "removed", "misdirected"}

// Refused returns how many requests were answered without a revision, by the reason.
func (p *Plane) Refused() map[string]int64 {
	all := make(map[string]int64, len(refusals))
	for i, name := range refusals {
		all[name] = p.refused[i].Load()
	}
	return all
}

// holds counts a request in that waits for an instance; first says that there is none at all. released counts it out.
func (c *counters) holds(first bool) (released func()) {
	began := time.Now()
	c.held.Add(1)
	if first {
		c.coldFrom.CompareAndSwap(0, began.UnixNano())
	}
	return func() {
		c.hold.Observe(time.Since(began))
		if c.held.Add(-1) == 0 {
			c.coldFrom.Store(0) // all that waited have given up, or there is an instance
		}
	}
}

// started notes that there are instances.
func (c *counters) started() {
	if from := c.coldFrom.Swap(0); from != 0 {
		c.cold.Observe(time.Since(time.Unix(0, from)))
	}
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

// Held is how many requests wait for an instance.
func (r *Revision) Held() int64 { return r.counters.held.Load() }

// Metrics are what is known of a revision's requests.
type Metrics struct {
	Classes        [6]int64        // answers by hundreds of the status; 0 for any other than those of HTTP
	Duration       histogram.Value // until they began
	InFlight, Held int64
	Hold, Cold     histogram.Value // how long requests waited for an instance, and for the first one
}

// Metrics returns what is known of the revision's requests now.
func (r *Revision) Metrics() Metrics {
	c := &r.counters
	m := Metrics{Duration: c.duration.Value(), InFlight: max(r.InFlight(), 0), Held: c.held.Load(), Hold: c.hold.Value(), Cold: c.cold.Value()}
	for i := range m.Classes {
		m.Classes[i] = c.classes[i].Load()
	}
	return m
}
