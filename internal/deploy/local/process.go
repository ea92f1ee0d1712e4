package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
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

// Run implements deploy.Platform.
func (p *Platform) Run(ctx context.Context, svc *servingv1.Service, s deploy.RunSpec) (deploy.Exit, error) {
	r, spec, err := p.prepareRun(ctx, svc, s)
	if err != nil {
		return deploy.Exit{}, err
	}
	defer p.releaseRun(r)
	var shell deploy.Shell
	passing, stop := context.WithCancel(ctx)
	defer stop()
	st := sandbox.Streams{Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, Signals: signalsOf(passing, s.Signals), Grace: s.Grace}
	if s.Terminal != nil {
		st.Terminal = &sandbox.Terminal{Size: sandbox.Size(s.Terminal.Size), Resized: sizesOf(passing, s.Terminal.Resized)}
	}
	if s.Process == "" { // the launcher writes its errors there
		if st.Stdout == nil {
			st.Stdout = io.Discard
		}
		one := deploy.OneWriter(st.Stdout, st.Stderr)
		st.Stdout = shell.Errors(st.Stdout)
		if one {
			st.Stderr = st.Stdout
		}
	}
	exit, err := p.opts.Host.Attach(ctx, spec, st)
	switch {
	case err != nil && ctx.Err() != nil:
		return r.exit(exit), errors.Join(context.Cause(ctx), err)
	case err != nil:
		return deploy.Exit{}, &deploy.StartError{Reason: deploy.RuntimeError, Detail: err.Error(), Err: err}
	}
	e := r.exit(exit)
	e.Code = shell.Status(e.Code)
	return e, nil
}

// signalsOf translates names; what is not one is left out.
func signalsOf(ctx context.Context, names <-chan string) <-chan sandbox.Signal {
	return translated(ctx, names, deploy.Signal)
}

func sizesOf(ctx context.Context, sizes <-chan app.WindowSize) <-chan sandbox.Size {
	return translated(ctx, sizes, func(s app.WindowSize) (sandbox.Size, bool) { return sandbox.Size(s), true })
}

func translated[From, To any](ctx context.Context, from <-chan From, translate func(From) (To, bool)) <-chan To {
	if from == nil {
		return nil
	}
	to := make(chan To)
	go func() {
		for {
			select {
			case f, ok := <-from:
				if !ok {
					return
				}
				if t, ok := translate(f); ok {
					select {
					case to <- t:
					case <-ctx.Done():
						return
					}
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return to
}

// prepareRun makes the container's specification. The layers stay until releaseRun.
func (p *Platform) prepareRun(ctx context.Context, svc *servingv1.Service, s deploy.RunSpec) (_ *revision, spec sandbox.Spec, err error) {
	if err := s.Check(); err != nil {
		return nil, spec, err
	}
	want, err := complete(ctx, svc)
	if err != nil {
		return nil, spec, err
	}
	r, err := p.newRevision(want.Name, template{Template: want.Spec.Template, Created: time.Now()}, false)
	if err != nil {
		return nil, spec, deploy.Invalid(want.Name, err.Error())
	}
	if p.ctx.Err() != nil {
		return nil, spec, app.Errorf(app.CodeUnavailable, "try again in a moment", "the server is shutting down")
	}
	p.mu.Lock()
	p.processes[r] = struct{}{} // its layers stay while it runs
	p.mu.Unlock()
	img, err := r.unpack(ctx)
	if err != nil {
		p.releaseRun(r)
		return nil, spec, err
	}
	if spec, err = r.spec(ctx, img); err != nil {
		p.releaseRun(r)
		return nil, spec, err
	}
	spec.ID = s.Name
	if spec.ID == "" {
		spec.ID = processID(r.name, s.Process)
	}
	spec.Args = s.Command()
	if s.Terminal != nil && !sandbox.HasVariable(s.Env, "TERM") && s.Terminal.Term != "" {
		spec.Env = append(spec.Env, "TERM="+s.Terminal.Term)
	}
	spec.Secrets = maps.Clone(spec.Secrets)
	for _, e := range s.Env { // they may be secrets, and are kept as such
		if spec.Secrets == nil {
			spec.Secrets = map[string][]byte{}
		}
		name, value, _ := strings.Cut(e, "=")
		spec.Secrets[name] = []byte(value)
	}
	return r, spec, nil
}

func (p *Platform) releaseRun(r *revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.processes, r)
}

// exit is how a container of the revision ended.
func (r *revision) exit(e sandbox.Exit) deploy.Exit {
	x := deploy.Exit{Code: e.Code, Signal: e.Signal, OutOfMemory: e.OutOfMemory}
	if e.OutOfMemory {
		x.Memory = app.Size(r.memory())
	}
	return x
}
