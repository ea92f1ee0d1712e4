package knative

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestLastEnd(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 6e8, time.UTC)
	at := func(seconds int, code int32) *corev1.ContainerStateTerminated {
		return &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.NewTime(began.Truncate(time.Second).Add(time.Duration(seconds) * time.Second))}
	}
	pod := func(name string, now, before *corev1.ContainerStateTerminated) corev1.Pod {
		return corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: name, State: corev1.ContainerState{Terminated: now}, LastTerminationState: corev1.ContainerState{Terminated: before}}}}}
	}
	for what, c := range map[string]struct {
		pods []corev1.Pod
		want int32
	}{
		"no pod":                      {nil, 0},
		"runs":                        {[]corev1.Pod{pod("app", nil, nil)}, 0},
		"ended before":                {[]corev1.Pod{pod("app", nil, at(-1, 3))}, 0},
		"ended in the same second":    {[]corev1.Pod{pod("app", nil, at(0, 3))}, 3},
		"ended, and started again":    {[]corev1.Pod{pod("app", nil, at(2, 3))}, 3},
		"ended":                       {[]corev1.Pod{pod("app", at(2, 3), nil)}, 3},
		"the last one counts":         {[]corev1.Pod{pod("app", at(4, 5), at(2, 3)), pod("app", at(1, 2), nil)}, 5},
		"what is Knative's own":       {[]corev1.Pod{pod(queueProxy, at(2, 3), nil)}, 0},
		"one of many, and not theirs": {[]corev1.Pod{pod("app", nil, nil), pod("app", nil, at(3, 7))}, 7},
	} {
		got := int32(0)
		if _, last := lastEnd(c.pods, began); last != nil {
			got = last.ExitCode
		}
		if got != c.want {
			t.Errorf("%s: %d, want %d", what, got, c.want)
		}
	}
}
