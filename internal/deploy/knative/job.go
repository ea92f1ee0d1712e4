package knative

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"syscall"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/kube"
)

// follow waits for a Job's pod, copies its output to w, and returns how it ended.
func (p *Platform) follow(ctx context.Context, namespace, job string, r *release, stream streamer) (deploy.Exit, error) {
	return p.followAs(ctx, namespace, job, r, stream, nil)
}

func (p *Platform) followAs(ctx context.Context, namespace, job string, r *release, stream streamer, attached *attachment) (deploy.Exit, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	mine := selector("batch.kubernetes.io/job-name", job)
	changed := p.c.Watch(ctx, kube.Interest{Resource: pods, Namespace: namespace, Selector: mine}, kube.Interest{Resource: jobs, Namespace: namespace, Name: job})
	f := &following{p: p, r: r, stream: stream, attached: attached, since: map[string]time.Time{},
		rev: &servingv1.Revision{ObjectMeta: metav1.ObjectMeta{Name: job, Namespace: namespace}, Spec: r.template.Spec}}
	over := false // the Job has ended; its pod is looked at once more, for how
	for {
		all, err := list[corev1.Pod](ctx, p.c, pods, namespace, mine)
		if err != nil {
			return deploy.Exit{}, err
		}
		blocked, ended, err := f.look(ctx, all)
		if ended || err != nil {
			return f.exit, err
		}
		end, err := p.jobEnd(ctx, namespace, job, len(all) == 0)
		if app.CodeOf(err) == app.CodeCancelled && len(all) > 0 { // it was deleted, and its pod is being told to end
			end, err = nil, nil
		}
		switch {
		case err != nil:
			return deploy.Exit{}, err
		case end != nil && over && end.Type == batchv1.JobComplete:
			return deploy.Exit{}, nil
		case end != nil && over && blocked != nil:
			return deploy.Exit{}, blocked
		case end != nil && over:
			return deploy.Exit{}, runtimeError("its pod is gone, and how it ended is not known: %s", oneLine(cmp.Or(end.Message, end.Reason)))
		case end != nil:
			over = true
			continue
		}
		select {
		case <-f.done:
			f.done = nil
		case <-changed:
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return deploy.Exit{}, context.Cause(ctx)
		}
	}
}

// following is the wait for a Job's pod.
type following struct {
	p        *Platform
	r        *release
	rev      *servingv1.Revision // for diagnosePod
	stream   streamer
	since    map[string]time.Time // when a problem was seen first
	streamed chan error           // of the copy of the pod's output; nil before that began
	exit     deploy.Exit          // once it has ended
	attached *attachment          // whose stream it is; nil where it is a log's
	done     chan struct{}        // closed when the stream has ended; nil before it began, and once that was seen
}

// streamer has the output of a pod that runs, or has run, go where it should, and returns at its end.
type streamer func(ctx context.Context, pod *corev1.Pod) error

// logTo copies the log of a pod.
func (p *Platform) logTo(w io.Writer) streamer {
	return func(ctx context.Context, pod *corev1.Pod) error { return p.copyLog(ctx, pod.Namespace, pod.Name, w) }
}

// lastOutput bounds the wait for what an ended process wrote.
func (f *following) lastOutput() time.Duration {
	if f.attached != nil {
		return attachedOutput
	}
	return lastOutput
}

// output is closed, or has a value, when all of the output is there.
func (f *following) output() <-chan error {
	if f.streamed == nil { // it never ran, or was too short to attach to
		done := make(chan error)
		close(done)
		return done
	}
	return f.streamed
}

