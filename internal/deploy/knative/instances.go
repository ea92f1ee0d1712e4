package knative

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitd-io/gitd/internal/deploy"
)

// podInstance is an instance with its pod.
type podInstance struct {
	deploy.Instance
	pod   string // its name; "" while there is none
	limit int64  // of its memory in bytes
}

// Instances implements deploy.Platform. What they use is known where the cluster has metrics.k8s.io, and gitd may read it.
func (p *Platform) Instances(ctx context.Context, service string, measure bool) ([]deploy.Instance, error) {
	ctx = p.calling(ctx)
	all, err := p.allInstances(ctx, service, measure)
	return all, explained(ctx, err, "see how the instances of "+service+" run")
}

func (p *Platform) allInstances(ctx context.Context, service string, measure bool) ([]deploy.Instance, error) {
	if _, err := p.find(ctx, service); err != nil {
		return nil, err
	}
	all, err := p.workerStates(ctx, service, !measure)
	if err != nil {
		return nil, err
	}
	running, err := list[corev1.Pod](ctx, p.c, pods, p.namespace(service), selector(serviceLabel, service))
	if err != nil {
		return nil, err
	}
	for i := range running {
		if !isPage(service, running[i].Labels[revisionLabel]) {
			all = append(all, webInstance(&running[i]))
		}
	}
	slices.SortFunc(all, func(a, b podInstance) int {
		return cmp.Or(strings.Compare(a.Revision, b.Revision), strings.Compare(a.Type, b.Type), cmp.Compare(len(a.Name), len(b.Name)), strings.Compare(a.Name, b.Name))
	})
	if measure {
		p.measure(ctx, service, all)
	}
	out := make([]deploy.Instance, len(all))
	for i, in := range all {
		out[i] = in.Instance
	}
	return out, nil
}

// Troubles implements deploy.Platform.
func (p *Platform) Troubles(ctx context.Context) (map[string]string, error) {
	ctx = p.calling(ctx)
	running, err := list[corev1.Pod](ctx, p.c, pods, p.o.Namespace, selector(managedBy, manager)+","+appLabel+notJobs)
	if err != nil {
		return nil, explained(ctx, err, "see how the instances run")
	}
	of := map[string][]deploy.Instance{}
	for i := range running {
		pod := &running[i]
		name := pod.Labels[appLabel]
		if pod.DeletionTimestamp != nil || p.ofAnotherGitd(pod) || pod.Namespace != p.namespace(name) {
			continue
		}
		in := webInstance(pod)
		if t := pod.Labels[procLabel]; t != "" {
			in.Type = t
		}
		of[name] = append(of[name], in.Instance)
	}
	found, now := map[string]string{}, time.Now()
	for name, all := range of {
		if words := deploy.Trouble(all, now); words != "" {
			found[name] = words
		}
	}
	return found, nil
}

// Memory implements deploy.Platform: the cluster's scheduler decides.
func (p *Platform) Memory(context.Context) (total, left int64) { return 0, 0 }

// webInstance is the instance in a pod of Knative's.
func webInstance(pod *corev1.Pod) podInstance {
	s := podInstance{Instance: deploy.Instance{Type: deploy.WebProcess, Name: pod.Name[strings.LastIndexByte(pod.Name, '-')+1:],
		Revision: pod.Labels[revisionLabel], State: deploy.InstanceStarting}}
	if c := stateOf(pod); c != nil {
		s.podState(pod, c)
	}
	switch {
	case pod.DeletionTimestamp != nil:
		s.State = deploy.InstanceStopping
	case s.State == deploy.InstanceUp && !podReady(pod):
		s.State = deploy.InstanceStarting
	}
	return s
}

// podState fills in what a pod says of its instance.
func (s *podInstance) podState(pod *corev1.Pod, c *corev1.ContainerStatus) {
	s.Restarts, s.pod = int(c.RestartCount), pod.Name
	spec := &pod.Spec.Containers[0]
	if i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == container }); i > 0 {
		spec = &pod.Spec.Containers[i]
	}
	s.limit = spec.Resources.Limits.Memory().Value()
	ended := endOf(c)
	switch {
	case c.State.Running != nil:
		s.State, s.Since = deploy.InstanceUp, c.State.Running.StartedAt.Time
	case ended != nil:
		s.State = deploy.InstanceRestarting
	}
	if ended == nil {
		return
	}
	if ended.Reason == "OOMKilled" {
		s.Ended = &deploy.StartError{Reason: deploy.OutOfMemory, ExitCode: int(ended.ExitCode), Detail: memoryOf(spec)}
	} else {
		s.Ended = terminated(nil, ended)
	}
	s.EndedAt = ended.FinishedAt.Add(time.Second) // nodes write whole seconds
}

// endOf is how a container ended last; nil where it has not.
func endOf(c *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if c.State.Terminated != nil {
		return c.State.Terminated
	}
	return c.LastTerminationState.Terminated
}

// measure fills in what the instances use.
func (p *Platform) measure(ctx context.Context, service string, all []podInstance) {
	found, err := p.c.Resource(podMetrics, p.namespace(service)).List(ctx, metav1.ListOptions{})
	if err != nil { // the cluster has no metrics, or gitd may not read them
		return
	}
	for i := range all {
		for j := range found.Items {
			if m := &found.Items[j]; m.GetName() == all[i].pod && all[i].pod != "" {
				all[i].Usage = usageIn(m, all[i].limit)
			}
		}
	}
}

// usageIn reads the app's container in the PodMetrics of a pod; nil where they do not have it.
func usageIn(m *unstructured.Unstructured, limit int64) *deploy.Usage {
	containers, _, _ := unstructured.NestedSlice(m.Object, "containers")
	for _, c := range containers {
		of, ok := c.(map[string]any)
		if !ok || of["name"] != container {
			continue
		}
		memory, _, _ := unstructured.NestedString(of, "usage", "memory")
		cpu, _, _ := unstructured.NestedString(of, "usage", "cpu")
		used, err := resource.ParseQuantity(memory)
		if err != nil {
			return nil
		}
		cores, err := resource.ParseQuantity(cpu)
		if err != nil {
			return nil
		}
		return &deploy.Usage{Memory: used.Value(), Limit: limit, CPU: cores.AsApproximateFloat64()}
	}
	return nil
}
