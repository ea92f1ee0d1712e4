package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// runs notes the container's first process.
func (s *watcher) runs(pid int) {
	s.reaping.Lock()
	defer s.reaping.Unlock()
	s.app = pid
	if s.told {
		_ = unix.Kill(pid, unix.SIGTERM)
	}
}

// shutdown ends the container on SIGTERM, as gitd would: with SIGTERM, and SIGKILL after its grace. gitd stops nothing in this way; the
// signal comes when the machine goes down, or from an operator who ends the container. A service manager that stops gitd does not
// reach the shim, see join.
func (s *watcher) shutdown(terminated <-chan os.Signal) {
	<-terminated
	s.reaping.Lock()
	s.told = true
	if s.app != 0 {
		_ = unix.Kill(s.app, unix.SIGTERM)
	}
	s.reaping.Unlock()
	time.Sleep(s.config.Grace)
	for {
		s.killChildren()
		time.Sleep(5 * time.Millisecond)
	}
}
