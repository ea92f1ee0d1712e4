package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// Listeners are where a Server serves.
type Listeners struct {
	SSH, Control net.Listener
	HTTP         net.Listener // nil on a cluster: its ingress answers
	Metrics      net.Listener // nil for none
	HTTPS        net.Listener // nil: there is no HTTPS
}

// State is the content of serve.json.
type State struct {
	PID   int    `json:"pid"`
	SSH   string `json:"ssh"`
	HTTP  string `json:"http,omitempty"`
	HTTPS string `json:"https,omitempty"`
	DNS   string `json:"dns,omitempty"`

	Metrics string `json:"metrics,omitempty"`
}

// Serve answers the apps' requests at once, commands after Start, and pushes when the builder image is ready. It returns when ctx ends, with nothing
// left under way, or when a part fails.
//
// Requests get what the platform served when the process before it ended, which Start may still have to finish or to take back: that is what they got
// then as well.
func (s *Server) Serve(ctx context.Context, l Listeners, control *http.Server, progress *app.Log) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	part := func(name string, f func() error) {
		running.Go(func() {
			if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	if err := s.runner.serve(l); err != nil {
		return err
	}
	if l.Metrics != nil {
		metrics := s.o.Metrics.NewServer()
		context.AfterFunc(ctx, func() { _ = metrics.Close() })
		part("metrics", func() error { return metrics.Serve(l.Metrics) })
		running.Go(func() { s.measureOften(ctx) })
	}
	err := s.Start(ctx)
	if err == nil {
		s.jobs.Schedules(time.Second)
		part("control socket", func() error { return control.Serve(l.Control) })
		err = s.prepareBuilds(ctx, progress)
	}
	if isFull(err) { // the apps serve on; pushes wait
		s.o.Log("builds are not ready, and are tried again every %s: %v", retryBuildsAfter, err)
		running.Go(func() { s.retryBuilds(ctx, progress) })
		err = nil
	}
	if err == nil {
		part("ssh", func() error { return s.ssh.Serve(l.SSH) })
		if e := s.writeState(l); e != nil { // on a full disk everything else serves
			s.o.Log("%s cannot be written: %v", s.path(stateFile), e)
		}
		metrics := ""
		if l.Metrics != nil {
			metrics = fmt.Sprintf(", metrics on http://%s/metrics", l.Metrics.Addr())
		}
		progress.Step("Ready: ssh on %s, %s%s, data in %s", l.SSH.Addr(), s.runner.entrance(l), metrics, s.o.Config.Server.Data)
		<-ctx.Done()
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, context.Canceled): // it was asked to stop: work that this cut short is not a failure
		err = nil
	case err == nil:
		err = cause
	}
	progress.Step("Stopping")
	s.shutdown(l, control)
	running.Wait()
	return err
}

// shutdown ends what Serve began, in this order: pushes are told and end, requests under way are answered, commands end.
func (s *Server) shutdown(l Listeners, control *http.Server) {
	_ = os.Remove(s.path(stateFile))
	end, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	_ = l.SSH.Close()
	s.stop()
	if s.services != nil { // started
		s.machine.Close() // pushes under way are told; their connections end after that
		s.repositories.StopMaintenance()
		s.ssh.Shutdown(end)
	}
	s.runner.leave(end, l)
	_ = control.Close()
}

// retryBuildsAfter is how long a server whose disk is full waits until it tries again to make builds ready.
const retryBuildsAfter = 30 * time.Second

// retryBuilds tries until there is room.
func (s *Server) retryBuilds(ctx context.Context, progress *app.Log) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryBuildsAfter):
		}
		err := s.prepareBuilds(ctx, progress)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.o.Log("builds are not ready: %v", err)
	}
}

func (s *Server) writeState(l Listeners) error {
	state := State{PID: os.Getpid(), SSH: l.SSH.Addr().String()}
	if l.HTTP != nil {
		state.HTTP = l.HTTP.Addr().String()
	}
	if l.Metrics != nil {
		state.Metrics = l.Metrics.Addr().String()
	}
	state.DNS = s.dnsAddress
	if l.HTTPS != nil {
		state.HTTPS = l.HTTPS.Addr().String()
	}
	b, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return disk.ReplaceBytes(s.path(stateFile), 0o600, b)
}
