package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/tail"
)

// objects says where the objects of a push are: in a repository, and in a quarantine on top of it.
type objects struct {
	repository string // DIR/APP.git
	quarantine string // an object directory, or ""
	shallow    string // file that stands for the repository's shallow file, or ""
	index      string // file that stands for the index, or ""
	background bool   // run lets everything else go first, and the process ends with ours
}

// command prepares a git command on these objects. It runs in its own process group, which ends with ctx, and sees
// neither the user's nor the system's configuration.
func (o objects) command(ctx context.Context, args ...string) *exec.Cmd {
	var global []string
	if o.shallow != "" {
		global = []string{"--shallow-file", o.shallow}
	}
	c := exec.CommandContext(ctx, "git", append(global, args...)...)
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_TERMINAL_PROMPT=0", "GIT_DIR=" + o.repository,
	}
	if o.quarantine != "" {
		c.Env = append(c.Env, "GIT_OBJECT_DIRECTORY="+o.quarantine, "GIT_QUARANTINE_PATH="+o.quarantine,
			"GIT_ALTERNATE_OBJECT_DIRECTORIES="+o.repository+"/objects")
	}
	if o.index != "" {
		c.Env = append(c.Env, "GIT_INDEX_FILE="+o.index)
	}
	c.Dir = o.repository
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return killGroup(c) }
	c.WaitDelay = 2 * time.Second
	return c
}

func killGroup(c *exec.Cmd) error {
	err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// restrain limits the memory (bytes) and processor time of a process that works on what a stranger sent. It must be
// called before the process has any input.
func restrain(pid int, memory uint64, cpu time.Duration) error {
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: memory, Max: memory}, nil); err != nil {
		return err
	}
	seconds := uint64(cpu / time.Second)
	return unix.Prlimit(pid, unix.RLIMIT_CPU, &unix.Rlimit{Cur: seconds, Max: seconds + 5}, nil)
}

// complaints returns what git complained about on its standard error, without its "fatal: " and "error: ".
func complaints(stderr *tail.Tail) []string {
	var out []string
	for s := range strings.FieldsFuncSeq(stderr.String(), func(r rune) bool { return r == '\n' || r == '\r' }) {
		for _, p := range []string{"fatal: ", "error: "} {
			s = strings.TrimPrefix(s, p)
		}
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// maxOutput bounds what a git command may print for us: a small object can make it print gigabytes.
const maxOutput = 64 << 20

// output collects what a command prints, and ends the command when that is too much.
type output struct {
	text  strings.Builder
	limit int
	end   func()
	over  atomic.Bool
}

func (o *output) Write(p []byte) (int, error) {
	if o.over.Load() || o.text.Len()+len(p) > o.limit {
		o.over.Store(true)
		o.end()
		return 0, io.ErrShortWrite
	}
	return o.text.Write(p)
}

// run runs a short git command to its end and returns what it printed.
func (o objects) run(ctx context.Context, stdin string, limits Limits, args ...string) (string, error) {
	c := o.command(ctx, args...)
	if o.background { // background work ends with us; everything else ends with its input
		c.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	out := output{limit: maxOutput, end: func() { _ = killGroup(c) }}
	var stderr tail.Tail
	c.Stdout, c.Stderr = &out, &stderr
	in, err := c.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := c.Start(); err != nil {
		return "", err
	}
	err = restrain(c.Process.Pid, limits.Memory, limits.CPU)
	if err == nil && o.background {
		err = lowPriority(c.Process.Pid)
	}
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		_ = killGroup(c)
	}
	_, _ = in.Write([]byte(stdin))
	_ = in.Close()
	err = c.Wait()
	if out.over.Load() {
		return "", app.Errorf(app.CodeLimitExceeded, "put less into the commit", "git %s produced more than %s of output for this push", args[0], app.Size(maxOutput))
	}
	if err != nil {
		if e := context.Cause(ctx); e != nil {
			return "", e
		}
		return "", &GitError{command: args[0], lines: complaints(&stderr), err: err}
	}
	return out.text.String(), nil
}

// GitError is a git command that failed.
type GitError struct {
	command string
	lines   []string
	err     error
}

func (e *GitError) Error() string {
	return fmt.Sprintf("git %s: %v: %s", e.command, e.err, strings.Join(e.lines, "; "))
}

func (e *GitError) Unwrap() error { return e.err }

// killedBy returns the signal that ended the command, or 0.
func (e *GitError) killedBy() syscall.Signal {
	var x *exec.ExitError
	if errors.As(e.err, &x) {
		if w, ok := x.Sys().(syscall.WaitStatus); ok && w.Signaled() {
			return w.Signal()
		}
	}
	return 0
}

// says tells whether one of git's lines holds any of the words.
func (e *GitError) says(words ...string) bool {
	for _, l := range e.lines {
		for _, w := range words {
			if strings.Contains(l, w) {
				return true
			}
		}
	}
	return false
}
