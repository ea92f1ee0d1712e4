package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// A child is killed with the thread that made it (PR_SET_PDEATHSIG): the main goroutine keeps the main thread, which lives as long as
// the process.
func init() { runtime.LockOSThread() }

// startInit makes the container's process namespace, with an init as process 1. The runtime puts the app into it: the app is a child of
// the shim, its orphans are the init's, and all of them end with the init, which ends with the shim. It starts beside what the shim and
// the runtime do meanwhile, and costs a container's start no time.
func (s *watcher) startInit() (int, error) {
	s.reaping.Lock()
	defer s.reaping.Unlock()
	if s.killing {
		return 0, fmt.Errorf("stopped before the start")
	}
	// No descriptor is passed on.
	pid, err := syscall.ForkExec("/proc/self/exe", []string{shim.InitName}, &syscall.ProcAttr{Dir: "/", Env: []string{"GOMAXPROCS=1", "GOGC=off"},
		Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}})
	if err != nil {
		return 0, err
	}
	return pid, os.Symlink(fmt.Sprintf("/proc/%d/ns/pid", pid), shim.ProcessSpace)
}

// reap is the init. It holds nothing and does nothing: the kernel reaps the children of a process that ignores SIGCHLD. It stays root,
// which the app is not: the app can neither trace it nor see its files.
func reap() {
	signal.Ignore()
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	for {
		_ = unix.Pause()
	}
}
