package repository

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing"
)

// errMissing says that an object is not in the repository.
var errMissing = errors.New("object is missing")

// catFile reads objects through one git cat-file process, started when it is first needed and again after a failure. What
// strangers packed is so taken apart outside of our own process, with limits on memory and processor time.
type catFile struct {
	ctx     context.Context // of the push: the process ends with it
	objects objects
	limits  Limits

	mu     sync.Mutex
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	closed bool
}

// use hands out the process to one reader at a time. When f fails the process is ended, since it is not known where in the
// conversation it stands. When ctx ends it is killed.
func (c *catFile) use(ctx context.Context, f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("the push is over: its source is gone")
	}
	if c.cmd == nil {
		if err := c.start(); err != nil {
			return err
		}
	}
	process := c.cmd
	stop := context.AfterFunc(ctx, func() { _ = killGroup(process) })
	err := f()
	if !stop() || err != nil {
		c.end()
	}
	if e := context.Cause(ctx); err != nil && e != nil {
		return e
	}
	if e := context.Cause(c.ctx); err != nil && e != nil {
		return e
	}
	return err
}

func (c *catFile) start() error {
	cmd := c.objects.command(c.ctx, "-c", "core.bigFileThreshold=16m", "cat-file", "--batch")
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.cmd, c.in, c.out = cmd, in, bufio.NewReaderSize(out, 128<<10)
	if err := restrain(cmd.Process.Pid, c.limits.Memory, c.limits.CPU); err != nil && !errors.Is(err, syscall.ESRCH) {
		c.end()
		return err
	}
	return nil
}

// end is called with the lock held.
func (c *catFile) end() {
	if c.cmd == nil {
		return
	}
	_ = c.in.Close()
	_ = killGroup(c.cmd)
	_ = c.cmd.Wait()
	c.cmd = nil
}

func (c *catFile) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	c.closed = true
}

// ask sends for an object; it is used inside of use.
func (c *catFile) ask(id plumbing.Hash) error {
	_, err := io.WriteString(c.in, id.String()+"\n")
	return err
}

// answer reads the head of the next object; its size bytes and one newline follow on c.out.
func (c *catFile) answer() (kind string, size int64, err error) {
	line, err := c.out.ReadString('\n')
	if err != nil {
		return "", 0, fmt.Errorf("git cat-file ended: %w", err)
	}
	f := strings.Fields(line)
	if len(f) == 2 && f[1] == "missing" {
		return "", 0, fmt.Errorf("%s: %w", f[0], errMissing)
	}
	if len(f) != 3 {
		return "", 0, fmt.Errorf("git cat-file says %q", line)
	}
	size, err = strconv.ParseInt(f[2], 10, 64)
	return f[1], size, err
}

// content reads the rest of an object that answer announced.
func (c *catFile) content(size int64) ([]byte, error) {
	b := make([]byte, size+1)
	if _, err := io.ReadFull(c.out, b); err != nil {
		return nil, err
	}
	return b[:size], nil
}

// object reads a small object whole; it is used inside of use.
func (c *catFile) object(id plumbing.Hash, limit int64) (kind string, content []byte, err error) {
	if err := c.ask(id); err != nil {
		return "", nil, err
	}
	return c.answered(id, limit)
}

// answered reads a small object whole that was asked for.
func (c *catFile) answered(id plumbing.Hash, limit int64) (kind string, content []byte, err error) {
	kind, size, err := c.answer()
	if err != nil {
		return "", nil, err
	}
	if size > limit {
		return kind, nil, &tooLargeError{id: id, size: size, limit: limit}
	}
	content, err = c.content(size)
	return kind, content, err
}

// tooLargeError is an object over its limit.
type tooLargeError struct {
	id          plumbing.Hash
	size, limit int64
}

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("object %s has %d bytes; the limit is %d", e.id, e.size, e.limit)
}
