package local

import (
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
)

// resolveTraffic turns spec.traffic of a complete Service into targets that each name their revision. Knative's validation has been passed;
// what it leaves to its controller is that the revisions exist. One that is not up yet may get traffic: requests wait for it.
func resolveTraffic(svc *servingv1.Service, revisions map[string]*revision) ([]servingv1.TrafficTarget, error) {
	out := make([]servingv1.TrafficTarget, 0, len(svc.Spec.Traffic))
	for _, target := range svc.Spec.Traffic {
		target = *target.DeepCopy()
		if target.RevisionName == "" { // the latest one
			target.RevisionName = svc.Spec.Template.Name
		}
		if revisions[target.RevisionName] == nil {
			return nil, app.Errorf(app.CodeInvalidInput, "name revisions that exist in spec.traffic",
				"the traffic of %s cannot be resolved: the revision %s does not exist", svc.Name, target.RevisionName)
		}
		out = append(out, target)
	}
	return out, nil
}

// percent is the share of a target; 0 where it has none.
func percent(t servingv1.TrafficTarget) int64 { return ptr.Int64Value(t.Percent) }
