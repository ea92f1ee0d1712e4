package cluster

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/cluster/wire"
)

func waiting(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: wire.Prepare, Image: "registry/gitd/builder",
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}
	}
}

func condition(kind corev1.PodConditionType, status corev1.ConditionStatus, reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: kind, Status: status, Reason: reason, Message: message})
	}
}

func failed(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, reason, message
	}
}

func deleted(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }

const nodes = "0/3 nodes are available: 3 Insufficient memory."

// verdicts are states of a Pod, and what they mean for its build.
var verdicts = []struct {
	what    string
	after   time.Duration // that the Pod has been so
	gone    bool
	pod     []func(*corev1.Pod)
	code    app.Code
	message string // "": it goes on
	note    string
}{
	{"new", 0, false, nil, "", "", ""},
	{"container created", time.Hour, false, []func(*corev1.Pod){waiting("PodInitializing", "")}, "", "", ""},
	{"a container failed", 0, false, []func(*corev1.Pod){failed("", "")}, "", "", ""},
	{"no image", 0, false, []func(*corev1.Pod){waiting("ErrImagePull",
		`rpc error: code = NotFound desc = failed to pull and unpack image "r/gitd/builder@sha256:0": failed to resolve reference "r/gitd/builder@sha256:0": r/gitd/builder@sha256:0: not found`)},
		app.CodeUnavailable, "the node n1 cannot pull the builder image: r/gitd/builder@sha256:0: not found", ""},
	{"no registry yet", 0, false, []func(*corev1.Pod){waiting("ErrImagePull",
		`failed to pull and unpack image "r/b@sha256:0": failed to resolve reference "r/b@sha256:0": failed to do request: Head "http://r/v2/b/manifests/sha256:0": dial tcp 10.0.0.1:5000: connect: connection refused`)},
		"", "", "the node n1 cannot pull the builder image yet: dial tcp 10.0.0.1:5000: connect: connection refused"},
	{"no registry", time.Minute, false, []func(*corev1.Pod){waiting("ImagePullBackOff",
		`Back-off pulling image "r/b": ErrImagePull: failed to do request: Head "http://r/v2/b/manifests/sha256:0": dial tcp 10.0.0.1:5000: connect: connection refused`)},
		app.CodeUnavailable, "the node n1 cannot pull the builder image: dial tcp 10.0.0.1:5000: connect: connection refused", "the node n1 cannot pull"},
	{"no login yet", 10 * time.Second, false, []func(*corev1.Pod){waiting("ErrImagePull",
		`failed to pull and unpack image "r/b@sha256:0": failed to resolve reference "r/b@sha256:0": pulling from host r failed with status code [manifests sha256:0]: 401 Unauthorized`)},
		"", "", "the node n1 cannot pull the builder image yet: pulling from host r failed with status code [manifests sha256:0]: 401 Unauthorized"},
	{"no login", time.Minute, false, []func(*corev1.Pod){waiting("ErrImagePull", `failed to resolve reference "r/b@sha256:0": 401 Unauthorized`)},
		app.CodeUnavailable, "the node n1 cannot pull the builder image: 401 Unauthorized", "the node n1 cannot pull the builder image yet"},
	{"backing off without a reason", time.Minute, false, []func(*corev1.Pod){waiting("ImagePullBackOff", `Back-off pulling image "r/b"`)},
		app.CodeUnavailable, "the node n1 cannot pull the builder image: ImagePullBackOff", ""},
	{"no program", 0, false, []func(*corev1.Pod){waiting("RunContainerError", `exec: "/opt/gitd/bin/gitd-pod": no such file or directory`)},
		app.CodeUnavailable, `the node n1 cannot start the build: exec: "/opt/gitd/bin/gitd-pod": no such file or directory`, ""},
	{"unscheduled", 0, false, []func(*corev1.Pod){condition(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", nodes)}, "", "", "waiting for a node (at most 1m0s): " + nodes},
	{"unscheduled for long", 2 * time.Minute, false, []func(*corev1.Pod){condition(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", nodes)},
		app.CodeUnavailable, "no node took the build within 1m0s: " + nodes, "waiting for a node"},
	{"over its disk", 0, false, []func(*corev1.Pod){failed("Evicted", `Usage of EmptyDir volume "layers" exceeds the limit "64Mi". `)},
		app.CodeLimitExceeded, "build stopped at its disk limit of 64 MiB for source, layers and cache together", ""},
	{"over its disk in all", 0, false, []func(*corev1.Pod){failed("Evicted", `Pod ephemeral local storage usage exceeds the total limit of containers 64Mi. `)},
		app.CodeLimitExceeded, "build stopped at its disk limit of 64 MiB for source, layers and cache together", ""},
	{"the node's disk", 0, false, []func(*corev1.Pod){failed("Evicted", "The node was low on resource: ephemeral-storage.")},
		app.CodeUnavailable, "the node n1 put the build out: The node was low on resource: ephemeral-storage.", ""},
	{"too long", 0, false, []func(*corev1.Pod){failed("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")},
		app.CodeLimitExceeded, "the build was stopped at its time limit of 15m0s", ""},
	{"another end", 0, false, []func(*corev1.Pod){failed("UnexpectedAdmissionError", "no devices")}, app.CodeUnavailable, "the node n1 ended the build: UnexpectedAdmissionError no devices", ""},
	{"removed", 0, false, []func(*corev1.Pod){deleted}, app.CodeUnavailable, "the build's Pod was removed from outside gitd", ""},
	{"gone", 0, true, nil, app.CodeUnavailable, "the build's Pod was removed from outside gitd", ""},
	{"node lost", 0, false, []func(*corev1.Pod){deleted, condition(corev1.DisruptionTarget, corev1.ConditionTrue, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")},
		app.CodeUnavailable, "the node n1 was lost during the build", ""},
	{"node drained", 0, false, []func(*corev1.Pod){deleted, condition(corev1.DisruptionTarget, corev1.ConditionTrue, "EvictionByEvictionAPI", "")},
		app.CodeUnavailable, "the node n1 is being emptied, and the build with it", ""},
	{"preempted", 0, true, []func(*corev1.Pod){condition(corev1.DisruptionTarget, corev1.ConditionTrue, "PreemptionByScheduler", "")},
		app.CodeUnavailable, "the build had to make room on the node n1 for a Pod of higher priority", ""},
}

func TestVerdict(t *testing.T) {
	for _, c := range verdicts {
		t.Run(c.what, func(t *testing.T) {
			p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}}
			for _, f := range c.pod {
				f(p)
			}
			var notes []string
			j := &judge{limits: build.Limits{Disk: 64 << 20}.WithDefaults(), schedule: time.Minute, pull: 15 * time.Second,
				note: func(_ string, args ...any) { notes = append(notes, args[0].(string)) }}
			now := time.Unix(1000, 0)
			err := j.verdict(p, c.gone, now)
			if c.after > 0 {
				err = j.verdict(p, c.gone, now.Add(c.after))
			}
			if (err == nil) != (c.message == "") || err != nil && err.Error() != c.message || app.CodeOf(err) != c.code {
				t.Errorf("got  %v (%s)\nwant %s (%s)", err, app.CodeOf(err), c.message, c.code)
			}
			if err != nil {
				if _, next := app.Explain(err); next == "" {
					t.Error("it does not say what to do")
				}
			}
			if c.note != "" && (len(notes) != 1 || !strings.HasPrefix(notes[0], c.note)) {
				t.Errorf("notes %q, want %q", notes, c.note)
			}
		})
	}
}

func TestVerdictBeforeAnythingIsKnown(t *testing.T) {
	j := &judge{note: func(string, ...any) {}}
	if err := j.verdict(nil, false, time.Now()); err != nil {
		t.Error(err)
	}
	if err := j.verdict(nil, true, time.Now()); err == nil {
		t.Error("a Pod that is gone is not taken for a failure")
	}
}

// TestRemovedIsOver is about nodes that are lost: their containers are told as running for ever.
func TestRemovedIsOver(t *testing.T) {
	p := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: wire.Export,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}}
	if ended(wire.Export)(p) {
		t.Error("it runs")
	}
	deleted(p)
	if !ended(wire.Export)(p) {
		t.Error("it is waited for")
	}
}
