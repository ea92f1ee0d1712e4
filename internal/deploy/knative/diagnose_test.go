package knative

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
)

// TestDiagnose checks what is made of the state of a pod and of a revision.
func TestDiagnose(t *testing.T) {
	now := time.Now()
	waiting := func(reason, message string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: container, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
	}
	ended := func(code int32, reason, message string) corev1.ContainerStatus {
		s := waiting("CrashLoopBackOff", "back-off 10s restarting failed container")
		s.RestartCount = 1
		s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}
		return s
	}
	running := func(since time.Duration) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: container, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now.Add(-since))}}}
	}
	const pull = `Back-off pulling image "r:5000/a@sha256:0": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image "r:5000/a@sha256:0": failed to resolve reference "r:5000/a@sha256:0": r:5000/a@sha256:0: `
	for name, c := range map[string]struct {
		status    *corev1.ContainerStatus
		scheduled string // why not
		available [2]string
		healthy   [2]string
		want      string // of the error, or of the phase
		missing   bool
		reason    deploy.StartReason
		soon      bool // without grace
	}{
		"no pod yet":     {want: "Knative makes its first pod"},
		"being made":     {status: at(waiting("ContainerCreating", "")), want: "the node n1 pulls the image and creates the container"},
		"listens soon":   {status: at(running(time.Second)), want: "the app should listen on $PORT (5000)"},
		"listens not":    {status: at(running(time.Minute)), reason: deploy.NotListening, want: "the app did not listen on $PORT (5000) within 30s", soon: true},
		"exits":          {status: at(ended(3, "Error", "")), reason: deploy.Exited, want: "the app exited with status 3 before it answered", soon: true},
		"signal":         {status: at(ended(139, "Error", "")), reason: deploy.Exited, want: "terminated by a signal (segmentation fault)", soon: true},
		"killed":         {status: at(ended(137, "Error", "")), reason: deploy.Exited, want: "terminated by a signal (killed)"},
		"memory":         {status: at(ended(137, "OOMKilled", "")), reason: deploy.OutOfMemory, want: "the app was killed at its memory limit: 64 MiB", soon: true},
		"no such binary": {status: at(ended(128, "StartError", "exec: \"/x\": no such file")), reason: deploy.RuntimeError, want: "the container does not start: exec: \"/x\": no such file", soon: true},
		"image gone": {status: at(waiting("ImagePullBackOff", pull+"not found")), reason: deploy.ImageError, missing: true, soon: true,
			want: "the image cannot be used: r:5000/a@sha256:0: not found"},
		"no registry": {status: at(waiting("ErrImagePull", pull+"dial tcp 10.0.0.9:5000: connect: connection refused")), reason: deploy.ImageError,
			want: "the nodes cannot reach the registry: "},
		"no login":          {status: at(waiting("ErrImagePull", pull+"401 Unauthorized")), reason: deploy.ImageError, want: "the registry refuses the nodes' credentials: "},
		"no trust":          {status: at(waiting("ErrImagePull", pull+"tls: failed to verify certificate: x509: certificate signed by unknown authority")), reason: deploy.ImageError, soon: true, want: "the nodes do not trust the registry: "},
		"root":              {status: at(waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")), reason: deploy.RuntimeError, want: "image will run as root"},
		"no room":           {scheduled: "0/1 nodes are available: 1 Insufficient memory.", reason: deploy.NoRoom, want: "no node has capacity for it: 0/1 nodes are available: 1 Insufficient memory."},
		"quota":             {available: [2]string{"FailedCreate", `pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2`}, reason: deploy.NoRoom, want: "the namespace's quota is used up: small, requested: pods=1, used: pods=2, limited: pods=2"},
		"webhook":           {available: [2]string{"FailedCreate", `admission webhook "w" denied the request: no`}, reason: deploy.RuntimeError, want: `the cluster refused its pod: admission webhook "w" denied the request: no`},
		"deadline, no pod":  {available: [2]string{"ProgressDeadlineExceeded", ""}, reason: deploy.RuntimeError, want: "it was not up within 30s: still waiting, Knative makes its first pod", soon: true},
		"deadline, running": {status: at(running(time.Second)), available: [2]string{"ProgressDeadlineExceeded", ""}, reason: deploy.NotListening, want: "did not listen on $PORT (5000) within 30s", soon: true},
		"exited, pods gone": {healthy: [2]string{"ExitCode3", "Container failed with: x"}, reason: deploy.Exited, want: "the app exited with status 3 before it answered"},
	} {
		rev := &servingv1.Revision{ObjectMeta: metav1.ObjectMeta{Name: "a-v1", Annotations: map[string]string{"serving.knative.dev/progress-deadline": "30s"}}}
		rev.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 5000}},
			Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}}}}
		rev.Status.InitializeConditions()
		if c.available[0] != "" {
			rev.Status.MarkResourcesAvailableFalse(c.available[0], c.available[1])
		}
		if c.healthy[0] != "" {
			rev.Status.MarkContainerHealthyFalse(c.healthy[0], c.healthy[1])
		}
		var pods []corev1.Pod
		if c.status != nil || c.scheduled != "" {
			pod := corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}}
			if c.status != nil {
				pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: queueProxy, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}, *c.status}
			} else {
				pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: c.scheduled}}
			}
			pods = append(pods, pod)
		}
		h := diagnose(rev, pods, now)
		if h.err == nil {
			if c.reason != "" || h.phase != c.want {
				t.Errorf("%s: waits for %q, want %q", name, h.phase, c.want)
			}
			continue
		}
		if !strings.Contains(h.err.Error(), c.want) || h.err.Reason != c.reason || h.err.Missing != c.missing || (h.grace == 0) != c.soon {
			t.Errorf("%s: %+v after %v, want %q", name, h.err, h.grace, c.want)
		}
	}
}

