package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/deploy/knative/stream"
)

// install copies this program into a directory that another container of the pod runs it from.
func install(dir string) int {
	err := func() error {
		from, err := os.Open("/proc/self/exe")
		if err != nil {
			return err
		}
		to, err := os.OpenFile(dir+"/"+stream.Program, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
		if err != nil {
			return err
		}
		if _, err := io.Copy(to, from); err != nil {
			return err
		}
		return to.Close()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gitd-pod:", err)
		return 1
	}
	return 0
}

// byeTime is how long gitd may take to take the end of a command.
const byeTime = time.Minute

// attached runs the command that gitd sends, and ends when gitd has its end. It is process 1 of its container: what the command leaves behind ends with it.
func attached() int {
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE)
	return serve(stream.New(os.Stdin, os.Stdout), told)
}

func serve(c *stream.Conn, told <-chan os.Signal) int {
	k, b, err := c.Receive()
	if err != nil || k != stream.Start {
		return 1
	}
	r := &running{c: c, ended: make(chan struct{}), bye: make(chan struct{}), gone: make(chan struct{})}
	if err := decode(b, &r.command); err != nil {
		return 1
	}
	if err := r.start(); err != nil {
		_ = c.SendJSON(stream.End, stream.Exit{Code: 127, Error: err.Error()})
		return 127
	}
	go r.obey()
	go r.leave(told)
	e := r.wait()
	_ = c.SendJSON(stream.End, e)
	select {
	case <-r.bye:
	case <-r.gone:
	case <-told:
	case <-time.After(byeTime):
	}
	return e.Code
}

// running is a command.
type running struct {
	c       *stream.Conn
	command stream.Command
	pid     int
	reaping sync.Mutex // held while the command is reaped and while it is signalled: its ID is its own then
	reaped  bool

	in       *stream.Queue
	input    *os.File // of the command; with a terminal, its other end
	out      []outlet
	terminal *terminal // nil for none

	ended chan struct{} // closed when the command has ended
	bye   chan struct{} // closed when gitd has the end
	gone  chan struct{} // closed when gitd is gone
}

// outlet is a stream of the command.
type outlet struct {
	kind   stream.Kind
	from   *os.File
	closed atomic.Bool
	copied chan struct{}
}

func (r *running) start() (err error) {
	if t := r.command.Terminal; t != nil {
		if r.terminal, err = openTerminal(*t); err != nil {
			return err
		}
		defer r.terminal.slave.Close()
		r.input, r.out = r.terminal.master, []outlet{{kind: stream.Stdout, from: r.terminal.master}}
		if r.pid, err = r.fork(r.terminal.slave, r.terminal.slave, r.terminal.slave); err != nil {
			return err
		}
	} else if err = r.startPiped(); err != nil {
		return err
	}
	for i := range r.out {
		o := &r.out[i]
		o.copied = make(chan struct{})
		go func() { defer close(o.copied); _ = r.c.Copy(o.kind, o.from) }()
	}
	r.in = stream.NewQueue(r.input, func(n int) { _ = r.c.SendJSON(stream.Room, n) }, func(error) {})
	return nil
}

func (r *running) startPiped() error {
	var all [3][2]*os.File
	for i := range all {
		from, to, err := os.Pipe()
		if err != nil {
			return err
		}
		all[i] = [2]*os.File{from, to}
	}
	defer all[0][0].Close()
	defer all[1][1].Close()
	defer all[2][1].Close()
	r.input, r.out = all[0][1], []outlet{{kind: stream.Stdout, from: all[1][0]}, {kind: stream.Stderr, from: all[2][0]}}
	var err error
	r.pid, err = r.fork(all[0][0], all[1][1], all[2][1])
	return err
}

// fork starts the command, in a session of its own.
func (r *running) fork(in, out, errs *os.File) (int, error) {
	env := os.Environ()
	if r.command.Term != "" {
		env = append(without(env, "TERM"), "TERM="+r.command.Term)
	}
	signal.Reset(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE) // what is ignored would be inherited
	defer signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE)
	p, err := os.StartProcess(r.command.Args[0], r.command.Args, &os.ProcAttr{Env: env, Files: []*os.File{in, out, errs},
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: r.terminal != nil}})
	if err != nil {
		return 0, err
	}
	defer func() { _ = p.Release() }() // wait reaps it, with all others
	return p.Pid, nil
}

