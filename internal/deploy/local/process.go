package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// processID is a name for a container of a process type: the type without characters that a name cannot have, and five
// random characters.
func processID(revision, process string) string {
	plain := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(process))
	return fmt.Sprintf("%s-%s-%s", revision, plain[:min(len(plain), 40)], strings.ToLower(rand.Text()[:5]))
}

// RunProcess implements deploy.Platform.
func (p *Platform) RunProcess(ctx context.Context, svc *servingv1.Service, process string, w io.Writer) error {
	if err := deploy.CheckProcesses(process); err != nil {
		return err
	}
	want, err := complete(ctx, svc)
	if err != nil {
		return err
	}
	r, err := p.newRevision(want.Name, template{Template: want.Spec.Template, Created: time.Now()}, false)
	if err != nil {
		return deploy.Invalid(want.Name, err.Error())
	}
	if p.ctx.Err() != nil {
		return app.Errorf(app.CodeUnavailable, "try again in a moment", "the server is shutting down")
	}
	p.mu.Lock()
	p.processes[r] = struct{}{} // its layers stay while it runs
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.processes, r)
		p.mu.Unlock()
	}()
	img, err := r.prepare(ctx)
	if err != nil {
		return err
	}
	spec, err := r.spec(ctx, img)
	if err != nil {
		return err
	}
	spec.ID = processID(r.name, process)
	spec.Args, spec.Output = []string{deploy.ProcessDir + process}, w
	exit, err := p.opts.Host.Run(ctx, spec)
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), err)
	case err != nil:
		return &deploy.StartError{Reason: deploy.RuntimeError, Detail: err.Error(), Err: err}
	case exit != (sandbox.Exit{At: exit.At}):
		e := &deploy.StartError{Reason: deploy.Exited, ExitCode: exit.Code, Signal: exit.Signal}
		if exit.OutOfMemory {
			e.Reason, e.Detail = deploy.OutOfMemory, app.Size(r.memory())
		}
		return e
	}
	return nil
}
