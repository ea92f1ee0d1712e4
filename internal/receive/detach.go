package receive

import "context"

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
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(p.ss.ctx))
	l.client = context.AfterFunc(p.ss.ctx, func() { l.cancel(context.Cause(p.ss.ctx)) })
	l.server = context.AfterFunc(p.base, func() { l.cancel(errShutdown) })
	return l
}

// detach makes the push go on without its client. It is called once, and fails when the client has gone already.
func (l *lifetime) detach() error {
	p := l.push
	if !l.client() {
		return context.Cause(p.ss.ctx)
	}
	p.log.Step("Detached: the release goes on if you leave; see how it ends with: releases %s", p.name)
	l.told = context.AfterFunc(p.ss.ctx, func() {
		if p.base.Err() == nil {
			p.opts.Log("ssh %s key=%s push %s: the client went away; the detached release goes on", p.ss.remote, p.ss.key.Name, p.name)
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
	l.cancel(errGone)
}
