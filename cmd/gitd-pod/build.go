package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
	"github.com/gitd-io/gitd/internal/disk"
)

// build runs detector and builder. Both speak at debug level: gitd keeps what is worth it.
func build(job wire.Job) int {
	for resource, limit := range map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: uint64(job.Disk)} {
		if resource == unix.RLIMIT_FSIZE && job.Disk == 0 {
			continue
		}
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			fmt.Println("gitd-pod: set a limit:", err)
			return 1
		}
	}
	began := time.Now()
	end := runPhase(job, detector)
	if end.Code == 0 {
		g := group()
		g.Milliseconds = time.Since(began).Milliseconds()
		mark(job, wire.MarkGroup, string(wire.Line(g)))
	}
	mark(job, wire.MarkDetected, fmt.Sprintln(end.Code))
	if end.Code == 0 {
		began = time.Now()
		end = runPhase(job, "builder")
	}
	end.Milliseconds = time.Since(began).Milliseconds()
	mark(job, wire.MarkEnded, string(wire.Line(end)))
	return end.Code
}

// mark writes a line of our own; the output before it may not have ended its last one.
func mark(job wire.Job, word, rest string) {
	_, _ = os.Stdout.WriteString("\n" + job.Marker + " " + word + rest)
}

// detector is the program of the lifecycle that takes an order.
const detector = "detector"

// runPhase runs a program of the lifecycle to its end, and waits for the processes that lost their parent: they are process 1's.
func runPhase(job wire.Job, program string) wire.End {
	arguments := []string{lifecycleDir + program, "-log-level", "debug", "-app", path.Join(wire.Workspace, job.AppDir), "-layers", wire.Layers, "-platform", wire.Platform}
	if program == detector && job.Order != "" {
		const file = wire.Tmp + "/gitd-order.toml"
		if err := os.WriteFile(file, []byte(job.Order), 0o600); err != nil {
			fmt.Println("ERROR: " + err.Error())
			return wire.End{Code: 1}
		}
		arguments = append(arguments, "-order", file)
	}
	p, err := os.StartProcess(lifecycleDir+program, arguments,
		&os.ProcAttr{Dir: wire.Workspace, Env: append(environment(job), "CNB_REGISTRY_AUTH={}"), Files: []*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Println("ERROR: " + err.Error())
		return wire.End{Code: 127}
	}
	over := make(chan struct{})
	done := make(chan struct{})
	defer close(done)
	go watch(job, done, func() {
		close(over)
		_ = syscall.Kill(-1, syscall.SIGKILL) // all but process 1
	})
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return wire.End{Code: 1}
		case pid != p.Pid:
		case closed(over):
			return wire.End{Code: 1, Limit: "disk"}
		case status.Signaled():
			return wire.End{Code: 128 + int(status.Signal()), Signal: status.Signal().String()}
		case status.Exited():
			return wire.End{Code: status.ExitStatus()}
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// watch measures what the build has written, about once a second, and less often where that takes long, until done is closed. It calls
// exceeded once. The node does the same, in its own time.
func watch(job wire.Job, done <-chan struct{}, exceeded func()) {
	if job.Disk == 0 {
		return
	}
	dirs := []string{wire.Workspace, wire.Layers, wire.Tmp, wire.Cache}
	for _, name := range []string{os.Getenv("HOME"), "/home/cnb", "/var/tmp"} {
		if name != "" && name != "/" && !slices.Contains(dirs, name) {
			dirs = append(dirs, name)
		}
	}
	wait := time.Second
	for {
		select {
		case <-done:
			return
		case <-time.After(wait):
		}
		began := time.Now()
		if disk.Measure(context.Background(), dirs...).Bytes > job.Disk {
			exceeded()
			return
		}
		wait = max(time.Second, 20*time.Since(began))
	}
}

// group reads which buildpacks take part.
func group() wire.Group {
	g, err := phase.ReadGroup(wire.Layers)
	if err != nil {
		return wire.Group{Error: strings.ReplaceAll(err.Error(), "\n", " ")}
	}
	return wire.Group{Group: g}
}
