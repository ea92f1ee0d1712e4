package deploy

import (
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// CanaryLimits are how much worse green may answer than blue does at the same time, and from how many requests on that is judged.
type CanaryLimits struct {
	MinRequests  int64   // of green, for a judgement
	MaxErrorRate float64 // percentage points that green's rate of 5xx may lie above blue's
	MaxLatency   float64 // green's quantile against blue's, as a ratio; 0 for no limit
	Quantile     float64 // of MaxLatency, as 0.95
}

// latencySlack is by how much green must be slower for its latency to count: below it is noise.
const latencySlack = 5 * time.Millisecond

// judge compares what green and blue answered, sample by sample. A sample ends when green has answered MinRequests in it: a fault that begins late
// is not hidden by all the good answers before it.
type judge struct {
	limits CanaryLimits
	green  Counters // at the start of the sample
	blue   Counters

	judged int // samples that have passed
	slow   int // samples in a row whose latency was over its limit
}

// worse is why a canary ends, with the figures.
type worse struct{ why string }

func (w *worse) Error() string { return w.why }

// look judges the counters as they are now. Of rates of errors it says what cannot get better in this sample, at any time. Where the sample is large
// enough and ends is set, it also looks at latency, and begins the next one. Two slow samples in a row end the canary: the first may be of a start.
func (j *judge) look(green, blue Counters, ends bool) error {
	g, b := green.Since(j.green), blue.Since(j.blue)
	allowed := b.ErrorRate() + j.limits.MaxErrorRate
	if sample := max(g.Requests, j.limits.MinRequests); g.Errors > 0 && 100*float64(g.Errors) > allowed*float64(sample) {
		return &worse{fmt.Sprintf("%s with 5xx, and what served before %s: at most %s percentage points more are allowed", share(g), share(b), number(j.limits.MaxErrorRate))}
	}
	if !ends || g.Requests < j.limits.MinRequests {
		return nil
	}
	if err := j.lookLatency(g, b); err != nil {
		return err
	}
	j.green, j.blue = green, blue
	j.judged++
	return nil
}

func (j *judge) lookLatency(g, b Counters) error {
	if j.limits.MaxLatency == 0 || b.Requests < j.limits.MinRequests {
		return nil
	}
	ours, theirs := g.Quantile(j.limits.Quantile), b.Quantile(j.limits.Quantile)
	if ours == 0 || theirs == 0 { // not known yet
		return nil
	}
	if ours-theirs <= latencySlack || float64(ours) <= j.limits.MaxLatency*float64(theirs) {
		j.slow = 0
		return nil
	}
	if j.slow++; j.slow < 2 {
		return nil
	}
	return &worse{fmt.Sprintf("%s%% of its requests within %s, and what served before within %s: at most %s times as long is allowed", number(100*j.limits.Quantile),
		app.Elapsed(ours), app.Elapsed(theirs), number(j.limits.MaxLatency))}
}

// share is a rate of errors with what it is of: "12 of 120 requests (10%)".
func share(c Counters) string {
	return fmt.Sprintf("%d of %d requests (%s%%)", c.Errors, c.Requests, number(c.ErrorRate()))
}

// number is a figure with at most one decimal.
func number(f float64) string {
	if s := fmt.Sprintf("%.1f", f); s[len(s)-2:] != ".0" {
		return s
	}
	return fmt.Sprintf("%.0f", f)
}

// figures are those of one side of a canary, for the log.
func (j *judge) figures(c Counters) string {
	if c.Requests == 0 {
		return "no requests"
	}
	told := fmt.Sprintf("%s, %s%% 5xx", requests(c.Requests), number(c.ErrorRate()))
	if latency := c.Quantile(j.limits.Quantile); latency > 0 { // a cluster's come later
		told += fmt.Sprintf(", p%s %s", number(100*j.limits.Quantile), app.Elapsed(latency))
	}
	return told
}
