package knative

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// TestClusterTemplate_Timeout: an app that may take longer than 300 s until its answer begins may do so on a cluster too, whose default is 300 s.
func TestClusterTemplate_Timeout(t *testing.T) {
	for _, seconds := range []*int64{nil, ptr.Int64(2), ptr.Int64(600)} {
		var of servingv1.RevisionTemplateSpec
		of.Name = "shop-v1"
		of.Spec.TimeoutSeconds = seconds
		of.Spec.Containers = []corev1.Container{{Image: "shop@sha256:781b0000000000000000000000000000000000000000000000000000000000aa"}}
		r, err := newRelease("shop", of)
		if err != nil {
			t.Fatal(err)
		}
		got, err := (&Platform{}).clusterTemplate(r, "shop")
		if err != nil {
			t.Fatal(err)
		}
		if ptr.Int64Value(got.Spec.ResponseStartTimeoutSeconds) != ptr.Int64Value(seconds) {
			t.Errorf("timeout %v: an answer has to begin within %v", ptr.Int64Value(seconds), got.Spec.ResponseStartTimeoutSeconds)
		}
	}
}