func at[T any](v T) *T { return &v }

// What is kept in a Secret gives the same release again; the order of variables does not matter, everything else does.
// TestDiagnoseInit: what keeps an init container from running is told as of any other.
func TestDiagnoseInit(t *testing.T) {
	for want, state := range map[string]corev1.ContainerState{
		"the registry refuses the nodes' credentials": {Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "401 Unauthorized"}},
		"its init container ended with status 3: no":  {Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Message: "no"}},
	} {
		pod := &corev1.Pod{Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{Name: "gitd", State: state}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: container, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}}}}}}
		if h := diagnosePod(nil, pod, time.Now()); h.err == nil || !strings.Contains(h.err.Error(), want) {
			t.Errorf("%v, want %s", h.err, want)
		}
	}
}

func TestRelease(t *testing.T) {
	template := func(change func(*servingv1.RevisionTemplateSpec)) servingv1.RevisionTemplateSpec {
		var s servingv1.RevisionTemplateSpec
		s.Name = "a-v1"
		s.Annotations = map[string]string{"x": "y"}
		s.Spec.TimeoutSeconds = ptr.Int64(30)
		s.Spec.Containers = []corev1.Container{{Image: "a@sha256:1", Env: []corev1.EnvVar{{Name: "B", Value: "2\n"}, {Name: "A", Value: "ä"}},
			Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("0.5Gi")}}}}
		if change != nil {
			change(&s)
		}
		return s
	}
	one, err := newRelease("a", template(nil))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := one.secret("n", "a")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(secret.Annotations[templNote], "ä") {
		t.Error("a value is in a note, where everybody sees it")
	}
	read, err := readRelease(secret)
	if err != nil {
		t.Fatal(err)
	}
	again, err := newRelease("a", read.original())
	if err != nil || again.hash != one.hash || read.hash != one.hash || again.name != "a-v1" {
		t.Errorf("%+v became %+v, %v", one, again, err)
	}
	for name, change := range map[string]func(*servingv1.RevisionTemplateSpec){
		"image":      func(s *servingv1.RevisionTemplateSpec) { s.Spec.Containers[0].Image = "a@sha256:2" },
		"value":      func(s *servingv1.RevisionTemplateSpec) { s.Spec.Containers[0].Env[0].Value = "3" },
		"annotation": func(s *servingv1.RevisionTemplateSpec) { s.Annotations["x"] = "z" },
	} {
		other, err := newRelease("a", template(change))
		if err != nil || other.hash == one.hash {
			t.Errorf("another %s makes no difference (%v)", name, err)
		}
	}
	for _, change := range []func(*servingv1.RevisionTemplateSpec){
		func(s *servingv1.RevisionTemplateSpec) { s.Spec.Containers[0].Image = "a:latest" },
		func(s *servingv1.RevisionTemplateSpec) { s.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{}} },
		func(s *servingv1.RevisionTemplateSpec) {
			s.Spec.Containers[0].Env[0].ValueFrom = &corev1.EnvVarSource{}
		},
		func(s *servingv1.RevisionTemplateSpec) { s.Spec.Containers = nil },
	} {
		if _, err := newRelease("a", template(change)); err == nil {
			t.Error("it was taken")
		}
	}
}

func TestObjectName(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"hello.worker", "hello.Worker", "hello.wor_ker", "hello.wor-ker", "hello.a..b", "hello.a.-b", strings.Repeat("x", 70) + ".a", strings.Repeat("x", 70) + ".b"} {
		got := objectName(name, 50)
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s are both %s", name, other, got)
		}
		seen[got] = name
		if len(got) > 50 || strings.ToLower(got) != got || strings.ContainsAny(got, "_") || strings.Contains(got, "..") || strings.Contains(got, ".-") {
			t.Errorf("%s became %s", name, got)
		}
	}
	if objectName("hello.worker", 50) != "hello.worker" {
		t.Error("a good name was changed")
	}
}
