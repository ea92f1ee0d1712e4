package deploy

import (
	"fmt"
	"strings"
	"testing"

	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// TestSplit checks the traffic of a rollout's steps: it adds up to 100, and tags go where they belong.
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		before string // revision percent [tag], …
		green  string
		step   int64
		last   bool
		want   string
	}{
		{"", "v1", 0, false, "v1 100 green"},
		{"", "v1", 100, true, "v1 100"},
		{"v1 100", "v2", 0, false, "v2 0 green, v1 100"},
		{"v1 100", "v2", 30, false, "v2 30 green, v1 70"},
		{"v1 100", "v2", 100, true, "v2 100, v1 0 blue"},
		{"v2 100, v1 0 blue", "v3", 0, false, "v3 0 green, v2 100, v1 0 blue"},
		{"v2 100, v1 0 blue", "v3", 100, true, "v3 100, v2 0 blue"},
		{"v2 100, v1 0 blue", "v1", 0, false, "v1 0 green, v2 100, v1 0 blue"}, // rollback
		{"v2 100, v1 0 blue", "v1", 100, true, "v1 100, v2 0 blue"},
		{"v2 100, v1 0 blue", "v2", 0, false, "v2 100 green, v1 0 blue"}, // what serves already
		{"v2 100, v1 0 blue", "v2", 100, true, "v2 100, v1 0 blue"},
		{"v1 34, v2 33, v3 33 canary", "v4", 50, false, "v4 50 green, v1 17, v2 16, v3 17, v3 0 canary"},
		{"v1 34, v2 33, v3 33 canary", "v4", 100, true, "v4 100, v1 0 blue, v3 0 canary"},
		{"v1 90, v2 10 green", "v2", 50, false, "v2 50 green, v1 50"},
	} {
		r := &rollout{green: c.green, shares: map[string]int64{}}
		for part := range strings.SplitSeq(c.before, ", ") {
			f := append(strings.Fields(part), "")
			if part == "" {
				continue
			}
			var n int64
			if _, err := fmt.Sscan(f[1], &n); err != nil {
				t.Fatal(err)
			}
			r.traffic = append(r.traffic, servingv1.TrafficTarget{RevisionName: f[0], Percent: ptr.Int64(n), Tag: f[2]})
			if n > 0 {
				r.blue = append(r.blue, f[0])
				r.shares[f[0]] = n
			}
		}
		var got []string
		sum := int64(0)
		for _, t := range r.split(c.step, c.last) {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %d %s", t.RevisionName, *t.Percent, t.Tag)))
			sum += *t.Percent
		}
		if s := strings.Join(got, ", "); s != c.want || sum != 100 {
			t.Errorf("%s; %s at %d%% (last %t):\n got %s\nwant %s", c.before, c.green, c.step, c.last, s, c.want)
		}
	}
}
