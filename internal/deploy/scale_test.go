package deploy

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// What is recorded in a Service is read back; records of an older gitd, and what is not understood, do no harm.
func TestWorkers(t *testing.T) {
	s := &servingv1.Service{}
	for _, tt := range []struct{ record, scale, want string }{
		{"", "", ""},
		{"worker,clock", "", "worker=1 clock=1"},
		{"worker=2 memory=1Gi cpu=500m,clock=0,", "", "worker=2 1Gi 500m"},
		{"worker=2 memory=1Gi,clock=0", "worker=5,clock=3,other=1,web=2..4", "worker=5 1Gi clock=3 other=1"},
		{"worker", "worker=0", ""},
		{"worker=x memory=lots so=much,clock", "", "clock=1"},
	} {
		s.Annotations = map[string]string{scaleAnnotation: tt.scale}
		s.Spec.Template.Annotations = map[string]string{workersAnnotation: tt.record}
		got := ""
		for _, w := range Workers(s) {
			if got != "" {
				got += " "
			}
			got += fmt.Sprintf("%s=%d", w.Type, w.Instances)
			for _, q := range []resource.Quantity{w.Memory, w.CPU} {
				if !q.IsZero() {
					got += " " + q.String()
				}
			}
		}
		if got != tt.want {
			t.Errorf("%q scaled %q: %q, want %q", tt.record, tt.scale, got, tt.want)
		}
		again := &servingv1.Service{}
		SetWorkers(again, Workers(s))
		if fmt.Sprint(Workers(again)) != fmt.Sprint(Workers(s)) {
			t.Errorf("%v is read back as %v", Workers(s), Workers(again))
		}
	}
}

// Web by hand stands in the template, and what the files say comes back.
func TestSetScale(t *testing.T) {
	s := &servingv1.Service{}
	s.Spec.Template.Annotations = map[string]string{autoscaling.MinScaleAnnotationKey: "0", autoscaling.MaxScaleAnnotationKey: "10"}
	for _, tt := range []struct {
		set     []Scale
		changed bool
		web     string
	}{
		{[]Scale{{"worker", 2, 2}}, false, "web=0..10"},
		{[]Scale{{"worker", 2, 2}, {"web", 1, 4}}, true, "web=1..4"},
		{[]Scale{{"web", 1, 4}}, false, "web=1..4"},
		{[]Scale{{"web", 3, 0}}, true, "web=3.."},
		{[]Scale{{"web", 3, 3}}, true, "web=3"},
		{nil, true, "web=0..10"},
		{nil, false, "web=0..10"},
	} {
		if changed := SetScale(s, tt.set); changed != tt.changed || WebScale(s).String() != tt.web || FileScale(s).String() != "web=0..10" {
			t.Errorf("%v: %t, %s, of the files %s", tt.set, changed, WebScale(s), FileScale(s))
		}
		if got := ScaleOf(s); len(got) != len(tt.set) {
			t.Errorf("%v is read back as %v", tt.set, got)
		}
	}
}