func without(env []string, name string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, name+"=") {
			kept = append(kept, e)
		}
	}
	return kept
}

// obey does what gitd says, until it is gone.
func (r *running) obey() {
	defer close(r.gone)
	for {
		k, b, err := r.c.Receive()
		if err != nil {
			return
		}
		switch k {
		case stream.Input:
			if !r.in.Put(b) {
				return
			}
		case stream.InputEnd:
			go r.endInput(r.in.End())
		case stream.Size:
			var w stream.Window
			if decode(b, &w) == nil && r.terminal != nil {
				r.terminal.resize(w)
			}
		case stream.Signal:
			var n int
			if decode(b, &n) == nil {
				r.signal(syscall.Signal(n))
			}
		case stream.Closed:
			var of stream.Kind
			if decode(b, &of) == nil {
				r.close(of)
			}
		case stream.Bye:
			close(r.bye)
			return
		}
	}
}

// endInput ends the command's input when all of it is written.
func (r *running) endInput(written <-chan struct{}) {
	<-written
	if r.terminal == nil {
		_ = r.input.Close()
		return
	}
	r.terminal.endOfInput()
}

// close closes a stream that is read no more: the command is told when it writes.
func (r *running) close(of stream.Kind) {
	for i := range r.out {
		if o := &r.out[i]; o.kind == of && r.terminal == nil && !o.closed.Swap(true) {
			_ = o.from.Close()
		}
	}
}

// signal sends one to the command and its group.
func (r *running) signal(n syscall.Signal) {
	r.reaping.Lock()
	defer r.reaping.Unlock()
	if !r.reaped {
		_ = unix.Kill(-r.pid, n)
	}
}

// leave ends the command when its pod is to end, or gitd is gone.
func (r *running) leave(told <-chan os.Signal) {
	select {
	case <-told:
	case <-r.gone:
	case <-r.ended:
		return
	}
	if r.terminal != nil {
		r.terminal.hangUp()
	}
	r.signal(unix.SIGTERM)
	r.signal(unix.SIGCONT) // one that is stopped would not notice
	select {
	case <-r.ended:
	case <-time.After(time.Duration(r.command.Grace) * time.Millisecond):
		r.signal(unix.SIGKILL)
	}
}

// wait reaps until the command has ended and all that it wrote is sent.
func (r *running) wait() stream.Exit {
	e := r.reap()
	close(r.ended)
	if os.Getpid() == 1 {
		for err := error(nil); !errors.Is(err, unix.ECHILD); { // one that has just begun may have been overlooked
			_ = unix.Kill(-1, unix.SIGKILL) // all but this process
			_, err = unix.Wait4(-1, nil, 0, nil)
		}
	}
	for i := range r.out {
		select {
		case <-r.out[i].copied:
		case <-r.gone:
		}
	}
	return e
}

func (r *running) reap() stream.Exit {
	for {
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return stream.Exit{Code: 255, Error: err.Error()}
		}
		r.reaping.Lock()
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		r.reaped = r.reaped || pid == r.pid
		r.reaping.Unlock()
		if err != nil || pid != r.pid {
			continue
		}
		if !status.Signaled() {
			return stream.Exit{Code: status.ExitStatus()}
		}
		e := stream.Exit{Code: 128 + int(status.Signal()), Signal: int(status.Signal())}
		if status.Signal() == unix.SIGKILL {
			e.OutOfMemory, e.Unsure = outOfMemory()
		}
		return e
	}
}

// outOfMemory says whether the kernel has killed a process of this container at its limit, or that it cannot be seen.
func outOfMemory() (killed, unsure bool) {
	for _, f := range []string{"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"} {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for l := range strings.SplitSeq(string(b), "\n") {
			if n, ok := strings.CutPrefix(l, "oom_kill "); ok {
				return n != "0", n == "0" // its limit may be that of a group above
			}
		}
	}
	return false, true
}
