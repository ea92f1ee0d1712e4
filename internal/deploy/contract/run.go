package contract

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

// program is the test app's.
const program = "/app/testapp"

// screen is what a run writes, as it comes.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	apptest.Eventually(t, settles, fmt.Sprintf("%q", text), func() bool { return strings.Contains(s.String(), text) })
}

// run: a command has the streams, the environment and the exit status that it would have in a shell.
func (s *suite) run(t *testing.T) {
	svc := s.service("run", "v1", "COLOUR=red")
	big := bytes.Repeat([]byte("\x00\x01\xff\r\n\x1b~."), 1<<17) // 1 MiB
	for _, c := range []struct {
		name      string
		spec      deploy.RunSpec
		stdin     string
		out, errs string
		code      int
		signal    string
	}{
		{name: "arguments", spec: deploy.RunSpec{Args: []string{"args", "", "a b", "'", "$HOME", "*", "é\n"}}, out: `["" "a b" "'" "$HOME" "*" "é\n"]` + "\n"},
		{name: "stdout and stderr apart", spec: deploy.RunSpec{Args: []string{"both"}}, out: "out", errs: "err"},
		{name: "bytes in both directions", spec: deploy.RunSpec{Args: []string{"cat"}}, stdin: string(big), out: string(big)},
		{name: "all of the input arrives", spec: deploy.RunSpec{Args: []string{"sum"}}, stdin: string(big), out: fmt.Sprintf("%d %x\n", len(big), sha256.Sum256(big))},
		{name: "empty input", spec: deploy.RunSpec{Args: []string{"sum"}}, out: fmt.Sprintf("0 %x\n", sha256.Sum256(nil))},
		{name: "status", spec: deploy.RunSpec{Args: []string{"exit", "42"}}, code: 42},
		{name: "status 255", spec: deploy.RunSpec{Args: []string{"exit", "255"}}, code: 255},
		{name: "status 1", spec: deploy.RunSpec{Args: []string{"exit", "1"}}, code: 1},
		{name: "status 2", spec: deploy.RunSpec{Args: []string{"exit", "2"}}, code: 2},
		{name: "status 82, the launcher's own", spec: deploy.RunSpec{Args: []string{"exit", "82"}}, code: 82},
		{name: "status 126", spec: deploy.RunSpec{Args: []string{"exit", "126"}}, code: 126},
		{name: "hung up", spec: deploy.RunSpec{Args: []string{"die", "SIGHUP"}}, code: 129, signal: "hangup"},
		{name: "interrupted", spec: deploy.RunSpec{Args: []string{"die", "SIGINT"}}, code: 130, signal: "interrupt"},
		{name: "a hundred arguments", spec: deploy.RunSpec{Args: append([]string{"args"}, slices.Repeat([]string{"x y"}, 100)...)}, out: fmt.Sprintf("%q\n", slices.Repeat([]string{"x y"}, 100))},
		{name: "an empty variable", spec: deploy.RunSpec{Args: []string{"env", "COLOUR"}, Env: []string{"COLOUR="}}, out: "\n"},
		{name: "a variable with lines", spec: deploy.RunSpec{Args: []string{"env", "TEXT"}, Env: []string{"TEXT=a\n'b\"\\ $c"}}, out: "a\n'b\"\\ $c\n"},
		{name: "much output, no input", spec: deploy.RunSpec{Args: []string{"zeros", "3000001"}}, out: string(make([]byte, 3000001))},
		{name: "input that is not read", spec: deploy.RunSpec{Args: []string{"exit", "3"}}, stdin: string(big), code: 3},
		{name: "killed", spec: deploy.RunSpec{Args: []string{"die", "SIGKILL"}}, code: 137, signal: "killed"},
		{name: "terminated", spec: deploy.RunSpec{Args: []string{"die", "SIGTERM"}}, code: 143, signal: "terminated"},
		{name: "environment", spec: deploy.RunSpec{Args: []string{"env", "COLOUR"}}, out: "red\n"},
		{name: "its own environment", spec: deploy.RunSpec{Args: []string{"env", "COLOUR"}, Env: []string{"COLOUR=blue=green"}}, out: "blue=green\n"},
		{name: "a release's", spec: deploy.RunSpec{Args: []string{"env", "K_REVISION"}}, out: "run-v1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			c.spec.Args = append([]string{program}, c.spec.Args...)
			c.spec.Stdin, c.spec.Stdout, c.spec.Stderr = strings.NewReader(c.stdin), &out, &errs
			e, err := s.env.Platform.Run(within(t), svc, c.spec)
			if err != nil || e.Code != c.code || e.Signal != c.signal || out.String() != c.out || errs.String() != c.errs {
				t.Errorf("%+v, %v, %d bytes\n%.200q\n%.200q", e, err, out.Len(), out.String(), errs.String())
			}
		})
	}
	t.Run("no such command", func(t *testing.T) {
		t.Parallel()
		e, err := s.env.Platform.Run(within(t), svc, deploy.RunSpec{Args: []string{"nope"}, Stdin: strings.NewReader("")})
		if err != nil || e.Code != 127 {
			t.Errorf("%+v, %v", e, err)
		}
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		for range 3 { // as in process
			e, err := s.env.Platform.Run(within(t), limited(s.service("run", "v2")), deploy.RunSpec{Args: []string{program, "hog"}, Stdin: strings.NewReader("")})
			if err == nil && e.OutOfMemory && e.Memory == "64 MiB" && e.Code == 137 {
				return
			} else if err != nil || e.Code != 137 {
				t.Fatalf("%+v, %v", e, err)
			}
		}
		t.Error("not told of the limit")
	})
	t.Run("terminal", func(t *testing.T) { t.Parallel(); s.terminal(t) })
	t.Run("signal", func(t *testing.T) { t.Parallel(); s.signal(t) })
	t.Run("client gone", func(t *testing.T) { t.Parallel(); s.gone(t) })
}

