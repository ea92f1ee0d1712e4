package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// safeLog removes control characters from log lines: clients, builds and apps may have put them there.
func safeLog(log func(format string, args ...any)) func(format string, args ...any) {
	return func(format string, args ...any) {
		level, attributes, args := telemetry.Split(args)
		lines := strings.Split(fmt.Sprintf(format, args...), "\n")
		for i, l := range lines {
			lines[i] = app.Plain(l)
		}
		all := []any{strings.Join(lines, "\n")}
		if level != slog.LevelInfo {
			all = append(all, level)
		}
		for _, a := range attributes {
			all = append(all, a)
		}
		log("%s", all...)
	}
}

// watchRights ends what a key does when this process or another one takes its right away.
func (s *Server) watchRights() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := s.store.Watch(ctx, func() error {
			err := errors.Join(s.ssh.Recheck(ctx), s.rights.refresh(ctx))
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
