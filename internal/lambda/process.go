package lambda

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// maxFailures is how many runtimes in a row may end before they ask for an invocation.
const maxFailures = 3

// process keeps the runtime running.
type process struct {
	config Config
	broker *broker
	api    string // address of the runtime API

	mu sync.Mutex
	// mu guards the following.
	cmd      *exec.Cmd
	init     *initError // what the runtime said last of its initialization
	stopping bool
}

// run starts the runtime, again whenever it ends, until it is stopped. ready is called when the first has asked for an invocation. The first must do
// so; of later ones, maxFailures in a row may end before.
func (p *process) run(ready func()) error {
	failures := 0
	first := true
	for {
		asked := make(chan struct{})
		p.broker.began(func() { close(asked) })
		wait, err := p.start()
		if err != nil {
			return err
		}
		if first {
			go func() { <-asked; ready() }()
		} else {
			go p.limit(asked)
		}
		how := wait()
		p.broker.ended(how)
		stopping, init := p.state()
		if stopping {
			return nil
		}
		select {
		case <-asked:
			failures, first = 0, false
		default:
			failures++
			if first || failures == maxFailures {
				if init != nil {
					return init
				}
				return fmt.Errorf("the function could not be loaded: the runtime (%s) ended before it asked for an invocation: %s", p.config.Command[0], how)
			}
		}
		p.config.Log("the runtime ended (%s) and is started again", how)
	}
}

// limit ends a runtime that does not ask for an invocation in the time of one.
func (p *process) limit(asked chan struct{}) {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	t := time.NewTimer(p.config.Timeout)
	defer t.Stop()
	select {
	case <-asked:
	case <-t.C:
		kill(cmd, syscall.SIGKILL)
	}
}

func (p *process) state() (bool, *initError) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopping, p.init
}

// start starts the runtime in a group of its own. wait says how it ended.
func (p *process) start() (wait func() string, err error) {
	cmd := exec.Command(p.config.Command[0], p.config.Command[1:]...)
	cmd.Env = p.config.runtimeEnv(p.api)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.init = nil
	if p.stopping {
		return func() string { return "" }, nil
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("the runtime cannot be started: %w", err)
	}
	p.cmd = cmd
	return func() string {
		err := cmd.Wait()
		kill(cmd, syscall.SIGKILL) // what it has left behind
		var exit *exec.ExitError
		switch {
		case err == nil:
			return "exit status 0"
		case errors.As(err, &exit):
			return exit.String()
		}
		return err.Error()
	}, nil
}

// failed ends a runtime that could not load its function.
func (p *process) failed(e *initError) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.init = e
	cmd := p.cmd
	// Most end by themselves, with more to say on their output.
	time.AfterFunc(time.Second, func() { kill(cmd, syscall.SIGKILL) })
}

// kill ends the runtime now.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	kill(p.cmd, syscall.SIGKILL)
}

// stop asks the runtime to end.
func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping = true
	kill(p.cmd, syscall.SIGTERM)
}

// kill signals a runtime and what it has started.
func kill(cmd *exec.Cmd, sig syscall.Signal) {
	if cmd != nil && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, sig) // it may have ended
	}
}

// stopGrace is how long a runtime has to end after SIGTERM.
const stopGrace = 2 * time.Second

// finish stops the runtime and waits for it.
func (p *process) finish(ctx context.Context, done <-chan error) error {
	p.stop()
	select {
	case err := <-done:
		return err
	case <-time.After(stopGrace):
	case <-ctx.Done():
	}
	p.kill()
	return <-done
}