// terminal: a run has one that is as large as its client's, follows it, and ends input and program by keys.
func (s *suite) terminal(t *testing.T) {
	keys, typed := io.Pipe()
	out, resized := &screen{}, make(chan app.WindowSize)
	ended := make(chan deploy.Exit, 1)
	go func() {
		e, err := s.env.Platform.Run(within(t), s.service("run", "v1"), deploy.RunSpec{Args: []string{program, "tty"}, Stdin: keys, Stdout: out, Grace: time.Second,
			Terminal: &deploy.Terminal{Term: "vt220", Size: app.WindowSize{Rows: 33, Columns: 77}, Resized: resized}})
		if err != nil {
			t.Error(err)
		}
		ended <- e
	}()
	out.shows(t, "terminal ")
	out.shows(t, "vt220\r\n")
	resized <- app.WindowSize{Rows: 40, Columns: 100}
	out.shows(t, "resized 40x100\r\n")
	_, _ = typed.Write([]byte("héllo\r"))
	out.shows(t, "héllo\r\nread héllo\r\n")
	_, _ = typed.Write([]byte{4}) // Ctrl-D
	if e := <-ended; e.Code != 5 || !strings.Contains(out.String(), "end\r\n") || strings.HasPrefix(out.String(), "\r\n") {
		t.Errorf("%+v %q", e, out)
	}
	keys, typed = io.Pipe()
	out = &screen{}
	go func() {
		e, err := s.env.Platform.Run(within(t), s.service("run", "v1"), deploy.RunSpec{Args: []string{program, "catch"}, Stdin: keys, Stdout: out, Grace: time.Second, Terminal: &deploy.Terminal{}})
		if err != nil {
			t.Error(err)
		}
		ended <- e
	}()
	out.shows(t, "ready")
	_, _ = typed.Write([]byte{3}) // Ctrl-C
	if e := <-ended; e.Code != 9 || !strings.Contains(out.String(), "caught interrupt\r\n") {
		t.Errorf("%+v %q", e, out)
	}
}

