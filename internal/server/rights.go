package server

import (
	"context"
	"fmt"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// safeLog removes control characters from log lines: clients, builds and apps may have put them there.
func safeLog(log func(format string, args ...any)) func(format string, args ...any) {
	return func(format string, args ...any) {
		lines := strings.Split(fmt.Sprintf(format, args...), "\n")
		for i, l := range lines {
			lines[i] = app.Plain(l)
		}
		log("%s", strings.Join(lines, "\n"))
	}
}

// watchRights ends what a key does when this process or another one takes its right away.
func (s *Server) watchRights() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := s.store.Watch(ctx, func() error {
			err := s.ssh.Recheck(ctx)
			if err != nil && ctx.Err() == nil {
				s.o.Log("rights: %v", err)
			}
			return err
		})
		if err != nil && ctx.Err() == nil {
			s.o.Log("rights of what is under way are not watched: %v", err)
		}
	}()
	s.onClose(func() error { stop(); <-done; return nil })
}
