package knative

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/kube"
)

// isOurs reports whether this gitd made a Service, even if its labels were removed.
func (p *Platform) isOurs(s *servingv1.Service) bool {
	made := s.Labels[managedBy] == manager ||
		slices.ContainsFunc(s.ManagedFields, func(f metav1.ManagedFieldsEntry) bool {
			return f.Manager == kube.FieldManager && f.Operation == metav1.ManagedFieldsOperationApply
		})
	return made && !p.ofAnotherGitd(s)
}

// ofAnotherGitd reports whether another gitd made an object.
func (p *Platform) ofAnotherGitd(o metav1.Object) bool {
	return kube.OfAnother(p.o.Instance, o.GetLabels())
}

// labelled adds the labels by which this gitd finds what it made.
func (p *Platform) labelled(labels map[string]string) map[string]string {
	labels[managedBy] = manager
	if p.o.Instance != "" {
		labels[instLabel] = p.o.Instance
	}
	return labels
}
