// Command demo tells the story of gitd on a throwaway server: a real git push of a Go app, an answer over HTTP, a second push
// under load without a failed request, a rollback. It ends with a status other than 0 where the story is not as told.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo: "+err.Error())
		os.Exit(1)
	}
}

// stage is where the story plays.
type stage struct {
	ctx       context.Context
	dir, gitd string
	ssh, http string
	server    *exec.Cmd
	ended     chan error // the server's end
	log       *os.File   // what the server says beside the story
	first     string     // what the first version answers
}

func demo(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "gitd-demo-")
	if err != nil {
		return err
	}
	gitd, err := filepath.Abs("bin/gitd")
	if err != nil {
		return err
	}
	s := &stage{ctx: ctx, dir: dir, gitd: gitd}
	defer func() { err = errors.Join(err, s.clean()) }()

	for _, chapter := range []func() error{s.begin, s.firstPush, s.secondPush, s.rollback} {
		if err := chapter(); err != nil {
			return err
		}
	}
	return s.run(nil, s.gitd, "releases", "hello", "--data", s.data())
}

func (s *stage) begin() error {
	title("A server, with nothing but a folder of its own")
	if err := s.serve(); err != nil {
		return err
	}
	title("A developer registers an SSH key")
	return s.key()
}

func (s *stage) firstPush() (err error) {
	title("The first push of a Go app")
	if err := s.app(); err != nil {
		return err
	}
	if err := s.git("push", "platform", "main"); err != nil {
		return err
	}
	if s.first, err = s.get(); err != nil {
		return err
	}
	fmt.Printf("$ curl http://hello.localhost%s/\n%s\n", s.http[strings.LastIndexByte(s.http, ':'):], s.first)
	return nil
}

func (s *stage) secondPush() error {
	title("A second push, while 16 clients send requests")
	if err := s.edit(); err != nil {
		return err
	}
	load := start(s.ctx, s.http, "hello.localhost", 16)
	err := s.git("push", "platform", "main")
	time.Sleep(time.Second) // some more answers from the new version, for the table
	load.stop()
	if err != nil {
		return err
	}
	load.print(os.Stdout)
	if load.failed() > 0 {
		return fmt.Errorf("%d of %d requests failed", load.failed(), load.total())
	}
	second, err := s.get()
	if err == nil && s.first == second {
		err = errors.New("the second version is not live")
	}
	return err
}

func (s *stage) rollback() error {
	title("A rollback")
	began := time.Now()
	if err := s.run(nil, s.gitd, "rollback", "hello", "--data", s.data()); err != nil {
		return err
	}
	took := time.Since(began)
	third, err := s.get()
	if err != nil {
		return err
	}
	fmt.Printf("%s\nback in %.2f s\n", third, took.Seconds())
	if third != s.first {
		return errors.New("the rollback did not bring the first version back")
	}
	if took > time.Second {
		fmt.Println("(slower than the target of one second: is the machine busy?)")
	}
	return nil
}

func title(s string) { fmt.Printf("\n=== %s\n", s) }

func (s *stage) data() string { return filepath.Join(s.dir, "data") }

func (s *stage) serve() (err error) {
	fmt.Println("$ gitd serve --data DIR --ssh 127.0.0.1:0 --http 127.0.0.1:0")
	s.server = exec.Command(s.gitd, "serve", "--data", s.data(), "--ssh", "127.0.0.1:0", "--http", "127.0.0.1:0")
	s.server.Stdout = os.Stdout
	if s.log, err = os.Create(filepath.Join(s.dir, "server.log")); err != nil {
		return err
	}
	s.server.Stderr = s.log
	if err := s.server.Start(); err != nil {
		return err
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.server.Wait() }()
	for { // the first start on a machine makes the builder image: minutes
		if b, err := os.ReadFile(filepath.Join(s.data(), "serve.json")); err == nil {
			var where struct{ SSH, HTTP string }
			if err := json.Unmarshal(b, &where); err != nil {
				return err
			}
			s.ssh, s.http = where.SSH, where.HTTP
			return nil
		}
		select {
		case err := <-s.ended:
			s.server = nil
			said, _ := os.ReadFile(s.log.Name())
			return fmt.Errorf("the server ended: %v\n%s", err, said)
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *stage) key() error {
	key := filepath.Join(s.dir, "id")
	if out, err := exec.CommandContext(s.ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", key).CombinedOutput(); err != nil {
		return fmt.Errorf("ssh-keygen: %w: %s", err, out)
	}
	pub, err := os.Open(key + ".pub")
	if err != nil {
		return err
	}
	defer pub.Close()
	return s.run(pub, s.gitd, "keys", "add", "laptop", "--data", s.data())
}

func (s *stage) app() error {
	if err := os.CopyFS(s.work(), os.DirFS("examples/go")); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"}, {"add", "."}, {"commit", "--quiet", "--message=Hello"},
		{"remote", "add", "platform", "ssh://git@" + s.ssh + "/hello"},
	} {
		if err := s.git(args...); err != nil {
			return err
		}
	}
	return nil
}

// edit changes one line.
func (s *stage) edit() error {
	f := filepath.Join(s.work(), "main.go")
	b, err := os.ReadFile(f)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(b), `version = "v1"`, `version = "v2"`, 1)
	if changed == string(b) {
		return errors.New(`examples/go/main.go has no line with version = "v1"`)
	}
	if err := os.WriteFile(f, []byte(changed), 0o644); err != nil {
		return err
	}
	return s.git("commit", "--quiet", "--all", "--message=Version 2")
}

func (s *stage) work() string { return filepath.Join(s.dir, "hello") }

func (s *stage) git(args ...string) error {
	return s.run(nil, "git", append([]string{"-C", s.work()}, args...)...)
}

// run shows a command and runs it, with an environment in which git and ssh see nothing of the user's settings.
func (s *stage) run(stdin io.Reader, name string, args ...string) error {
	shown := strings.NewReplacer(s.gitd, "gitd", " --data "+s.data(), "", " -C "+s.work(), "").Replace(name + " " + strings.Join(args, " "))
	fmt.Println("$ " + shown)
	c := exec.CommandContext(s.ctx, name, args...)
	c.Stdin, c.Stdout, c.Stderr = stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), "HOME="+s.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=demo", "GIT_AUTHOR_EMAIL=demo@example.com", "GIT_COMMITTER_NAME=demo", "GIT_COMMITTER_EMAIL=demo@example.com",
		fmt.Sprintf("GIT_SSH_COMMAND=ssh -F /dev/null -i %[1]s/id -o IdentitiesOnly=yes -o UserKnownHostsFile=%[1]s/known -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR", s.dir))
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", shown, err)
	}
	return nil
}

func (s *stage) get() (string, error) {
	q, err := http.NewRequestWithContext(s.ctx, http.MethodGet, "http://"+s.http+"/", nil)
	if err != nil {
		return "", err
	}
	q.Host = "hello.localhost"
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET /: %s: %s", r.Status, b)
	}
	return strings.TrimSpace(string(b)), err
}

// clean stops the server and removes everything that the demo made.
func (s *stage) clean() (err error) {
	defer s.log.Close()
	if s.server != nil {
		err = s.stopServer()
		if out, e := exec.Command(s.gitd, "purge", "--data", s.data(), "--yes").CombinedOutput(); e != nil {
			return errors.Join(err, fmt.Errorf("gitd purge: %w: %s", e, out))
		}
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *stage) stopServer() error {
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
