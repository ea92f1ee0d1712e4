package knative

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Ended implements deploy.Platform: the node writes down how a container ended before it starts the next one.
func (p *Platform) Ended(ctx context.Context, service, revision string, since time.Time) error {
	ctx = p.calling(ctx)
	rev, err := get[servingv1.Revision](ctx, p.c, revisions, p.namespace(service), revision)
	if err != nil {
		return explained(ctx, err, "see how "+revision+" runs")
	}
	all, err := p.podsOf(ctx, rev)
	if err != nil {
		return explained(ctx, err, "see how "+revision+" runs")
	}
	pod, last := lastEnd(all, since)
	if pod == nil {
		return nil
	}
	why := terminated(rev, last)
	why.LogTail = p.lastWords(ctx, pod)
	return why
}

// lastEnd returns the last end of an app's container after since, and its pod; nil where there was none. Nodes write whole seconds.
func lastEnd(all []corev1.Pod, since time.Time) (*corev1.Pod, *corev1.ContainerStateTerminated) {
	var pod *corev1.Pod
	var last *corev1.ContainerStateTerminated
	for i := range all {
		for _, c := range all[i].Status.ContainerStatuses {
			if c.Name == queueProxy {
				continue
			}
			for _, t := range []*corev1.ContainerStateTerminated{c.State.Terminated, c.LastTerminationState.Terminated} {
				if t != nil && !t.FinishedAt.Time.Before(since.Truncate(time.Second)) && (last == nil || last.FinishedAt.Before(&t.FinishedAt)) {
					pod, last = &all[i], t
				}
			}
		}
	}
	return pod, last
}
