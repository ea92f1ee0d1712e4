package histogram

import (
	"math"
	"testing"
	"time"
)

// A duration is in the bucket whose bounds it is between, and what no bucket is for, in the outermost.
func TestObserve(t *testing.T) {
	for _, tt := range []struct {
		d     time.Duration
		index int
	}{
		{-time.Second, First}, {0, First}, {1, First}, {time.Second, 0}, {time.Second + 1, 1}, {2 * time.Second, perOctave}, {500 * time.Millisecond, -perOctave},
		{1000 * time.Hour, Last}, {1189 * time.Millisecond, 1}, {1190 * time.Millisecond, 2},
	} {
		if got := index(tt.d); got != tt.index {
			t.Errorf("%v: bucket %d, not %d", tt.d, got, tt.index)
		}
	}
	for d := 8 * time.Microsecond; d < 9*time.Hour; d += d / 7 {
		if i := index(d); d.Seconds() > Bound(i) || d.Seconds() <= Bound(i-1) {
			t.Errorf("%v is in the bucket from %g to %g", d, Bound(i-1), Bound(i))
		}
	}
}

func TestValue(t *testing.T) {
	var h Histogram
	if v := h.Value(); v.Count != 0 || v.Counts != nil {
		t.Errorf("%+v", v)
	}
	for range 3 {
		h.Observe(300 * time.Millisecond)
	}
	h.Observe(2 * time.Second)
	v := h.Value()
	if v.Count != 4 || math.Abs(v.Sum-2.9) > 1e-9 || v.UpTo(0.25) != 0 || v.UpTo(0.5) != 3 || v.UpTo(1) != 3 || v.UpTo(2) != 4 {
		t.Errorf("%+v", v)
	}
	if s := v.Plus(v).Plus(Value{}); s.Count != 8 || s.UpTo(1) != 6 {
		t.Errorf("%+v", s)
	}
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond) }); n != 0 {
		t.Errorf("an observation allocates %g times", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	b.RunParallel(func(pb *testing.PB) {
		for d := time.Duration(1000); pb.Next(); d += 977 {
			h.Observe(d)
		}
	})
}
