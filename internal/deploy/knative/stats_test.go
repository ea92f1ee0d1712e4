package knative

import (
	"reflect"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/deploy"
)

// stats is what Envoy 1.34 tells, shortened.
const stats = `# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_external_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="app-shop/shop-v1"} 99
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="app-shop/shop-v1"} 90
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="app-shop/shop-v1"} 10
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="app-shop/shop-v2"} 7
# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="app-shop/shop-v1",le="0.5"} 40
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="app-shop/shop-v1",le="5"} 95
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="app-shop/shop-v1",le="+Inf"} 100
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="app-shop/shop-v1"} 281
`

func TestParseStats(t *testing.T) {
	want := map[string]deploy.Counters{
		"app-shop/shop-v1": {Requests: 100, Errors: 10, Latency: []deploy.Bucket{{UpTo: 500 * time.Microsecond, Count: 40}, {UpTo: 5 * time.Millisecond, Count: 55}, {Count: 5}}},
		"app-shop/shop-v2": {Requests: 7},
	}
	if got := parseStats(stats); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func FuzzParseStats(f *testing.F) {
	f.Add(stats)
	f.Add(metricAnswers + `{envoy_cluster_name="a",envoy_response_code_class="5"} 1e300`)
	f.Add(metricTimes + `{le="x",envoy_cluster_name=""} NaN`)
	f.Fuzz(func(t *testing.T, text string) {
		for name, c := range parseStats(text) {
			if c.Requests < 0 || c.Errors < 0 || c.Errors > c.Requests || c.Quantile(0.95) < 0 {
				t.Errorf("%q: %+v", name, c)
			}
		}
	})
}
