package receive

import (
	"context"

	"github.com/gitd-io/gitd/internal/sshd"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// lifetime is how long a push goes on: as long as its client is there, or, once detached, as long as the server is.
type lifetime struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	push   *push
	client func() bool // lets go of the client
	server func() bool // lets go of the server
	told   func() bool // lets go of the line that says that the client went away
}

func (p *push) newLifetime() *lifetime {
	l := &lifetime{push: p}
	l.ctx, l.cancel = context.WithCancelCause(telemetry.Within(context.WithoutCancel(p.ss.Context()), p.span))
	l.client = context.AfterFunc(p.ss.Context(), func() { l.cancel(context.Cause(p.ss.Context())) })
	l.server = context.AfterFunc(p.ss.ServerContext(), func() { l.cancel(sshd.ErrShutdown) })
	return l
}

// detach makes the push, of a preview if there is a branch, go on without its client. It is called once, and fails when the client has gone already.
func (l *lifetime) detach(branch string) error {
	p := l.push
	if !l.client() {
		return context.Cause(p.ss.Context())
	}
	see := "wait " + p.name
	if branch != "" {
		see = "previews " + p.name
	}
	p.log.Step("Detached: the release goes on if you leave; see how it ends with: %s", see)
	l.told = context.AfterFunc(p.ss.Context(), func() {
		if p.ss.ServerContext().Err() == nil {
			p.opts.Log("ssh %s key=%s push %s: the client went away; the detached release goes on", p.ss.Remote(), p.ss.Key().Name, p.name)
			p.log.Detail("the client went away; the release goes on")
		}
	})
	return nil
}

// end releases what the lifetime holds.
func (l *lifetime) end() {
	l.client()
	l.server()
	if l.told != nil {
		l.told()
	}
	l.cancel(sshd.ErrGone)
}
