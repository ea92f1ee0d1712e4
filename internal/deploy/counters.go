package deploy

import (
	"slices"
	"time"
)

// Counters are the answers that a revision has given since its data plane counts them. They only grow, and begin at zero again where what counts
// them is started again: with gitd on one machine, with an instance on a cluster.
type Counters struct {
	Requests int64    // that were answered, whatever with; those that gitd itself sent are not counted on one machine
	Errors   int64    // of them with a status of 500 and above
	Latency  []Bucket // until an answer began, the shortest first
}

// Bucket counts the answers that took longer than the bucket before it, and at most UpTo; 0 for no bound.
type Bucket struct {
	UpTo  time.Duration
	Count int64
}

// Since returns what has been counted since before, which was read earlier. What counts from zero again in between is taken as it is.
func (c Counters) Since(before Counters) Counters {
	if c.Requests < before.Requests || c.Errors < before.Errors || len(c.Latency) != len(before.Latency) {
		return c
	}
	out := Counters{Requests: c.Requests - before.Requests, Errors: c.Errors - before.Errors, Latency: slices.Clone(c.Latency)}
	for i := range out.Latency {
		out.Latency[i].Count = max(0, out.Latency[i].Count-before.Latency[i].Count)
	}
	return out
}

// Plus returns the sum of two counters of one platform.
func (c Counters) Plus(other Counters) Counters {
	out := Counters{Requests: c.Requests + other.Requests, Errors: c.Errors + other.Errors, Latency: slices.Clone(c.Latency)}
	if len(out.Latency) == 0 {
		out.Latency = slices.Clone(other.Latency)
		return out
	}
	for i := range min(len(out.Latency), len(other.Latency)) {
		out.Latency[i].Count += other.Latency[i].Count
	}
	return out
}

// ErrorRate is the share of Errors in percent; 0 without requests.
func (c Counters) ErrorRate() float64 {
	if c.Requests == 0 {
		return 0
	}
	return 100 * float64(c.Errors) / float64(c.Requests)
}

// Quantile returns the time within which a share of the answers began, as 0.95, as far as the buckets tell: between their bounds it is taken to
// grow evenly. It returns 0 without requests.
func (c Counters) Quantile(share float64) time.Duration {
	var all int64
	for _, b := range c.Latency {
		all += b.Count
	}
	rank := share * float64(all)
	var from time.Duration
	var below int64
	for _, b := range c.Latency {
		if b.Count > 0 && float64(below+b.Count) >= rank {
			if b.UpTo == 0 {
				return from
			}
			return from + time.Duration((rank-float64(below))/float64(b.Count)*float64(b.UpTo-from))
		}
		from, below = b.UpTo, below+b.Count
	}
	return 0
}
