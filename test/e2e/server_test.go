package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// How long a server may take, on a machine that is busy with other things.
const (
	startLimit = 120 * time.Second
	stopLimit  = 60 * time.Second
)

// server is one run of gitd serve.
type server struct {
	cmd    *exec.Cmd
	data   string
	output string // file with this run's output
	done   chan struct{}
	err    error // of Wait; valid once done is closed
}

// addresses is DIR/serve.json.
type addresses struct {
	PID   int    `json:"pid"`
	SSH   string `json:"ssh"`
	HTTP  string `json:"http"`
	HTTPS string `json:"https"`
	DNS   string `json:"dns"`

	Metrics string `json:"metrics"`
}

// errExited is returned (wrapped) by startServer when gitd serve ended by itself.
var errExited = errors.New("gitd serve ended")

// startServer runs gitd serve and waits until it is ready. The sockets for SSH and HTTP are handed over as systemd does it; nil for none. Later
// flags win over earlier ones. env is added to its environment.
func startServer(sockets []*os.File, env []string, data, output string, flags ...string) (*server, addresses, error) {
	out, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, addresses{}, err
	}
	defer func() { _ = out.Close() }()
	s := &server{data: data, output: output, done: make(chan struct{})}
	s.cmd = exec.Command(gitd, append([]string{"serve", "--data", data}, flags...)...)
	s.cmd.Env = serverEnv()
	if sockets != nil {
		s.cmd = exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, s.cmd.Args...)...)
		s.cmd.Env = append(serverEnv(), "LISTEN_FDS=2", "LISTEN_FDNAMES=ssh:http")
		s.cmd.ExtraFiles = sockets
	}
	s.cmd.Env = append(s.cmd.Env, env...)
	s.cmd.Dir = "/"
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C in the terminal is for the tests, which stop it in order
	if err := s.cmd.Start(); err != nil {
		return nil, addresses{}, err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	deadline := time.After(startLimit)
	for {
		if a, ok := readAddresses(data); ok && a.PID == s.cmd.Process.Pid {
			return s, a, nil
		}
		if a, ok := toldAddresses(output); ok {
			return s, a, nil
		}
		select {
		case <-s.done:
			return nil, addresses{}, fmt.Errorf("%w: %v", errExited, s.err)
		case <-deadline:
			_ = s.kill()
			return nil, addresses{}, fmt.Errorf("gitd serve was not ready after %s; its output:\n%s", startLimit, tail(output, 40))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func readAddresses(data string) (a addresses, ok bool) {
	b, err := os.ReadFile(filepath.Join(data, "serve.json"))
	return a, err == nil && json.Unmarshal(b, &a) == nil && a.SSH != ""
}

// withoutFile is what a server says whose disk is full, and then that it is ready.
var withoutFile = regexp.MustCompile(`(?s)serve\.json cannot be written.*Ready: ssh on (\S+), http on (\S+),`)

func toldAddresses(output string) (addresses, bool) {
	b, _ := os.ReadFile(output)
	m := withoutFile.FindSubmatch(b)
	if m == nil {
		return addresses{}, false
	}
	return addresses{SSH: string(m[1]), HTTP: string(m[2])}, true
}

// stop asks the server to end and checks that it ended well.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.done:
	case <-time.After(stopLimit):
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines go to the log
		select {
		case <-s.done:
		case <-time.After(5 * time.Second):
			_ = s.kill()
		}
		return fmt.Errorf("gitd serve did not end within %s after SIGTERM", stopLimit)
	}
	if s.err != nil {
		return fmt.Errorf("gitd serve ended with %v (66 stands for a data race):\n%s", s.err, tail(s.output, 60))
	}
	if _, err := os.Stat(filepath.Join(s.data, "serve.json")); err == nil {
		return errors.New("serve.json is still there after a clean stop")
	}
	return nil
}

// kill ends the server with SIGKILL, alone: what it started is on its own.
func (s *server) kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.done
	return nil
}
