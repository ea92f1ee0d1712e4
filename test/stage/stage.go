// Package stage runs a throwaway gitd server and a developer with a key of its own, for programs that tell a story or try apps.
package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Stage is one server, its data and a developer's home, all in one folder.
type Stage struct {
	Dir  string // all of it
	Gitd string // the program
	SSH  string // host:port, once it serves
	HTTP string // host:port, once it serves

	server *exec.Cmd
	ended  chan error // the server's end
	log    *os.File   // what the server says on its standard error
}

// New makes the folder. gitd is the path of the program.
func New(gitd string) (*Stage, error) {
	gitd, err := filepath.Abs(gitd)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gitd-stage-")
	if err != nil {
		return nil, err
	}
	return &Stage{Dir: dir, Gitd: gitd}, nil
}

// Data is the server's data directory.
func (s *Stage) Data() string { return filepath.Join(s.Dir, "data") }

// Serve starts the server, on ports of its own, and waits until it serves. Its standard output goes to out. The first start on
// a machine makes the builder image: minutes.
func (s *Stage) Serve(ctx context.Context, out io.Writer, args ...string) (err error) {
	s.server = exec.Command(s.Gitd, append([]string{"serve", "--data", s.Data(), "--ssh", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)...)
	s.server.Stdout = out
	if s.log, err = os.Create(filepath.Join(s.Dir, "server.log")); err != nil {
		return err
	}
	s.server.Stderr = s.log
	if err := s.server.Start(); err != nil {
		s.server = nil
		return err
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.server.Wait() }()
	for {
		if b, err := os.ReadFile(filepath.Join(s.Data(), "serve.json")); err == nil {
			var where struct{ SSH, HTTP string }
			err := json.Unmarshal(b, &where)
			s.SSH, s.HTTP = where.SSH, where.HTTP
			return err
		}
		select {
		case err := <-s.ended:
			s.server = nil
			said, _ := os.ReadFile(s.log.Name())
			return fmt.Errorf("the server ended: %v\n%s", err, said)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Key makes the developer's SSH key and returns the path of its public half.
func (s *Stage) Key(ctx context.Context) (string, error) {
	key := filepath.Join(s.Dir, "id")
	if out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "stage", "-f", key).CombinedOutput(); err != nil {
		return "", fmt.Errorf("ssh-keygen: %w: %s", err, out)
	}
	return key + ".pub", nil
}

// Env is the environment of the developer's commands: git and ssh see nothing of the settings of the person at the machine.
func (s *Stage) Env() []string {
	return append(os.Environ(), "HOME="+s.Dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=demo", "GIT_AUTHOR_EMAIL=demo@example.com", "GIT_COMMITTER_NAME=demo", "GIT_COMMITTER_EMAIL=demo@example.com",
		fmt.Sprintf("GIT_SSH_COMMAND=ssh -F /dev/null -i %[1]s/id -o IdentitiesOnly=yes -o UserKnownHostsFile=%[1]s/known -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR", s.Dir))
}

// Get asks the app for a path, which may have a query, and follows no redirect.
func (s *Stage) Get(ctx context.Context, app, path string) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTP+path, nil)
	if err != nil {
		return nil, err
	}
	q.Host = app + ".localhost" + s.HTTP[strings.LastIndexByte(s.HTTP, ':'):]
	return client.Do(q)
}

var client = &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// Close stops the server and removes all that it made.
func (s *Stage) Close() (err error) {
	if s.log != nil {
		defer s.log.Close()
	}
	if s.server != nil {
		err = s.stop()
		if out, e := exec.Command(s.Gitd, "purge", "--data", s.Data(), "--yes").CombinedOutput(); e != nil {
			return errors.Join(err, fmt.Errorf("gitd purge: %w: %s", e, out))
		}
	}
	return errors.Join(err, os.RemoveAll(s.Dir))
}

func (s *Stage) stop() error {
	select {
	case err := <-s.ended:
		said, _ := os.ReadFile(s.log.Name())
		return fmt.Errorf("the server ended by itself: %v\n%s", err, said)
	default:
	}
	_ = s.server.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
		return nil
	case <-time.After(time.Minute):
		_ = s.server.Process.Kill()
		<-s.ended
		return errors.New("the server did not stop within a minute")
	}
}
