package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// More labels of a started run's container.
const (
	labelRun    = "gitd.run" // its name
	labelImage  = "gitd.image"
	labelMemory = "gitd.memory" // its limit in bytes
)

// startedRun is a run that outlives gitd.
type startedRun struct {
	container *sandbox.Container
	revision  *revision // keeps the layers
}

// StartRun implements deploy.Platform.
func (p *Platform) StartRun(ctx context.Context, svc *servingv1.Service, s deploy.RunSpec) error {
	if s.Name == "" {
		return app.Errorf(app.CodeInvalidInput, "give it a name", "a run that outlives its caller has no name")
	}
	defer p.locks.Lock("run " + s.Name)()
	if p.startedRun(s.Name) != nil {
		return nil
	}
	r, spec, err := p.prepareRun(ctx, svc, s)
	if err != nil {
		return err
	}
	if err := makeLog(s.Log); err != nil {
		p.releaseRun(r)
		return &deploy.StartError{Reason: deploy.RuntimeError, Detail: err.Error(), Err: err}
	}
	spec.LogFile, spec.LogSize, spec.Grace, spec.Early = s.Log, cmp.Or(s.LogSize, p.opts.LogLimit), p.opts.StopGrace, true
	spec.Labels = map[string]string{labelPlatform: platformLocal, labelService: r.service, labelRevision: r.name, labelRun: s.Name,
		labelImage: r.template.Template.Spec.Containers[0].Image, labelMemory: strconv.FormatInt(r.memory(), 10)}
	c, err := p.opts.Host.Start(ctx, spec)
	if err != nil {
		p.releaseRun(r)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &deploy.StartError{Reason: deploy.RuntimeError, Detail: err.Error(), Err: err}
	}
	p.keepRun(s.Name, &startedRun{c, r})
	return nil
}

func (p *Platform) startedRun(name string) *startedRun {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.runs[name]
}

func (p *Platform) keepRun(name string, s *startedRun) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs[name] = s
	p.processes[s.revision] = struct{}{}
}

// adoptRun takes over a run that an earlier process has started. Of what it was started with only this is known: what it needs.
func (p *Platform) adoptRun(c *sandbox.Container) error {
	t := template{Template: servingv1.RevisionTemplateSpec{Spec: servingv1.RevisionSpec{PodSpec: corev1.PodSpec{Containers: []corev1.Container{{Image: c.Labels[labelImage]}}}}}, Created: c.Started}
	t.Template.Name = c.Labels[labelRevision]
	if q, err := resource.ParseQuantity(c.Labels[labelMemory]); err == nil {
		t.Template.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: q}
	}
	r, err := p.newRevision(c.Labels[labelService], t, false)
	if err != nil {
		return err
	}
	r.image = &image{}
	p.keepRun(c.Labels[labelRun], &startedRun{c, r})
	if !isDone(c) {
		r.sinkAgain(c)
	}
	return nil
}

func noRun(name string) error { return fmt.Errorf("run %s: %w", name, deploy.ErrNotFound) }

// WaitRun implements deploy.Platform.
func (p *Platform) WaitRun(ctx context.Context, service, name string) (deploy.Exit, error) {
	s := p.startedRun(name)
	if s == nil || s.revision.service != service {
		return deploy.Exit{}, noRun(name)
	}
	select {
	case <-s.container.Done():
		return s.revision.exit(s.container.Exit()), nil
	case <-ctx.Done():
		return deploy.Exit{}, context.Cause(ctx)
	case <-p.ctx.Done():
		return deploy.Exit{}, app.Errorf(app.CodeUnavailable, "ask again in a moment: it goes on running", "the server is shutting down")
	}
}

// StopRun implements deploy.Platform.
func (p *Platform) StopRun(ctx context.Context, service, name string, grace time.Duration) error {
	s := p.startedRun(name)
	if s == nil || s.revision.service != service {
		return noRun(name)
	}
	return s.container.Stop(ctx, grace)
}

// RemoveRun implements deploy.Platform.
func (p *Platform) RemoveRun(ctx context.Context, service, name string) error {
	s := p.startedRun(name)
	if s == nil || s.revision.service != service {
		return noRun(name)
	}
	err := s.container.Remove(ctx)
	if err == nil {
		p.mu.Lock()
		delete(p.runs, name)
		delete(p.processes, s.revision)
		p.mu.Unlock()
	}
	return err
}

// removeRuns removes all runs of a Service.
func (p *Platform) removeRuns(ctx context.Context, service string) error {
	p.mu.RLock()
	var names []string
	for name, s := range p.runs {
		if s.revision.service == service {
			names = append(names, name)
		}
	}
	p.mu.RUnlock()
	var failed error
	for _, name := range names {
		if err := p.RemoveRun(ctx, service, name); err != nil && !errors.Is(err, deploy.ErrNotFound) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
