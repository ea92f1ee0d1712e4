package deploy

import (
	"testing"
	"time"
)

// answers makes counters of so many requests, of which some failed and each began within a time.
func answers(n, failed int64, within time.Duration) Counters {
	c := Counters{Requests: n, Errors: failed}
	for _, b := range []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 0} {
		bucket := Bucket{UpTo: b}
		if b >= within && n > 0 {
			bucket.Count, n = n, 0
		}
		c.Latency = append(c.Latency, bucket)
	}
	return c
}

func TestJudge(t *testing.T) {
	const fast, slow = 10 * time.Millisecond, 100 * time.Millisecond
	type look struct {
		green, blue Counters
		ends        bool
	}
	limits := CanaryLimits{MinRequests: 100, MaxErrorRate: 1, MaxLatency: 2, Quantile: 0.95}
	for _, c := range []struct {
		name   string
		looks  []look // each on top of those before
		want   string // of the last one; the others pass
		judged int
	}{
		{"nothing", []look{{Counters{}, Counters{}, true}}, "", 0},
		{"too few", []look{{answers(99, 0, fast), answers(900, 0, fast), true}}, "", 0},
		{"enough", []look{{answers(100, 0, fast), answers(900, 0, fast), true}}, "", 1},
		{"between two ends", []look{{answers(500, 0, fast), answers(900, 0, fast), false}}, "", 0},
		{"one of 100 is the limit", []look{{answers(100, 1, fast), answers(900, 0, fast), true}}, "", 1},
		{"two of 100", []look{{answers(100, 2, fast), answers(900, 0, fast), false}},
			"2 of 100 requests (2%) with 5xx, and what served before 0 of 900 requests (0%): at most 1 percentage points more are allowed", 0},
		{"two of ten: it cannot get better", []look{{answers(10, 2, fast), answers(90, 0, fast), false}},
			"2 of 10 requests (20%) with 5xx, and what served before 0 of 90 requests (0%): at most 1 percentage points more are allowed", 0},
		{"all of a few, one fault", []look{{answers(1, 1, fast), answers(9, 0, fast), true}}, "", 0},
		{"blue fails as often", []look{{answers(100, 5, fast), answers(1000, 45, fast), true}}, "", 1},
		{"blue fails, green more often", []look{{answers(100, 6, fast), answers(1000, 45, fast), true}},
			"6 of 100 requests (6%) with 5xx, and what served before 45 of 1000 requests (4.5%): at most 1 percentage points more are allowed", 0},
		{"a late fault is not hidden by what was good", []look{{answers(1000, 0, fast), answers(9000, 0, fast), true}, {answers(100, 5, fast), answers(900, 0, fast), false}},
			"5 of 100 requests (5%) with 5xx, and what served before 0 of 900 requests (0%): at most 1 percentage points more are allowed", 1},
		{"no blue requests", []look{{answers(100, 2, fast), Counters{}, true}},
			"2 of 100 requests (2%) with 5xx, and what served before 0 of 0 requests (0%): at most 1 percentage points more are allowed", 0},
		{"slow once", []look{{answers(100, 0, slow), answers(900, 0, fast), true}}, "", 1},
		{"slow twice", []look{{answers(100, 0, slow), answers(900, 0, fast), true}, {answers(100, 0, slow), answers(900, 0, fast), true}},
			"95% of its requests within 97 ms, and what served before within 9 ms: at most 2 times as long is allowed", 1},
		{"slow, but not in a row", []look{{answers(100, 0, slow), answers(900, 0, fast), true}, {answers(100, 0, fast), answers(900, 0, fast), true}, {answers(100, 0, slow), answers(900, 0, fast), true}}, "", 3},
		{"slow, and blue as well", []look{{answers(100, 0, slow), answers(900, 0, slow), true}, {answers(100, 0, slow), answers(900, 0, slow), true}}, "", 2},
		{"slow, and too little to compare with", []look{{answers(100, 0, slow), answers(50, 0, fast), true}, {answers(100, 0, slow), answers(40, 0, fast), true}}, "", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := &judge{limits: limits}
			var green, blue Counters
			var err error
			for i, l := range c.looks {
				green, blue = green.Plus(l.green), blue.Plus(l.blue)
				if err = j.look(green, blue, l.ends); err != nil && i < len(c.looks)-1 {
					t.Fatalf("look %d: %v", i, err)
				}
			}
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want || j.judged != c.judged {
				t.Errorf("%q after %d samples, want %q after %d", got, j.judged, c.want, c.judged)
			}
		})
	}
}

func TestCounters(t *testing.T) {
	c := Counters{Latency: []Bucket{{10 * time.Millisecond, 50}, {20 * time.Millisecond, 40}, {0, 10}}}
	for share, want := range map[float64]time.Duration{0.25: 5 * time.Millisecond, 0.5: 10 * time.Millisecond, 0.7: 15 * time.Millisecond, 0.9: 20 * time.Millisecond, 0.99: 20 * time.Millisecond} {
		if got := c.Quantile(share); got != want {
			t.Errorf("%v of all within %v, want %v", share, got, want)
		}
	}
	if got := (Counters{}).Quantile(0.5); got != 0 {
		t.Error(got)
	}
	restarted := answers(5, 1, time.Millisecond)
	if got := restarted.Since(answers(100, 0, time.Millisecond)); got.Requests != 5 || got.Errors != 1 {
		t.Errorf("counted from zero again: %+v", got)
	}
}
