package contract

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gitd-io/gitd/internal/app/apptest"
)

// writes: an instance may write beside its code. What it wrote is gone with it, the files of the image are as they were, and there is a bound:
// a write beyond it fails, or costs the instance its life.
func (s *suite) writes(t *testing.T) {
	v1, v2 := stays(s.service("writes", "v1")), stays(s.service("writes", "v2"))
	v2.Spec.Template.Spec.Containers[0].Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("1Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("16Mi")}}
	s.mustRoll(t, v1)
	s.want(t, "writes", "/write?file=data/new&bytes=3", "error: <nil>")
	s.want(t, "writes", "/read?file=data/new", "xxx")
	s.want(t, "writes", "/write?file=data/greeting&bytes=2", "error: <nil>")
	s.want(t, "writes", "/read?file=data/greeting", "xx")
	s.mustRoll(t, v2)
	s.want(t, "writes", "/read?file=data/greeting", "hello")
	code, answer, err := s.get(within(t), "writes", "/write?file=data/large&bytes=40000000")
	if err == nil && strings.Contains(answer, "no space left") {
		return
	}
	apptest.Eventually(t, settles, "the end of an instance that wrote too much", func() bool {
		_, now, err := s.get(within(t), "writes", "/read?file=data/large")
		return err == nil && strings.Contains(now, "no such file")
	})
	t.Logf("the write was answered %d %q (%v)", code, answer, err)
}
