package knative

import (
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
)

// Metrics of Envoy's clusters, in the text form of Prometheus. Durations are in milliseconds, and each bucket has what is in those before it.
const (
	metricAnswers = "envoy_cluster_upstream_rq_xx"
	metricTimes   = "envoy_cluster_upstream_rq_time_bucket"
	labelCluster  = "envoy_cluster_name"
	labelClass    = "envoy_response_code_class"
	labelBound    = "le"
)

// parseStats returns what Envoy has counted, by the name of the cluster. Lines of any other form are left out.
func parseStats(text string) map[string]deploy.Counters {
	all := map[string]deploy.Counters{}
	sums := map[string]int64{} // of the buckets so far
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), "{")
		labels, value, found := strings.Cut(rest, "} ")
		if !ok || !found || name != metricAnswers && name != metricTimes {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(f >= 0 && f < 1<<53) {
			continue
		}
		n, cluster := int64(f), label(labels, labelCluster)
		c := all[cluster]
		if name == metricAnswers {
			c.Requests += n
			if label(labels, labelClass) == "5" {
				c.Errors += n
			}
			all[cluster] = c
			continue
		}
		bucket := deploy.Bucket{Count: max(0, n-sums[cluster])}
		sums[cluster] = n
		if ms, err := strconv.ParseFloat(label(labels, labelBound), 64); err == nil && ms > 0 && ms < 1e9 {
			bucket.UpTo = time.Duration(ms * float64(time.Millisecond))
		}
		c.Latency = append(c.Latency, bucket)
		all[cluster] = c
	}
	return all
}

// label returns the value of one label of `a="1",b="2"`; "" where it is not there. Envoy's names need no escapes.
func label(labels, name string) string {
	for labels != "" {
		key, rest, ok := strings.Cut(labels, `="`)
		value, after, ended := strings.Cut(rest, `"`)
		if !ok || !ended {
			return ""
		}
		if key == name {
			return value
		}
		labels = strings.TrimPrefix(after, ",")
	}
	return ""
}
