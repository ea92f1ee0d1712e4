package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a daemon that the benchmark started.
type process struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
	out   *tail
}

// tail keeps the last output of a process, and can show it while it comes.
type tail struct {
	mu   sync.Mutex
	buf  []byte
	show func(line string)
	line []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if n := len(t.buf); n > 16<<10 {
		t.buf = bytes.Clone(t.buf[n-8<<10:])
	}
	if t.show != nil {
		t.line = append(t.line, p...)
		for {
			l, rest, found := bytes.Cut(t.line, []byte("\n"))
			if !found {
				break
			}
			t.show(string(l))
			t.line = rest
		}
	}
	return len(p), nil
}

func (t *tail) quiet() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.show, t.line = nil, nil
}

// last returns the last n lines.
func (t *tail) last(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return lastLines(string(t.buf), n)
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// start starts a daemon in a process group of its own, so that a key press ends it through us and not before us.
func start(name string, env []string, show func(string), args ...string) (*process, error) {
	path, err := lookPath(args[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	p := &process{name: name, cmd: exec.Command(path, args[1:]...), ended: make(chan struct{}), out: &tail{show: show}}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, in, err := os.Pipe() // of our own: its end is not waited for, since the proxy, which lives on, holds it too
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = in, in
	err = p.cmd.Start()
	_ = in.Close()
	if err != nil {
		_ = out.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		_, _ = io.Copy(p.out, out)
		_ = out.Close()
	}()
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process by its id: TERM, and KILL after grace.
func (p *process) stop(grace time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(grace):
		p.kill()
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// wait polls ready until it returns nil, the process ends or time is up.
func (p *process) wait(ctx context.Context, limit time.Duration, ready func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			time.Sleep(50 * time.Millisecond) // for its last words
			return fmt.Errorf("%s ended: %s", p.name, p.out.last(8))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %s: %w: %s", p.name, limit, err, p.out.last(8))
		}
	}
}

// listening is a ready function: something accepts on the address.
func listening(address string) func() error {
	return func() error {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
		}
		return err
	}
}

// freeAddress returns a loopback address on which nothing listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// command runs a program to its end and returns its output. The error has the last lines of it.
func (b *bench) command(dir string, env []string, args ...string) (string, error) {
	path, err := lookPath(args[0])
	if err != nil {
		return "", fmt.Errorf("%s: %w", args[0], err)
	}
	c := exec.CommandContext(b.ctx, path, args[1:]...)
	c.Dir = dir
	c.Env = append(os.Environ(), env...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 5 * time.Second
	out, err := c.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(args[:min(len(args), 3)], " "), err, lastLines(string(out), 8))
	}
	return string(out), nil
}

// timed runs a program and returns how long it took.
func (b *bench) timed(dir string, env []string, args ...string) (time.Duration, error) {
	t := time.Now()
	_, err := b.command(dir, env, args...)
	return time.Since(t), err
}

// cpuTime returns the processor time that a process and, with children, the processes that it started have used, in seconds.
func cpuTime(pid int, children bool) float64 {
	ticks := func(pid int, parent string) float64 {
		f, ok := statFields(pid)
		if !ok || parent != "" && f[1] != parent {
			return 0
		}
		user, _ := strconv.ParseFloat(f[11], 64)
		system, _ := strconv.ParseFloat(f[12], 64)
		return (user + system) / 100 // USER_HZ is 100 wherever Linux runs
	}
	total := ticks(pid, "")
	if children {
		for _, child := range processes() {
			total += ticks(child, strconv.Itoa(pid))
		}
	}
	return total
}

// statFields returns /proc/PID/stat from the state on: [0] state, [1] parent, [11] and [12] user and system ticks.
func statFields(pid int) ([]string, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, false
	}
	_, rest, ok := strings.Cut(string(b[bytes.LastIndexByte(b, ')'):]), " ")
	f := strings.Fields(rest)
	return f, ok && len(f) > 12
}

func processes() []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// processIn returns a process that lives in the network namespace ("net:[4026532281]").
func processIn(namespace string) (int, error) {
	if !strings.HasPrefix(namespace, "net:[") {
		return 0, fmt.Errorf("%q is no network namespace", namespace)
	}
	for _, pid := range processes() {
		if l, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns/net")); err == nil && l == namespace {
			return pid, nil
		}
	}
	return 0, errors.New("no process in " + namespace)
}

// runCommand runs a program to its end, with an input.
func runCommand(ctx context.Context, stdin io.Reader, args ...string) error {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Stdin = stdin
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args[:min(len(args), 3)], " "), err, lastLines(string(out), 8))
	}
	return nil
}
