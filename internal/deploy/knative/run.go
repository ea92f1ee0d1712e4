package knative

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"knative.dev/pkg/ptr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/sandbox/output"
)

// StartRun implements deploy.Platform: a Job, which stays until RemoveRun. A Job of that name is the same run.
func (p *Platform) StartRun(ctx context.Context, svc *servingv1.Service, s deploy.RunSpec) error {
	if err := s.Check(); err != nil {
		return err
	}
	if s.Name == "" {
		return app.Errorf(app.CodeInvalidInput, "give it a name", "a run that outlives its caller has no name")
	}
	_, r, err := p.validate(ctx, svc)
	if err != nil {
		return err
	}
	ctx = p.calling(ctx)
	return explained(ctx, p.startRun(ctx, svc.Name, r, s), "start a run of "+r.name)
}

func (p *Platform) startRun(ctx context.Context, service string, r *release, s deploy.RunSpec) error {
	namespace := p.namespace(service)
	if err := p.ensureNamespace(ctx, namespace); err != nil {
		return err
	}
	if _, err := get[batchv1.Job](ctx, p.c, jobs, namespace, s.Name); err == nil || !apierrors.IsNotFound(err) {
		return err
	}
	job, env, err := p.jobOf(ctx, service, r, s, s.Name)
	if err != nil {
		return err
	}
	job.Labels[runLabel] = s.Name // of the pod as well: they share the labels
	job.Annotations = map[string]string{logNote: s.Log + "," + strconv.FormatInt(s.LogSize, 10)}
	job.Spec.TTLSecondsAfterFinished = nil
	pod := &job.Spec.Template.Spec
	pod.ShareProcessNamespace = ptr.Bool(true)
	pod.TerminationGracePeriodSeconds = ptr.Int64(int64(s.Grace.Seconds()))
	return p.createJob(ctx, service, job, env)
}

// WaitRun implements deploy.Platform. The log is written by who waits: again from the beginning after a restart of gitd, as the pod keeps it.
func (p *Platform) WaitRun(ctx context.Context, service, name string) (deploy.Exit, error) {
	ctx = p.calling(ctx)
	e, err := p.waitRun(ctx, service, name)
	return e, explained(ctx, err, "wait for the run "+name)
}

func (p *Platform) waitRun(ctx context.Context, service, name string) (deploy.Exit, error) {
	namespace := p.namespace(service)
	j, err := get[batchv1.Job](ctx, p.c, jobs, namespace, name)
	if apierrors.IsNotFound(err) || err == nil && (j.Labels[runLabel] != name || j.Labels[appLabel] != service) {
		return deploy.Exit{}, fmt.Errorf("run %s: %w", name, deploy.ErrNotFound)
	} else if err != nil {
		return deploy.Exit{}, err
	}
	r := &release{name: j.Labels[revLabel], template: servingv1.RevisionTemplateSpec{Spec: servingv1.RevisionSpec{PodSpec: j.Spec.Template.Spec}}}
	e, err := p.follow(ctx, namespace, name, r, p.keep(j.Annotations[logNote]))
	if app.CodeOf(err) == app.CodeCancelled && ctx.Err() == nil { // StopRun has removed it
		return deploy.Exit{Code: 143, Signal: "terminated"}, nil
	}
	return e, err
}

// keep has the output of a pod kept in a file: note is its name, a comma, and how many bytes of it.
func (p *Platform) keep(note string) streamer {
	return func(ctx context.Context, pod *corev1.Pod) error {
		file, size, err := parseNote(note)
		if err != nil || file == "" {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := output.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.o.Log("deploy: %v", err)
		}
		from, to, err := os.Pipe()
		if err != nil {
			return err
		}
		defer to.Close()
		kept := make(chan struct{})
		go func() {
			defer close(kept)
			defer from.Close()
			_ = output.NewWriter(file, output.Limits{Size: size}).Copy(from, lastOutput)
		}()
		err = p.copyLog(ctx, pod.Namespace, pod.Name, to)
		_ = to.Close()
		<-kept
		return err
	}
}

func parseNote(note string) (file string, size int64, err error) {
	for i := len(note) - 1; i >= 0; i-- {
		if note[i] == ',' {
			size, err = strconv.ParseInt(note[i+1:], 10, 64)
			return note[:i], size, err
		}
	}
	return note, 0, nil
}

// StopRun implements deploy.Platform. The grace is that which the run was started with.
func (p *Platform) StopRun(ctx context.Context, service, name string, _ time.Duration) error {
	ctx = p.calling(ctx)
	namespace := p.namespace(service)
	if _, err := get[batchv1.Job](ctx, p.c, jobs, namespace, name); apierrors.IsNotFound(err) {
		return fmt.Errorf("run %s: %w", name, deploy.ErrNotFound)
	}
	return explained(ctx, p.remove(ctx, jobs, namespace, name), "stop the run "+name)
}

// RemoveRun implements deploy.Platform.
func (p *Platform) RemoveRun(ctx context.Context, service, name string) error {
	ctx = p.calling(ctx)
	namespace := p.namespace(service)
	_, err := get[batchv1.Job](ctx, p.c, jobs, namespace, name)
	p.removeJob(ctx, namespace, name)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("run %s: %w", name, deploy.ErrNotFound)
	}
	return nil
}
