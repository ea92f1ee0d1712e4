package deploy

import (
	"fmt"
	"strings"

	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// split gives green the percentage and blue the rest, in blue's previous proportions. Tags other than green stay. Blue gets no tag:
// clients could go on using a version that was replaced for its faults.
func (r *rollout) split(green int64, last bool) []servingv1.TrafficTarget {
	if len(r.blue) == 0 {
		green = 100
	}
	out := []servingv1.TrafficTarget{target(r.green, green, "")}
	if !last {
		out[0].Tag = GreenTag
	}
	rest := 100 - green
	old := int64(0)
	var others []string
	for _, b := range r.blue {
		if b != r.green {
			others = append(others, b)
			old += r.shares[b]
		}
	}
	if len(others) == 0 { // green serves alone already
		out[0].Percent = ptr.Int64(100)
	}
	left := rest
	for i, b := range others {
		n := rest * r.shares[b] / old
		if i == len(others)-1 {
			n = left
		}
		left -= n
		if n > 0 {
			out = append(out, target(b, n, ""))
		}
	}
	for _, t := range r.traffic {
		if t.Tag != "" && t.Tag != GreenTag && t.Tag != BlueTag {
			out = append(out, target(t.RevisionName, 0, t.Tag))
		}
	}
	return out
}

func target(revision string, percent int64, tag string) servingv1.TrafficTarget {
	return servingv1.TrafficTarget{RevisionName: revision, Percent: ptr.Int64(percent), Tag: tag, LatestRevision: ptr.Bool(false)}
}

// change describes a step: "hello-v1 100% → 0%, hello-v2 0% → 100%".
func (r *rollout) change(from, to int64) string {
	var parts []string
	old := int64(0)
	for _, b := range r.blue {
		if b != r.green {
			old += r.shares[b]
		}
	}
	for _, b := range r.blue {
		if b != r.green {
			parts = append(parts, fmt.Sprintf("%s %d%% → %d%%", b, (100-from)*r.shares[b]/old, (100-to)*r.shares[b]/old))
		}
	}
	return strings.Join(append(parts, fmt.Sprintf("%s %d%% → %d%%", r.green, from, to)), ", ")
}
