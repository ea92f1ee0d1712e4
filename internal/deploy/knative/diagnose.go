package knative

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/deploy"
)

// hindrance is why a revision is not up: an error that ends the wait when it lasts longer than its grace, or what is waited for.
type hindrance struct {
	phase string
	key   string
	err   *deploy.StartError
	grace time.Duration
	pod   *corev1.Pod // whose last words tell more; nil for none
	early bool        // it may come of a Secret that the node did not see yet
	again *corev1.Pod // that another one in its place may come up at once; nil for none
}

// diagnose looks at a revision that is not up and at its pods.
func diagnose(rev *servingv1.Revision, all []corev1.Pod, now time.Time) hindrance {
	h := hindrance{phase: "Knative makes its first pod"}
	for i := range all {
		h = diagnosePod(rev, &all[i], now)
		if h.err != nil {
			return h
		}
	}
	ready := rev.Status.GetCondition(servingv1.RevisionConditionReady)
	if !ready.IsFalse() {
		return h
	}
	available := rev.Status.GetCondition(servingv1.RevisionConditionResourcesAvailable)
	healthy := rev.Status.GetCondition(servingv1.RevisionConditionContainerHealthy)
	limit := deadlineOf(rev)
	// Over its deadline Knative also gives what a container waits for as the reason, without a message.
	if available.IsFalse() && (available.Reason == servingv1.ReasonProgressDeadlineExceeded || available.Message == "") {
		if len(all) > 0 && isRunning(&all[0]) {
			return hindrance{key: "deadline", err: notListening(rev, limit), pod: &all[0]}
		}
		return hindrance{key: "deadline", err: runtimeError("it was not up within %s: still waiting, %s", limit, h.phase)}
	}
	switch {
	case available.IsFalse() && strings.Contains(available.Message, "exceeded quota"):
		_, quota, _ := strings.Cut(available.Message, "exceeded quota: ")
		return hindrance{key: "quota", err: noRoom("the namespace's quota is used up: %s", quota), grace: 2 * time.Second}
	case available.IsFalse() && available.Reason == "Unschedulable":
		return hindrance{key: "unschedulable", err: noRoom("no node can take it: %s", available.Message), grace: scheduleTime}
	case available.IsFalse() && available.Reason == "FailedCreate":
		return hindrance{key: "create", err: runtimeError("the cluster does not take its pod: %s", refusal(available.Message)), grace: 2 * time.Second}
	case healthy.IsFalse() && healthy.Reason == servingv1.ReasonContainerMissing:
		return imageHindrance(healthy.Message)
	case healthy.IsFalse() && exitCode.MatchString(healthy.Reason):
		code, _ := strconv.Atoi(exitCode.FindStringSubmatch(healthy.Reason)[1])
		return hindrance{key: "exit", err: exited(rev, code, ""), grace: time.Second}
	}
	return hindrance{key: "other", err: runtimeError("%s", oneLine(cmp.Or(ready.Message, ready.Reason, "Knative gives no reason"))), grace: 5 * time.Second}
}

// refusal takes the sentence of an admission webhook out of an event's message.
func refusal(message string) string {
	if _, rest, ok := strings.Cut(message, " is forbidden: "); ok {
		message = rest
	}
	return oneLine(message)
}

var exitCode = regexp.MustCompile(`^ExitCode(\d+)$`)

func diagnosePod(rev *servingv1.Revision, pod *corev1.Pod, now time.Time) hindrance {
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return hindrance{key: "failed", err: runtimeError("its pod was ended (%s): %s", pod.Status.Reason, oneLine(pod.Status.Message)), grace: 5 * time.Second, pod: pod}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return hindrance{key: "unschedulable", err: noRoom("no node can take it: %s", oneLine(c.Message)), grace: scheduleTime, pod: pod}
		}
	}
	phase := "a node takes its pod"
	if pod.Spec.NodeName != "" {
		phase = "the node " + pod.Spec.NodeName + " pulls the image and makes the container"
	}
	for i := range pod.Status.ContainerStatuses {
		c := &pod.Status.ContainerStatuses[i]
		h := diagnoseContainer(rev, pod, c, now)
		if h.err != nil {
			return h
		}
		if c.Name != queueProxy && h.phase != "" {
			phase = h.phase
		}
	}
	return hindrance{phase: phase}
}

func diagnoseContainer(rev *servingv1.Revision, pod *corev1.Pod, c *corev1.ContainerStatus, now time.Time) hindrance {
	if w := c.State.Waiting; w != nil {
		h := diagnoseWaiting(pod, c, w)
		if h.err != nil {
			return h
		}
	}
	ended := c.State.Terminated
	if ended == nil && !c.Ready {
		ended = c.LastTerminationState.Terminated
	}
	switch {
	case ended != nil && c.Name == queueProxy:
		return hindrance{key: "queue", err: runtimeError("Knative's queue-proxy ended with status %d: %s", ended.ExitCode, oneLine(ended.Message)), grace: scheduleTime, pod: pod}
	case ended != nil && ended.Reason == "Error" && ended.ExitCode == killed:
		return hindrance{key: "killed", err: terminated(rev, ended), grace: killedTime, pod: pod}
	case ended != nil:
		return hindrance{key: "exit", err: terminated(rev, ended), pod: pod}
	case c.Name != queueProxy && c.State.Running != nil && !c.Ready:
		limit := deadlineOf(rev)
		if waited := now.Sub(c.State.Running.StartedAt.Time); waited > limit {
			return hindrance{key: "silent", err: notListening(rev, limit), pod: pod}
		}
		return hindrance{phase: fmt.Sprintf("the app is to listen on $PORT (%d)", portOf(rev))}
	}
	return hindrance{}
}

