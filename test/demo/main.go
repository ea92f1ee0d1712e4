// Command demo tells the story of gitd on a throwaway server: a real git push of a Go app, an answer over HTTP, a second push
// under load without a failed request, a rollback. It ends with a status other than 0 where the story is not as told.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitd-io/gitd/test/stage"
)

func main() { stage.Main(demo) }

// story is told on a stage.
type story struct {
	*stage.Stage
	ctx   context.Context
	first string // what the first version answers
}

func demo(ctx context.Context) (err error) {
	st, err := stage.New("bin/gitd")
	if err != nil {
		return err
	}
	s := &story{Stage: st, ctx: ctx}
	defer func() { err = errors.Join(err, s.Close()) }()

	for _, chapter := range []func() error{s.begin, s.firstPush, s.secondPush, s.rollback} {
		if err := chapter(); err != nil {
			return err
		}
	}
	return s.run(nil, s.Gitd, "releases", "hello", "--data", s.Data())
}

func (s *story) begin() error {
	stage.Title("A server, with nothing but a folder of its own")
	if err := s.Open(s.ctx); err != nil {
		return err
	}
	stage.Title("A developer registers an SSH key")
	return s.Register(s.ctx)
}

func (s *story) firstPush() (err error) {
	stage.Title("The first push of a Go app")
	if err := s.app(); err != nil {
		return err
	}
	if err := s.git("push", "platform", "main"); err != nil {
		return err
	}
	if s.first, err = s.get(); err != nil {
		return err
	}
	fmt.Printf("$ curl http://hello.localhost%s/\n%s\n", s.HTTP[strings.LastIndexByte(s.HTTP, ':'):], s.first)
	return nil
}

func (s *story) secondPush() error {
	stage.Title("A second push, while 16 clients send requests")
	if err := s.edit(); err != nil {
		return err
	}
	load := start(s.ctx, s.HTTP, "hello.localhost", 16)
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

func (s *story) rollback() error {
	stage.Title("A rollback")
	began := time.Now()
	if err := s.run(nil, s.Gitd, "rollback", "hello", "--data", s.Data()); err != nil {
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

func (s *story) app() error {
	if err := os.CopyFS(s.work(), os.DirFS("examples/go")); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"}, {"add", "."}, {"commit", "--quiet", "--message=Hello"},
		{"remote", "add", "platform", "ssh://git@" + s.SSH + "/hello"},
	} {
		if err := s.git(args...); err != nil {
			return err
		}
	}
	return nil
}

// edit changes one line.
func (s *story) edit() error {
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

func (s *story) work() string { return filepath.Join(s.Dir, "hello") }

func (s *story) git(args ...string) error {
	return s.run(nil, "git", append([]string{"-C", s.work()}, args...)...)
}

// run shows a command and runs it.
func (s *story) run(stdin io.Reader, name string, args ...string) error {
	return s.Show(s.ctx, " -C "+s.work(), stdin, name, args...)
}

func (s *story) get() (string, error) {
	r, err := s.Get(s.ctx, "hello", "/")
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
