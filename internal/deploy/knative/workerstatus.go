package knative

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/ptr"

	"github.com/gitd-io/gitd/internal/deploy"
)

// finishedNote is on the Deployment of a worker that has finished: it has no pod any more.
const finishedNote = "gitd.io/finished"

func isNotFound(err error) bool { return errors.Is(err, deploy.ErrNotFound) }

// Workers implements deploy.Platform.
func (p *Platform) Workers(ctx context.Context, service string) ([]deploy.WorkerStatus, error) {
	ctx = p.calling(ctx)
	all, err := p.workerStates(ctx, service)
	return all, explained(ctx, err, "see how the workers of "+service+" run")
}

func (p *Platform) workerStates(ctx context.Context, service string) ([]deploy.WorkerStatus, error) {
	if _, err := p.find(ctx, service); err != nil {
		return nil, err
	}
	namespace := p.namespace(service)
	have, err := list[appsv1.Deployment](ctx, p.c, deployments, namespace, ours(service)+","+procLabel)
	if err != nil {
		return nil, err
	}
	running, err := list[corev1.Pod](ctx, p.c, pods, namespace, ours(service)+","+procLabel+",!batch.kubernetes.io/job-name")
	if err != nil {
		return nil, err
	}
	all := []deploy.WorkerStatus{}
	for _, d := range have {
		s := deploy.WorkerStatus{Type: d.Labels[procLabel], Finished: d.Annotations[finishedNote] != ""}
		for i := range running {
			pod := &running[i]
			if !s.Finished && pod.DeletionTimestamp == nil && pod.Labels[procLabel] == s.Type && pod.Labels[revLabel] == d.Labels[revLabel] {
				p.workerState(ctx, pod, &s)
			}
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b deploy.WorkerStatus) int { return strings.Compare(a.Type, b.Type) })
	return all, nil
}

// workerState fills in what a worker's pod says.
func (p *Platform) workerState(ctx context.Context, pod *corev1.Pod, s *deploy.WorkerStatus) {
	c := stateOf(pod)
	if c == nil {
		return
	}
	if c.State.Running != nil {
		s.Since = c.State.Running.StartedAt.Time
	}
	ended := c.State.Terminated
	if ended == nil {
		ended = c.LastTerminationState.Terminated
	}
	if ended == nil {
		return
	}
	if ended.ExitCode == 0 && c.RestartCount <= 1 && ended.FinishedAt.Sub(ended.StartedAt.Time) < deploy.FinishesWithin {
		s.Finished = true
		return
	}
	switch ended.Reason {
	case "OOMKilled":
		s.Ended = &deploy.StartError{Reason: deploy.OutOfMemory, ExitCode: int(ended.ExitCode), Detail: memoryOf(&pod.Spec.Containers[0])}
	default:
		s.Ended = terminated(nil, ended)
	}
	s.Ended.LogTail, s.EndedAt = p.lastWords(ctx, pod), ended.FinishedAt.Add(time.Second) // nodes write whole seconds
}

// watchFinished looks for workers that end with status 0 right after their start, and takes their pods away, until all have been up for longer.
func (p *Platform) watchFinished(service string, r *release, types []string) {
	p.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, time.Minute+deploy.FinishesWithin)
		defer cancel()
		for left := slices.Clone(types); len(left) > 0; {
			select {
			case <-time.After(lookEvery):
			case <-ctx.Done():
				return
			}
			all, err := p.workerStates(ctx, service)
			if err != nil {
				continue
			}
			for _, w := range all {
				old := !w.Since.IsZero() && time.Since(w.Since) > deploy.FinishesWithin
				if w.Finished {
					old = p.finish(ctx, service, r, w.Type) == nil
				}
				if old {
					left = slices.DeleteFunc(left, func(t string) bool { return t == w.Type })
				}
			}
		}
	})
}

// finish notes that a worker of the release has finished, and leaves no pod of it.
func (p *Platform) finish(ctx context.Context, service string, r *release, process string) error {
	defer p.lock(service)()
	d, err := get[appsv1.Deployment](ctx, p.c, deployments, p.namespace(service), workerName(service, process))
	if err != nil || d.Labels[revLabel] != r.name || d.Annotations[finishedNote] != "" {
		return err
	}
	want, err := p.worker(d.Namespace, service, d.OwnerReferences, r, process)
	if err != nil {
		return err
	}
	want.Annotations, want.Spec.Replicas = map[string]string{finishedNote: r.name}, ptr.Int32(0)
	_, _, err = p.c.Apply(ctx, deployments, want)
	return err
}