// diagnoseWaiting explains a container that the node cannot start.
func diagnoseWaiting(pod *corev1.Pod, c *corev1.ContainerStatus, w *corev1.ContainerStateWaiting) hindrance {
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError":
		if c.Name == queueProxy {
			return hindrance{key: "queue", err: runtimeError("the node cannot get Knative's own image %s: %s", c.Image, oneLine(w.Message)), grace: scheduleTime}
		}
		h := imageHindrance(w.Message)
		if h.early {
			h.again = pod
		}
		return h
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError", "PostStartHookError":
		grace := 5 * time.Second
		if strings.Contains(w.Message, "failed to sync") || strings.Contains(w.Message, "deadline exceeded") || strings.Contains(w.Message, "timed out") {
			grace = time.Minute // a node that is busy, and tries again
		}
		return hindrance{key: "create", err: runtimeError("the node cannot make the container: %s", oneLine(w.Message)), grace: grace}
	}
	return hindrance{}
}

// killed is the status of a container that SIGKILL ended. A node that is busy may not have learned yet that its memory limit did it:
// the next start tells.
const killed = 128 + int32(syscall.SIGKILL)

// imageHindrance sorts what a node says of an image that it cannot pull. What can pass has time for the node's second attempt: a node asks
// the registry without credentials where it does not see the Secret yet that was made a moment before the pod.
func imageHindrance(message string) hindrance {
	e := &deploy.StartError{Reason: deploy.ImageError, Detail: pulled(message)}
	low := strings.ToLower(message)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(low, p) {
				return true
			}
		}
		return false
	}
	h := hindrance{key: "image", err: e}
	switch {
	case has("unauthorized", "authentication required", "authorization failed", "401", "403", "denied", "no basic auth"):
		e.Detail = "the registry does not let the nodes pull it: " + e.Detail
		h.grace, h.early = pullTime, true
	case has("manifest unknown", "not found", "name unknown", "404"):
		e.Missing = true
	case has("no such host", "connection refused", "i/o timeout", "no route to host", "network is unreachable", "deadline exceeded", "server misbehaving", "connection reset"):
		e.Detail = "the nodes cannot reach the registry: " + e.Detail
		h.grace = pullTime
	case has("x509", "tls:", "http: server gave http response"):
		e.Detail = "the nodes do not trust the registry: " + e.Detail
	}
	return h
}

// pulled shortens a node's message to what went wrong: it repeats itself.
func pulled(message string) string {
	message = oneLine(message)
	if i := strings.LastIndex(message, "desc = "); i >= 0 {
		message = message[i+len("desc = "):]
	}
	for _, lead := range []string{"failed to pull and unpack image ", "failed to resolve image: ", "failed to resolve reference "} {
		if i := strings.LastIndex(message, lead); i >= 0 {
			message = message[i+len(lead):]
		}
	}
	return message
}

func terminated(rev *servingv1.Revision, t *corev1.ContainerStateTerminated) *deploy.StartError {
	switch t.Reason {
	case "OOMKilled":
		return &deploy.StartError{Reason: deploy.OutOfMemory, Port: portOf(rev), ExitCode: int(t.ExitCode), Detail: memoryOf(&rev.Spec.Containers[0])}
	case "StartError", "ContainerCannotRun":
		return runtimeError("the container does not start: %s", oneLine(t.Message))
	}
	signal := ""
	if t.Signal != 0 {
		signal = syscall.Signal(t.Signal).String()
	}
	return exited(rev, int(t.ExitCode), signal)
}

// exited is an app that ended. Kubernetes writes an end by signal n as status 128+n.
func exited(rev *servingv1.Revision, code int, signal string) *deploy.StartError {
	e := &deploy.StartError{Reason: deploy.Exited, ExitCode: code, Signal: signal}
	if rev != nil {
		e.Port = portOf(rev)
	}
	if signal == "" && code > 128 && code <= 128+64 {
		e.ExitCode, e.Signal = 0, syscall.Signal(code-128).String()
	}
	return e
}

func notListening(rev *servingv1.Revision, waited time.Duration) *deploy.StartError {
	return &deploy.StartError{Reason: deploy.NotListening, Port: portOf(rev), Waited: waited}
}

func runtimeError(format string, args ...any) *deploy.StartError {
	return &deploy.StartError{Reason: deploy.RuntimeError, Detail: fmt.Sprintf(format, args...)}
}

func noRoom(format string, args ...any) *deploy.StartError {
	return &deploy.StartError{Reason: deploy.NoRoom, Detail: fmt.Sprintf(format, args...)}
}

// isRunning tells whether a pod's app runs.
func isRunning(pod *corev1.Pod) bool {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name != queueProxy {
			return c.State.Running != nil
		}
	}
	return false
}

func portOf(rev *servingv1.Revision) int {
	if len(rev.Spec.Containers) > 0 && len(rev.Spec.Containers[0].Ports) > 0 {
		return int(rev.Spec.Containers[0].Ports[0].ContainerPort)
	}
	return 8080
}

// memoryOf is a container's memory limit in words.
func memoryOf(c *corev1.Container) string {
	q, ok := c.Resources.Limits[corev1.ResourceMemory]
	n := q.Value()
	switch {
	case !ok || n == 0:
		return "it has none, and the node had no more"
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