// look looks at the Job's pods: it starts to copy the output, and returns ended when the process has ended, with its error if it failed.
// blocked is why a pod does not run now; it becomes the error when it lasts.
func (f *following) look(ctx context.Context, all []corev1.Pod) (blocked error, ended bool, err error) {
	for i := range all {
		pod := &all[i]
		state := stateOf(pod)
		if f.attached != nil && f.streamed != nil {
			select {
			case err := <-f.streamed:
				f.streamed <- err
				if x, err, ok := f.attached.ended(); ok {
					f.exit = x
					return nil, true, err
				}
				if err != nil && ctx.Err() == nil && (state == nil || state.State.Terminated == nil) {
					return nil, false, fmt.Errorf("the connection to %s broke: %w", pod.Name, err)
				}
			default:
			}
		}
		if state != nil && (state.State.Running != nil || state.State.Terminated != nil && f.attached == nil) && f.streamed == nil {
			f.streamed, f.done = make(chan error, 1), make(chan struct{})
			go func(streamed chan<- error, done chan<- struct{}) {
				defer close(done)
				streamed <- f.stream(ctx, pod)
			}(f.streamed, f.done)
		}
		if state != nil && state.State.Terminated != nil {
			select {
			case <-f.output():
			case <-time.After(f.lastOutput()):
			case <-ctx.Done():
			}
			f.exit, err = exitOf(f.r, state.State.Terminated)
			return nil, true, err
		}
		h := diagnosePod(f.rev, pod, time.Now())
		if h.err == nil {
			continue
		}
		blocked = h.err
		if f.streamed != nil {
			continue
		}
		if f.since[h.key].IsZero() {
			f.since[h.key] = time.Now()
		}
		if time.Since(f.since[h.key]) >= h.grace {
			return blocked, false, h.err
		}
	}
	return blocked, false, nil
}

// jobEnd returns the condition that ends a Job; nil while it runs. For a Job without a pod the error says why the cluster refuses one.
func (p *Platform) jobEnd(ctx context.Context, namespace, job string, noPod bool) (*batchv1.JobCondition, error) {
	j, err := get[batchv1.Job](ctx, p.c, jobs, namespace, job)
	if apierrors.IsNotFound(err) {
		return nil, app.Errorf(app.CodeCancelled, "push again", "the Job %s was deleted", job)
	} else if err != nil {
		return nil, err
	}
	for i := range j.Status.Conditions {
		c := &j.Status.Conditions[i]
		if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobFailed || c.Type == batchv1.JobComplete) {
			return c, nil
		}
	}
	if !noPod {
		return nil, nil
	}
	all, err := list[corev1.Event](ctx, p.c, events, namespace, "")
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if e.InvolvedObject.UID == j.UID && e.Reason == "FailedCreate" {
			return nil, runtimeError("the cluster refused its pod: %s", refusal(e.Message))
		}
	}
	return nil, nil
}

// exitOf is how a process ended; a *deploy.StartError where it did not start.
func exitOf(r *release, t *corev1.ContainerStateTerminated) (deploy.Exit, error) {
	e := terminated(&servingv1.Revision{Spec: r.template.Spec}, t)
	x := deploy.Exit{Code: int(t.ExitCode), Signal: e.Signal}
	switch e.Reason {
	case deploy.Exited:
	case deploy.OutOfMemory:
		x.Code, x.Signal, x.OutOfMemory, x.Memory = 128+int(syscall.SIGKILL), syscall.SIGKILL.String(), true, e.Detail
	default:
		return x, e
	}
	return x, nil
}

// removeOldJobs deletes the Jobs of an earlier gitd, whose callers are gone.
func (p *Platform) removeOldJobs(ctx context.Context) error {
	left := selector(managedBy, manager) + "," + procLabel + "," + appLabel
	all, err := list[batchv1.Job](ctx, p.c, jobs, p.o.Namespace, left)
	if err != nil {
		return err
	}
	for _, j := range all {
		if j.Labels[runLabel] != "" || p.ofAnotherGitd(&j) || p.namespace(j.Labels[appLabel]) != j.Namespace {
			continue
		}
		p.o.Log("deploy: stopping the process %s of %s, which an earlier gitd started", j.Labels[procLabel], j.Labels[revLabel])
		if err := p.remove(ctx, jobs, j.Namespace, j.Name); err != nil {
			return err
		}
		for _, name := range []string{j.Name, valuesName(j.Name)} {
			if err := p.remove(ctx, secrets, j.Namespace, name); err != nil {
				return err
			}
		}
	}
	return nil
}