// signal: the client's signals reach the command.
func (s *suite) signal(t *testing.T) {
	out, signals := &screen{}, make(chan string, 1)
	in, _ := io.Pipe()
	ended := make(chan deploy.Exit, 1)
	go func() {
		e, err := s.env.Platform.Run(within(t), s.service("run", "v1"), deploy.RunSpec{Args: []string{program, "catch"}, Stdin: in, Stdout: out, Signals: signals, Grace: 2 * time.Second})
		if err != nil {
			t.Error(err)
		}
		ended <- e
	}()
	out.shows(t, "ready\n")
	signals <- "TERM"
	<-ended
	if !strings.Contains(out.String(), "caught terminated\n") {
		t.Errorf("%q", out)
	}
}

// gone: a run ends with its client, also one that ignores what it is told.
func (s *suite) gone(t *testing.T) {
	left := app.Errorf(app.CodeCancelled, "try again", "the client went away")
	for _, what := range []string{"sleep", "deaf"} {
		ctx, cancel := context.WithCancelCause(within(t))
		defer cancel(nil)
		began := time.Now()
		in, _ := io.Pipe()
		_, err := s.env.Platform.Run(ctx, s.service("run", "v1"), deploy.RunSpec{Args: []string{program, what}, Stdin: in, Stdout: writerFunc(func([]byte) { began = time.Now(); cancel(left) }), Grace: time.Second})
		if !errors.Is(err, left) {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %v to end", what, took)
		}
	}
}

// startedRun: a run that outlives gitd is started once, and is the next gitd's; its output is kept.
func (s *suite) startedRun(t *testing.T) {
	p := s.env.Platform
	svc := s.service("started", "v1", "COLOUR=red")
	file := t.TempDir() + "/j1.log"
	spec := deploy.RunSpec{Name: "started-job-1", Args: []string{program, "both"}, Log: file, Grace: time.Second}
	if _, err := p.WaitRun(within(t), "started", spec.Name); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("before it is started: %v", err)
	}
	for range 2 { // the second does nothing
		if err := p.StartRun(within(t), svc, spec); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := p.WaitRun(within(t), "started", spec.Name); err != nil || e != (deploy.Exit{}) {
		t.Errorf("%+v, %v", e, err)
	}
	if err := p.StartRun(within(t), svc, spec); err != nil {
		t.Errorf("again, when it has ended: %v", err)
	}
	if err := p.RemoveRun(within(t), "started", spec.Name); err != nil {
		t.Error(err)
	}
	if err := p.RemoveRun(within(t), "started", spec.Name); !errors.Is(err, deploy.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if b := kept(file); !strings.Contains(b, "out") || !strings.Contains(b, "err") || strings.Count(b, "out") != 1 {
		t.Errorf("log: %q", b)
	}
	spec = deploy.RunSpec{Name: "started-job-2", Args: []string{program, "deaf"}, Log: t.TempDir() + "/j2.log", Grace: time.Second}
	if err := p.StartRun(within(t), svc, spec); err != nil {
		t.Fatal(err)
	}
	ended := make(chan deploy.Exit, 1)
	go func() {
		e, err := p.WaitRun(within(t), "started", spec.Name)
		if err != nil {
			t.Error(err)
		}
		ended <- e
	}()
	if err := p.StopRun(within(t), "started", spec.Name, time.Second); err != nil {
		t.Error(err)
	}
	if e := <-ended; e.Code == 0 || e.Signal == "" {
		t.Errorf("stopped: %+v", e)
	}
	if err := p.RemoveRun(within(t), "started", spec.Name); err != nil && !errors.Is(err, deploy.ErrNotFound) {
		t.Error(err)
	}
}

// kept is what a log has: package output's own form, without its times.
func kept(file string) string {
	b, _ := os.ReadFile(file)
	return string(b)
}
