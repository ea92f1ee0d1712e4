// Package histogram counts durations, for the hot paths: without a lock, without an allocation. Its buckets are those of a native histogram of
// Prometheus, each a fixed factor wider than the one before, so that no bounds have to be chosen.
package histogram

import (
	"math"
	"sync/atomic"
	"time"
)

// Schema says how wide a bucket is: each bound is 2^(2^-Schema), about 1.19, times the one before.
const Schema = 2

// perOctave is how many buckets there are from a bound to twice that bound.
const perOctave = 1 << Schema

// The buckets that there are, by their index: bucket i holds what is above 2^((i-1)/perOctave) seconds, up to 2^(i/perOctave). What is shorter or longer goes
// into the first or the last.
const (
	First = -17 * perOctave // up to 8 µs
	Last  = 15 * perOctave  // up to 9 hours
	size  = Last - First + 1
)

// fractions are the bounds within an octave, as math.Frexp tells the mantissa.
var fractions = [perOctave]float64{0.5, 0.5946035575013605, 0.7071067811865475, 0.8408964152537144}

// Histogram counts durations. The zero value is ready for use, by several goroutines at once.
type Histogram struct {
	nanoseconds atomic.Int64
	counts      [size]atomic.Int64
}

// Observe counts a duration.
func (h *Histogram) Observe(d time.Duration) {
	h.nanoseconds.Add(int64(max(d, 0)))
	h.counts[index(d)-First].Add(1)
}

// index returns the bucket of a duration.
func index(d time.Duration) int {
	if d <= 0 {
		return First
	}
	fraction, exponent := math.Frexp(d.Seconds())
	i := 0
	for i < perOctave && fractions[i] < fraction {
		i++
	}
	return min(max(i+(exponent-1)*perOctave, First), Last)
}

// Bound returns the longest duration of a bucket, in seconds.
func Bound(index int) float64 { return math.Exp2(float64(index) / perOctave) }

// Value is what a Histogram has counted.
type Value struct {
	Count  int64
	Sum    float64 // seconds
	Counts []int64 // of the buckets from First on; nil where nothing is counted
}

// Value returns what has been counted up to now. The sum may be that of a few observations more.
func (h *Histogram) Value() Value {
	v := Value{Counts: make([]int64, size)}
	for i := range h.counts {
		v.Counts[i] = h.counts[i].Load()
		v.Count += v.Counts[i]
	}
	v.Sum = float64(h.nanoseconds.Load()) / 1e9
	if v.Count == 0 {
		return Value{}
	}
	return v
}

// Plus returns the sum of two values.
func (v Value) Plus(other Value) Value {
	sum := Value{Count: v.Count + other.Count, Sum: v.Sum + other.Sum, Counts: make([]int64, size)}
	copy(sum.Counts, v.Counts)
	for i, n := range other.Counts {
		sum.Counts[i] += n
	}
	return sum
}

// UpTo returns how many of the durations are within a bound, in seconds, that is one of a bucket: all powers of two are.
func (v Value) UpTo(bound float64) int64 {
	var n int64
	for i, count := range v.Counts {
		if Bound(First+i) > bound*(1+1e-12) {
			break
		}
		n += count
	}
	return n
}
