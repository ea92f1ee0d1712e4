package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// Prepared is a container with everything but its program: namespaces, mounts, control group, limits. In place of the app, the shim's program
// waits in it, as the app's user. It has no secret, and does not outlive gitd until it is started.
type Prepared struct {
	launched  *launched
	app       *net.UnixConn // to the process that becomes the app
	args, env []string
	egress    bool
	container *Container
}

// Prepare makes a container up to the start of its program, at a low priority. Its Spec has no Secrets; Start takes them.
func (h *Host) Prepare(ctx context.Context, s Spec) (*Prepared, error) {
	if len(s.Secrets) > 0 || s.Terminal != nil || s.Background || s.Early {
		return nil, errors.New("sandbox: a prepared container takes its secrets when it starts, and can be nothing else")
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	defer theirs.Close()
	p := &Prepared{app: ours, args: s.Args, env: s.process().Env, egress: s.Egress}
	s.prepared = true
	if p.launched, err = h.launch(ctx, &s, &files{start: theirs}, false); err != nil {
		_ = ours.Close()
		return nil, err
	}
	p.container = p.launched.container
	go p.container.watch()
	if err := raisePriority(p.container.shim.Pid, p.container.init.PID); err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox: give a prepared container its priority: %w", err), p.Remove(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// socketPair returns two ends of a stream: ours, and one for a child.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "app")
	f := os.NewFile(uintptr(fds[0]), "app")
	defer f.Close() // net.FileConn has a descriptor of its own
	c, err := net.FileConn(f)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return c.(*net.UnixConn), theirs, nil
}

// Done is closed when the container has ended without a start.
func (p *Prepared) Done() <-chan struct{} { return p.container.done }

// Start starts the container's program with variables more, in place of those of the Spec's Env. It returns when the program is executed; the
// container then outlives gitd. When it fails, nothing is left of the container.
func (p *Prepared) Start(ctx context.Context, secrets map[string][]byte) (_ *Container, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Remove(context.WithoutCancel(ctx)))
		}
	}()
	c := p.container
	if p.egress {
		if err := c.host.network.wall.ready(); err != nil {
			return nil, err
		}
		if c.host.network.resolvConf() != p.launched.resolv {
			return nil, fmt.Errorf("sandbox: the machine's name servers have changed since the container %s was prepared", c.ID)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := p.become(ctx, secrets); err != nil {
		return nil, err
	}
	c.Started = time.Now().UTC()
	_, _ = p.launched.control.Write([]byte{shim.Detach})
	begun := filepath.Join(c.dir, shim.BegunFile)
	// Until then the next process would remove it. A rename needs no space on the disk.
	if err := os.Rename(filepath.Join(c.dir, shim.PreparedFile), begun); err != nil {
		return nil, err
	}
	_ = os.Chtimes(begun, c.Started, c.Started)
	p.launched.end()
	_ = p.app.Close()
	c.host.remember(c)
	return c, nil
}

// become hands the environment over, and waits until the app is executed.
func (p *Prepared) become(ctx context.Context, secrets map[string][]byte) error {
	stop := context.AfterFunc(ctx, func() { _ = p.app.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	text := command(p.args, p.env, secrets)
	defer clear(text)
	_, err := p.app.Write(text)
	if err == nil {
		err = p.app.CloseWrite()
	}
	var reply []byte
	if err == nil {
		reply, err = io.ReadAll(io.LimitReader(p.app, 4<<10))
	}
	why, becomes := bytes.CutPrefix(reply, []byte{shim.Becoming})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("sandbox: start the prepared container %s: %w", p.container.ID, err)
	case len(why) > 0:
		return startError(string(why))
	case !becomes:
		return fmt.Errorf("sandbox: the prepared container %s has ended", p.container.ID)
	}
	return nil
}

// command is what the process that becomes the app reads: how many arguments there are, these, and variables, each with a NUL behind it, and one
// more NUL. The caller clears it.
func command(args, env []string, secrets map[string][]byte) []byte {
	count := strconv.Itoa(len(args))
	size := len(count) + 2
	for _, s := range slices.Concat(args, env) {
		size += len(s) + 1
	}
	for name, value := range secrets {
		size += len(name) + len(value) + 2
	}
	b := make([]byte, 0, size) // it is not moved, so that nothing is left elsewhere
	b = append(append(b, count...), 0)
	for _, a := range args {
		b = append(append(b, a...), 0)
	}
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if _, secret := secrets[name]; !secret {
			b = append(append(b, e...), 0)
		}
	}
	for name, value := range secrets {
		b = append(append(append(append(b, name...), '='), value...), 0)
	}
	return append(b, 0)
}

// Remove removes every trace of a container that was not started.
func (p *Prepared) Remove(ctx context.Context) error {
	c := p.container
	_ = p.app.Close()
	_ = p.launched.control.Close() // the shim kills everything
	err := c.kill(ctx)
	c.release()
	err = errors.Join(err, c.host.erase(c.ID))
	_ = p.launched.record.Close()
	return err
}

// makeMark marks a container's directory as that of a prepared one.
func makeMark(dir string) error {
	return os.WriteFile(filepath.Join(dir, shim.PreparedFile), nil, 0o600)
}

// begun tells of a container that was prepared whether it was started, and when.
func (c *Container) begun() bool {
	if _, err := os.Lstat(filepath.Join(c.dir, shim.PreparedFile)); err == nil {
		return false
	}
	if info, err := os.Lstat(filepath.Join(c.dir, shim.BegunFile)); err == nil {
		c.Started = info.ModTime().UTC()
	}
	return true
}

// lowest is the priority on the processor that preparing has, nice(2).
const lowest = 19

// sinkPriority gives the thread, and what it starts, a low priority on the processor and the disk.
func sinkPriority() {
	lowerPriority()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, lowest)
}

// raisePriority gives the threads of processes the priority that this process has.
func raisePriority(pids ...int) error {
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, os.Getpid())
	if err != nil {
		return os.NewSyscallError("getpriority", err)
	}
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/task", pid)
		for range 2 { // a thread that was made meanwhile
			threads, err := os.ReadDir(dir)
			if err != nil {
				return err
			}
			for _, t := range threads {
				tid, err := strconv.Atoi(t.Name())
				if err != nil {
					continue
				}
				if err := unix.Setpriority(unix.PRIO_PROCESS, tid, 20-raw); err != nil && err != unix.ESRCH {
					return os.NewSyscallError("setpriority", err)
				}
				_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, uintptr(tid), 0)
			}
		}
	}
	return nil
}
