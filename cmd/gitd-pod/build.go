package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/BurntSushi/toml"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/build/lifecycle/disk"
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
	end := phase(job, "detector")
	if end.Code == 0 {
		g := group()
		g.Milliseconds = time.Since(began).Milliseconds()
		mark(job, wire.MarkGroup, string(wire.Line(g)))
	}
	mark(job, wire.MarkDetected, fmt.Sprintln(end.Code))
	if end.Code == 0 {
		began = time.Now()
		end = phase(job, "builder")
	}
	end.Milliseconds = time.Since(began).Milliseconds()
	mark(job, wire.MarkEnded, string(wire.Line(end)))
	return end.Code
}

// mark writes a line of our own; the output before it may not have ended its last one.
func mark(job wire.Job, word, rest string) {
	_, _ = os.Stdout.WriteString("\n" + job.Marker + " " + word + rest)
}

// phase runs a program of the lifecycle to its end, and waits for the processes that lost their parent: they are process 1's.
func phase(job wire.Job, program string) wire.End {
	p, err := os.StartProcess(lifecycleDir+program,
		[]string{lifecycleDir + program, "-log-level", "debug", "-app", wire.Workspace, "-layers", wire.Layers, "-platform", wire.Platform},
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
		if disk.Size(context.Background(), dirs...) > job.Disk {
			exceeded()
			return
		}
		wait = max(time.Second, 20*time.Since(began))
	}
}

// group reads which buildpacks take part. Their programs may have written anything in its place.
func group() wire.Group {
	var found struct {
		Group []struct {
			ID      string `toml:"id"`
			Version string `toml:"version"`
		} `toml:"group"`
		Extensions []struct {
			ID string `toml:"id"`
		} `toml:"group-extensions"`
	}
	text, err := readRegular(filepath.Join(wire.Layers, "group.toml"), 1<<20)
	if err == nil {
		err = toml.Unmarshal(text, &found)
	}
	if err != nil {
		return wire.Group{Error: strings.ReplaceAll(err.Error(), "\n", " ")}
	}
	var g wire.Group
	for _, b := range found.Group {
		g.Buildpacks = append(g.Buildpacks, wire.Buildpack{ID: b.ID, Version: b.Version})
	}
	for _, e := range found.Extensions {
		g.Extensions = append(g.Extensions, e.ID)
	}
	return g
}

func readRegular(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > limit {
		return nil, errors.Join(err, fmt.Errorf("%s is no regular file of at most %d bytes", name, limit))
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
