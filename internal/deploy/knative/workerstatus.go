package knative

import (
	"context"
	"errors"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/ptr"

	"github.com/gitd-io/gitd/internal/deploy"
)

// finishedNote is on the Deployment of a worker that has finished: it has no pod any more.
const finishedNote = "gitd.io/finished"

func isNotFound(err error) bool { return errors.Is(err, deploy.ErrNotFound) }

// workerStates returns the instances that the workers of a Service should have, by name.
// With words they have their last lines.
func (p *Platform) workerStates(ctx context.Context, service string, words bool) ([]podInstance, error) {
	namespace := p.namespace(service)
	have, err := list[appsv1.Deployment](ctx, p.c, deployments, namespace, ours(service)+","+procLabel)
	if err != nil {
		return nil, err
	}
	running, err := list[corev1.Pod](ctx, p.c, pods, namespace, ours(service)+","+procLabel+notJobs)
	if err != nil {
		return nil, err
	}
	var all []podInstance
	for _, d := range have {
		at := placeOf(d.Labels)
		s := podInstance{Instance: deploy.Instance{Type: at.worker.Type, Name: at.name(), Revision: d.Labels[revLabel], State: deploy.InstanceStarting}}
		if d.Annotations[finishedNote] != "" {
			s.State = deploy.InstanceFinished
		}
		for i := range running {
			pod := &running[i]
			if s.State != deploy.InstanceFinished && pod.DeletionTimestamp == nil && placeOf(pod.Labels).name() == s.Name && pod.Labels[revLabel] == s.Revision {
				s.workerState(pod)
				if words && s.Ended != nil {
					s.Ended.LogTail = p.lastWords(ctx, pod)
				}
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// workerState fills in what a worker's pod says.
func (s *podInstance) workerState(pod *corev1.Pod) {
	c := stateOf(pod)
	if c == nil {
		return
	}
	if ended := endOf(c); ended != nil && ended.ExitCode == 0 && c.RestartCount <= 1 && ended.FinishedAt.Sub(ended.StartedAt.Time) < deploy.FinishesWithin {
		s.State, s.Since = deploy.InstanceFinished, time.Time{}
		return
	}
	s.podState(pod, c)
}

// watchFinished looks for workers that end with status 0 right after their start, and takes their pods away, until all have been up for longer.
func (p *Platform) watchFinished(service string, r *release, places []place) {
	p.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, time.Minute+deploy.FinishesWithin)
		defer cancel()
		for left := slices.Clone(places); len(left) > 0; {
			select {
			case <-time.After(lookEvery):
			case <-ctx.Done():
				return
			}
			all, err := p.workerStates(ctx, service, false)
			if err != nil {
				continue
			}
			for _, w := range all {
				old := !w.Since.IsZero() && time.Since(w.Since) > deploy.FinishesWithin
				i := slices.IndexFunc(left, func(at place) bool { return at.name() == w.Name })
				if i < 0 {
					continue
				}
				if w.State == deploy.InstanceFinished {
					old = p.finish(ctx, service, r, left[i]) == nil
				}
				if old {
					left = slices.Delete(left, i, i+1)
				}
			}
		}
	})
}

// finish notes that a worker of the release has finished, and leaves no pod of it.
func (p *Platform) finish(ctx context.Context, service string, r *release, at place) error {
	defer p.lock(service)()
	d, err := get[appsv1.Deployment](ctx, p.c, deployments, p.namespace(service), workerName(service, at))
	if err != nil || d.Labels[revLabel] != r.name || d.Annotations[finishedNote] != "" {
		return err
	}
	want, err := p.worker(d.Namespace, service, d.OwnerReferences, r, at)
	if err != nil {
		return err
	}
	if err := p.keepLog(ctx, service, r, at); err != nil {
		return err
	}
	want.Annotations, want.Spec.Replicas = map[string]string{finishedNote: r.name}, ptr.Int32(0)
	_, _, err = p.c.Apply(ctx, deployments, want)
	return err
}
