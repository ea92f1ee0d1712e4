package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
)

// commandLimit is how long any command of a script may take.
const commandLimit = 6 * time.Minute

// job is a command with a process group of its own, as a terminal would give it: a signal reaches git and its ssh alike.
type job struct {
	cmd  *exec.Cmd
	out  apptest.Buffer
	errs apptest.Buffer
	done chan struct{}

	typed *os.File // the other end of its input; nil for none
	err   error    // of Wait; valid once done is closed
}

// startJob starts a command. stdin is nil for none.
func startJob(dir string, env []string, stdin io.Reader, name string, args ...string) (*job, error) {
	j := &job{done: make(chan struct{})}
	path, err := lookPath(name, env)
	if err != nil {
		return nil, err
	}
	j.cmd = exec.Command(path, args...)
	j.cmd.Args[0] = name
	j.cmd.Dir, j.cmd.Env = dir, env
	j.cmd.Stdin = stdin
	j.cmd.Stdout, j.cmd.Stderr = &j.out, &j.errs
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	j.cmd.WaitDelay = 5 * time.Second // a grandchild may hold the pipes open
	if err := j.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		j.err = j.cmd.Wait()
		close(j.done)
	}()
	return j, nil
}

// wait waits for the end, and kills the group at the limit.
func (j *job) wait(ctx context.Context) error {
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		j.kill()
		return fmt.Errorf("it had not ended after %s", commandLimit)
	}
}

// await waits until the output matches. It fails when the job ends first.
func (j *job) await(ctx context.Context, pattern *regexp.Regexp) error {
	for {
		if pattern.MatchString(j.out.String()) || pattern.MatchString(j.errs.String()) {
			return nil
		}
		select {
		case <-j.done:
			if pattern.MatchString(j.out.String()) || pattern.MatchString(j.errs.String()) {
				return nil
			}
			return fmt.Errorf("it ended (%v) without a line that matches %q", j.err, pattern)
		case <-ctx.Done():
			return fmt.Errorf("no line that matches %q after %s", pattern, commandLimit)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (j *job) signal(s syscall.Signal) error {
	if err := syscall.Kill(-j.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

func (j *job) kill() {
	_ = j.signal(syscall.SIGKILL)
	<-j.done
}
