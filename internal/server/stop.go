package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/proxy"
	"golang.org/x/sys/unix"
)

// How long Stop waits for a server, and for its proxy: both have 30 seconds for what is under way.
const stopTime = 45 * time.Second

// Stop ends the server of a data directory, where one runs, and the proxy that serves on for the next one. Instances of apps go on running. It returns an *app.Error where one of them does not end.
func Stop(ctx context.Context, data string, log *app.Log) error {
	s := &Server{o: Options{Config: offlineOptions(data, nil, nil).Config}}
	if _, err := os.Stat(data); err != nil {
		return app.Errorf(app.CodeNotFound, "name another one: --data DIR", "there is no data directory %s", data)
	}
	held, err := s.stopServer(ctx, log)
	if err != nil {
		return err
	}
	defer held.Close()
	all := s.proxies()
	if len(all) > 0 {
		log.Step("The proxy answers what is under way")
	}
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	ended := make(chan error)
	for _, found := range all {
		go func() { ended <- found.Leave(ctx) }()
	}
	for range all {
		err = errors.Join(err, <-ended)
	}
	if err != nil {
		return app.Wrap(err, app.CodeUnavailable, "end it: kill -9, with its number", "the proxy does not end")
	}
	log.Step("Nothing of gitd serves %s", data)
	return nil
}

// stopServer ends the server, and returns the lock of its data directory.
func (s *Server) stopServer(ctx context.Context, log *app.Log) (*os.File, error) {
	data := s.o.Config.Server.Data
	told := false
	for until := time.Now().Add(stopTime); ; {
		held, err := lock(data)
		if !errors.Is(err, ErrLocked) {
			return held, err
		}
		if !told {
			pid, err := s.serving()
			if err == nil {
				log.Step("Stopping the server, process %d", pid)
				err = unix.Kill(pid, unix.SIGTERM)
				told = true
			}
			if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist) {
				return nil, app.Errorf(app.CodeUnavailable, "run the command as root: sudo gitd stop", "not allowed to stop the server of %s: %w", data, err)
			}
		}
		if time.Now().After(until) {
			return nil, app.Wrap(err, app.CodeUnavailable, "try again; if it stays so, end it: kill -9, with its number", "another gitd has %s, and does not end", data)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// serving is the process that takes commands.
func (s *Server) serving() (int, error) {
	c, err := net.Dial("unix", s.path(socketFile))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var inner error
	if err := raw.Control(func(fd uintptr) { cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if inner != nil {
		return 0, fmt.Errorf("who takes commands: %w", inner)
	}
	return int(cred.Pid), nil
}

// proxies are those that answer, whose gitd is gone: the one that serves on, and those that another one has taken over from.
func (s *Server) proxies() []*proxy.Adopted {
	all := proxy.Leaving(s.path(proxyFile))
	if found, err := proxy.Adopt(s.path(proxyFile)); err == nil {
		all = append(all, found)
	}
	return all
}

// endProxies ends proxies whose gitd is gone, with what they have under way.
func (s *Server) endProxies(ctx context.Context) (err error) {
	all := s.proxies()
	sockets, _ := filepath.Glob(s.path(proxyFile) + "*")
	for _, socket := range sockets {
		err = errors.Join(err, os.Remove(socket)) // by which they know
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, found := range all {
		err = errors.Join(err, found.End(ctx))
	}
	return err
}
