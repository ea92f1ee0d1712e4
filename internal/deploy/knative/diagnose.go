package knative

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube"
	"github.com/gitd-io/gitd/internal/pattern"
)

// problem is why a revision is not up: an error that ends the wait when it lasts longer than its grace, or the phase of a normal start.
type problem struct {
	phase string
	key   string
	err   *deploy.StartError
	grace time.Duration
	pod   *corev1.Pod // whose last output belongs to the error; nil for none
	early bool        // the node may not have seen the Secret for the registry yet
	again *corev1.Pod // a pod worth replacing, since its replacement may start at once; nil for none
}

// diagnose looks at a revision that is not up and at its pods.
func diagnose(rev *servingv1.Revision, all []corev1.Pod, now time.Time) problem {
	h := problem{phase: "Knative makes its first pod"}
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
	// After its deadline Knative also gives what a container waits for as the reason, without a message.
	if available.IsFalse() && (available.Reason == servingv1.ReasonProgressDeadlineExceeded || available.Message == "") {
		if len(all) > 0 && isRunning(&all[0]) {
			return problem{key: "deadline", err: notListening(rev, limit), pod: &all[0]}
		}
		return problem{key: "deadline", err: runtimeError("it was not up within %s: still waiting, %s", limit, h.phase)}
	}
	switch {
	case available.IsFalse() && strings.Contains(available.Message, "exceeded quota"):
		_, quota, _ := strings.Cut(available.Message, "exceeded quota: ")
		return problem{key: "quota", err: noRoom("the namespace's quota is used up: %s", quota), grace: 2 * time.Second}
	case available.IsFalse() && available.Reason == "Unschedulable":
		return problem{key: "unschedulable", err: noRoom("no node has capacity for it: %s", available.Message), grace: scheduleTime}
	case available.IsFalse() && available.Reason == "FailedCreate":
		return problem{key: "create", err: runtimeError("the cluster refused its pod: %s", refusal(available.Message)), grace: 2 * time.Second}
	case healthy.IsFalse() && healthy.Reason == servingv1.ReasonContainerMissing:
		return imageProblem(healthy.Message)
	case healthy.IsFalse() && exitCode.MatchString(healthy.Reason):
		code, _ := strconv.Atoi(exitCode.FindStringSubmatch(healthy.Reason)[1])
		return problem{key: "exit", err: exited(rev, code, ""), grace: time.Second}
	}
	return problem{key: "other", err: runtimeError("%s", oneLine(cmp.Or(ready.Message, ready.Reason, "Knative gives no reason"))), grace: 5 * time.Second}
}

// refusal returns the part of an event's message that an admission webhook wrote.
func refusal(message string) string {
	if _, rest, ok := strings.Cut(message, " is forbidden: "); ok {
		message = rest
	}
	return oneLine(message)
}

var exitCode = pattern.New(`^ExitCode(\d+)$`)

func diagnosePod(rev *servingv1.Revision, pod *corev1.Pod, now time.Time) problem {
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return problem{key: "failed", err: runtimeError("its pod was terminated (%s): %s", pod.Status.Reason, oneLine(pod.Status.Message)), grace: 5 * time.Second, pod: pod}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return problem{key: "unschedulable", err: noRoom("no node has capacity for it: %s", oneLine(c.Message)), grace: scheduleTime, pod: pod}
		}
	}
	phase := "the cluster schedules its pod"
	if pod.Spec.NodeName != "" {
		phase = "the node " + pod.Spec.NodeName + " pulls the image and creates the container"
	}
	for i := range pod.Status.InitContainerStatuses {
		c := &pod.Status.InitContainerStatuses[i]
		if w := c.State.Waiting; w != nil {
			if h := diagnoseWaiting(pod, c, w); h.err != nil {
				return h
			}
		}
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			return problem{key: "init", err: runtimeError("its init container ended with status %d: %s", t.ExitCode, oneLine(t.Message)), grace: killedTime, pod: pod}
		}
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
	return problem{phase: phase}
}

func diagnoseContainer(rev *servingv1.Revision, pod *corev1.Pod, c *corev1.ContainerStatus, now time.Time) problem {
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
		return problem{key: "queue", err: runtimeError("Knative's queue-proxy ended with status %d: %s", ended.ExitCode, oneLine(ended.Message)), grace: scheduleTime, pod: pod}
	case ended != nil && ended.Reason == "Error" && ended.ExitCode == killed:
		return problem{key: "killed", err: terminated(rev, ended), grace: killedTime, pod: pod}
	case ended != nil:
		return problem{key: "exit", err: terminated(rev, ended), pod: pod}
	case c.Name != queueProxy && c.State.Running != nil && !c.Ready:
		limit := deadlineOf(rev)
		if waited := now.Sub(c.State.Running.StartedAt.Time); waited > limit {
			return problem{key: "silent", err: notListening(rev, limit), pod: pod}
		}
		return problem{phase: fmt.Sprintf("the app should listen on $PORT (%d)", portOf(rev))}
	}
	return problem{}
}

// diagnoseWaiting explains a container that the node cannot start.
func diagnoseWaiting(pod *corev1.Pod, c *corev1.ContainerStatus, w *corev1.ContainerStateWaiting) problem {
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError":
		if c.Name == queueProxy {
			return problem{key: "queue", err: runtimeError("the node cannot get Knative's own image %s: %s", c.Image, oneLine(w.Message)), grace: scheduleTime}
		}
		h := imageProblem(w.Message)
		if h.early {
			h.again = pod
		}
		return h
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError", "PostStartHookError":
		grace := 5 * time.Second
		if strings.Contains(w.Message, "failed to sync") || strings.Contains(w.Message, "deadline exceeded") || strings.Contains(w.Message, "timed out") {
			grace = time.Minute // the node is busy, and retries
		}
		return problem{key: "create", err: runtimeError("the node cannot create the container: %s", oneLine(w.Message)), grace: grace}
	}
	return problem{}
}

// killed is the status of a container that SIGKILL ended. A busy node may not know yet that the memory limit was the reason: the next
// start shows it.
const killed = 128 + int32(syscall.SIGKILL)

// imageProblem classifies a node's message about an image that it cannot pull. What may pass gets time for the node's second attempt.
func imageProblem(message string) problem {
	kind, cause := kube.ExplainPull(message)
	e := &deploy.StartError{Reason: deploy.ImageError, Detail: cmp.Or(cause, oneLine(message)), Missing: kind == kube.PullMissing}
	h := problem{key: "image", err: e}
	switch kind {
	case kube.PullRefused:
		e.Detail = "the registry refuses the nodes' credentials: " + cause
		h.grace, h.early = pullTime, true
	case kube.PullUnreachable:
		e.Detail = "the nodes cannot reach the registry: " + cause
		h.grace = pullTime
	case kube.PullUntrusted:
		e.Detail = "the nodes do not trust the registry: " + cause
	}
	return h
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

// memoryOf returns a container's memory limit for a message.
func memoryOf(c *corev1.Container) string {
	q, ok := c.Resources.Limits[corev1.ResourceMemory]
	if !ok || q.Value() == 0 {
		return "it has none, and the node's memory is used up"
	}
	return app.Size(q.Value())
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
