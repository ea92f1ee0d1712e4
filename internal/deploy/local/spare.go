package local

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/sandbox"
)

// spare is the prepared instance of a revision that is at zero: a container with everything but the app's process. It is no instance yet: it
// takes no requests, no memory of the app's own, and it has none of the app's secrets. Its life:
//
//  1. prepare begins it, in the background, when a revision that was used has come to zero and the machine has room (spares).
//  2. launch takes it for the next instance, which then begins with the start of the app's process.
//  3. drop removes it: when its revision gets no requests any more, is stopped or deleted, when it was not needed for hours, when others
//     have its place, and when the Platform is closed. When gitd is killed, its shim removes it.
type spare struct {
	revision *revision
	id, log  string
	cancel   context.CancelFunc // ends the preparation
	gone     chan struct{}      // closed when nothing is left of it, or an instance has taken it

	container *sandbox.Prepared // under the revision's mu; nil while it is being prepared
}

// canPrepare notes whether the revision, which is at zero, may have a prepared instance, and drops the one that it must not have any more. The caller
// holds mu.
func (r *revision) canPrepare(may bool, now time.Time) {
	switch {
	case !may:
		r.usedUntil = time.Time{}
		r.drop()
	case r.used:
		r.used, r.usedUntil = false, now
		r.p.spares.wake()
	}
}

// takeSpare returns the prepared instance for a start; nil where there is none. One that is still being prepared is given up. The caller holds mu.
func (r *revision) takeSpare() *spare {
	s := r.spare
	if s == nil {
		return nil
	}
	if s.container == nil || isClosed(s.container.Done()) {
		r.drop()
		return nil
	}
	r.spare = nil
	return s
}

// drop removes the prepared instance, in the background; the channel, nil where there is none, is closed when that is done. The caller holds mu.
func (r *revision) drop() <-chan struct{} {
	s := r.spare
	if s == nil {
		return nil
	}
	r.spare = nil
	s.cancel()
	if s.container != nil { // else prepare removes it
		r.p.tasks.Go(s.remove)
	}
	return s.gone
}

// remove removes what is left of a prepared instance that no start has taken, or that did not start.
func (s *spare) remove() {
	defer close(s.gone)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.revision.p.ctx), time.Minute)
	defer cancel()
	if err := s.container.Remove(ctx); err != nil {
		s.revision.p.opts.Log("deploy: remove the prepared instance %s: %v", s.id, err)
	}
}

// prepare prepares an instance. It fails without a word to users: a start without one takes longer.
func (r *revision) prepare(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	short := strings.ToLower(rand.Text()[:5])
	s := &spare{revision: r, id: r.name + "-" + short, log: filepath.Join(r.p.logDir(r.service, r.name), logName(time.Now(), short)), cancel: cancel, gone: make(chan struct{})}
	r.mu.Lock()
	if r.usedUntil.IsZero() || len(r.instances) > 0 || r.spare != nil || r.gone {
		r.mu.Unlock()
		return nil
	}
	r.spare = s
	r.mu.Unlock()
	c, err := r.makeSpare(ctx, s)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spare == s && err == nil && r.p.ctx.Err() == nil {
		s.container = c
		return nil
	}
	if r.spare == s {
		r.spare, r.usedUntil = nil, time.Time{} // not before it was used again
	}
	if err != nil {
		close(s.gone)
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.container = c
	r.p.tasks.Go(s.remove)
	return nil
}

// makeSpare makes the container. The configuration is left out: it is read when the app starts.
func (r *revision) makeSpare(ctx context.Context, s *spare) (*sandbox.Prepared, error) {
	img, err := r.unpack(ctx)
	if err != nil {
		return nil, err
	}
	if err := makeLog(s.log); err != nil {
		return nil, err
	}
	spec := r.plainSpec(img)
	r.identify(&spec, s.id, s.log)
	return r.p.opts.Host.Prepare(ctx, spec)
}

// startSpare starts the app in the instance's prepared container. Where that fails, nothing is left of the container, and in.container is nil.
func (in *instance) startSpare(ctx context.Context) error {
	r, s := in.revision, in.spare
	in.spare = nil
	secrets, err := r.values(ctx)
	if err != nil {
		s.remove()
		return err
	}
	defer func() {
		for _, value := range secrets {
			clear(value)
		}
	}()
	defer close(s.gone)
	c, err := s.container.Start(ctx, secrets)
	if err != nil {
		if ctx.Err() == nil {
			r.p.opts.Log("deploy: the prepared instance %s does not start, and another one is made: %v", s.id, err)
		}
		return ctx.Err()
	}
	in.attach(c)
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// leaveSpare removes the prepared container that a start has not come to.
func (in *instance) leaveSpare() {
	if s := in.spare; s != nil {
		in.spare = nil
		s.remove()
	}
}
