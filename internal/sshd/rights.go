package sshd

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// lease is something that goes on by a right of its key: a command, or a push, which may outlive its client.
type lease struct {
	key  app.Key
	name string   // of the app; "" where it concerns none
	id   int64    // of the app when the right was found; 0 where there was no app yet
	verb app.Verb // app.VerbUse where it concerns no app
	end  func(error)
}

// hold has h ended when its right is gone. asked is what rechecks returned before the right was found: where rights were rechecked since,
// it is asked again at once. Release is to be called when h is over.
func (s *Server) hold(ctx context.Context, asked uint64, h *lease) (release func(), err error) {
	s.mu.Lock()
	s.leases[h] = struct{}{}
	stale := s.rechecked != asked
	s.mu.Unlock()
	release = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.leases, h)
	}
	if stale {
		if err := s.opts.Handler.Confirm(ctx, h.key, h.name, h.id, h.verb); err != nil {
			release()
			return func() {}, err
		}
	}
	return release, nil
}

// rechecks says how often rights were rechecked so far.
func (s *Server) rechecks() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rechecked
}

// Recheck ends every command, push and connection whose key has lost the right to it: removed, registered again, or its app destroyed. It is called
// when keys or apps have changed. An error means that not all could be asked about: call it again.
func (s *Server) Recheck(ctx context.Context) error {
	s.mu.Lock()
	s.rechecked++
	held := make([]*lease, 0, len(s.leases))
	for h := range s.leases {
		held = append(held, h)
	}
	var known []*connection
	for c := range s.connections {
		if c.identified.Load() {
			known = append(known, c)
		}
	}
	s.mu.Unlock()
	var failed error
	for _, h := range held {
		switch err := s.opts.Handler.Confirm(ctx, h.key, h.name, h.id, h.verb); app.CodeOf(err) {
		case "":
		case app.CodeInternal:
			failed = err
		default:
			go h.end(err) // it may tell a client that does not read
		}
	}
	for _, c := range known {
		c.mu.Lock()
		key := c.key
		c.mu.Unlock()
		switch err := s.opts.Handler.Confirm(ctx, key, "", 0, app.VerbUse); app.CodeOf(err) {
		case "":
		case app.CodeInternal:
			failed = err
		default:
			c.revoke(err)
		}
	}
	return failed
}

// revoke ends a connection whose key has no rights any more; commands under way have lastWords to tell so.
func (c *connection) revoke(err error) {
	if c.commands.Load() == 0 {
		c.cut(err.Error())
		return
	}
	time.AfterFunc(lastWords, func() { c.cut(err.Error()) })
}
