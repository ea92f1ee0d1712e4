package contract

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

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

// row is a command that behaves as it does in a local shell: the test runs it there as well.
type row struct {
	name      string
	args, env []string
	stdin     string
	open      bool // the input does not end
	out, errs string
	code      int
	signal    string
	differs   string // why the local shell is not asked
}

func (s *suite) rows() []row {
	big := string(bytes.Repeat([]byte("\x00\x01\xff\r\n\x1b~."), 1<<17)) // 1 MiB
	zeros := func(n int) string { return string(make([]byte, n)) }
	rows := []row{
		{name: "arguments", args: []string{"args", "", "a b", "'", "$HOME", "*", "é\n"}, out: `["" "a b" "'" "$HOME" "*" "é\n"]` + "\n"},
		{name: "an empty argument", args: []string{"args", ""}, out: `[""]` + "\n"},
		{name: "arguments that look like flags", args: []string{"args", "--", "-x", "--release", "v1", "$(X)", "$$(X)", "${X}"}, out: `["--" "-x" "--release" "v1" "$(X)" "$$(X)" "${X}"]` + "\n"},
		{name: "an argument with lines, quotes and UTF-8", args: []string{"args", "a\nb\t\"c\" `d` \\ 日本 👩‍💻"}, out: fmt.Sprintf("%q\n", []string{"a\nb\t\"c\" `d` \\ 日本 👩‍💻"})},
		{name: "a large argument", args: []string{"count", strings.Repeat("x", 100_000)}, out: "1 100000\n"},
		{name: "a hundred arguments", args: append([]string{"args"}, slices.Repeat([]string{"x y"}, 100)...), out: fmt.Sprintf("%q\n", slices.Repeat([]string{"x y"}, 100))},
		{name: "thousands of arguments", args: append([]string{"count"}, slices.Repeat([]string{"0123456789"}, 5000)...), out: "5000 50000\n"},
		{name: "stdout and stderr apart", args: []string{"both"}, out: "out", errs: "err"},
		{name: "bytes in both directions", args: []string{"cat"}, stdin: big, out: big},
		{name: "all of the input arrives", args: []string{"sum"}, stdin: big, out: fmt.Sprintf("%d %x\n", len(big), sha256.Sum256([]byte(big)))},
		{name: "empty input", args: []string{"sum"}, out: fmt.Sprintf("0 %x\n", sha256.Sum256(nil))},
		{name: "output after the end of the input", args: []string{"after"}, stdin: "abc", out: "read 3\nlater\n"},
		{name: "input that is not read", args: []string{"exit", "3"}, stdin: big, code: 3},
		{name: "input that does not end", args: []string{"exit", "4"}, open: true, code: 4},
		{name: "input that is refused", args: []string{"refuses"}, stdin: big, out: "later\n"},
		{name: "much output, no input", args: []string{"zeros", "3000001"}, out: zeros(3000001)},
		{name: "it ends while output is under way", args: []string{"tail", "1000003"}, out: zeros(1000003) + "last", errs: "last", code: 6},
		{name: "a child that is left behind", args: []string{"leaves"}, out: "<nil>\n"},
		{name: "an empty variable", args: []string{"env", "COLOUR"}, env: []string{"COLOUR="}, out: "\n"},
		{name: "a variable with lines", args: []string{"env", "TEXT"}, env: []string{"TEXT=a\n'b\"\\ $c"}, out: "a\n'b\"\\ $c\n"},
		{name: "a locale", args: []string{"env", "LC_ALL"}, env: []string{"LC_ALL=C.UTF-8"}, out: "C.UTF-8\n"},
		{name: "its own variable", args: []string{"env", "COLOUR"}, env: []string{"COLOUR=blue=green"}, out: "blue=green\n"},
		{name: "the app's variable", args: []string{"env", "COLOUR"}, out: "red\n", differs: "a shell has the variables of its user, a run those of the release"},
		{name: "the release's name", args: []string{"env", "K_REVISION"}, out: "run-v1\n", differs: "as above"},
		{name: "no such command", code: 127, args: []string{"/nope"}, differs: "the words are the launcher's"},
	}
	for _, code := range []int{1, 2, 42, 82, 126, 255} { // 82 is also the launcher's own
		rows = append(rows, row{name: fmt.Sprintf("status %d", code), args: []string{"exit", strconv.Itoa(code)}, code: code})
	}
	for _, n := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGILL, syscall.SIGABRT, syscall.SIGFPE, syscall.SIGKILL, syscall.SIGUSR1,
		syscall.SIGSEGV, syscall.SIGUSR2, syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGTERM} {
		rows = append(rows, row{name: unix.SignalName(n), args: []string{"die", unix.SignalName(n)}, code: 128 + int(n), signal: n.String()})
	}
	return rows
}

// ran is what became of a row.
type ran struct {
	exit      deploy.Exit
	err       error
	out, errs bytes.Buffer
}

// run: a command has the streams, the environment and the exit status that it has in a local shell. The rows wait most of the time, for a cluster, and run
// beside each other.
func (s *suite) run(t *testing.T) {
	svc, rows := s.service("run", "v1", "COLOUR=red"), s.rows()
	results, room := make([]chan *ran, len(rows)), make(chan struct{}, 12)
	for i, c := range rows {
		results[i] = make(chan *ran, 1)
		go func() {
			room <- struct{}{}
			defer func() { <-room }()
			results[i] <- s.runRow(t, svc, c)
		}()
	}
	for i, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			if c.differs == "" {
				s.inShell(t, c)
			}
			r := <-results[i]
			if r.err != nil || r.exit.Code != c.code || r.exit.Signal != c.signal || c.code != 127 && (r.out.String() != c.out || r.errs.String() != c.errs) {
				t.Errorf("%+v, %v, %d bytes\n%.200q\n%.200q", r.exit, r.err, r.out.Len(), r.out.String(), r.errs.String())
			}
		})
	}
	for name, more := range map[string]func(*testing.T){"memory": s.runOutOfMemory, "signals": s.signals, "client gone": s.gone, "100 MB": s.muchData, "output that is not read": s.head, "no tail is lost": s.tails} {
		t.Run(name, func(t *testing.T) { t.Parallel(); more(t) })
	}
}

func (s *suite) runRow(t *testing.T, svc *servingv1.Service, c row) *ran {
	spec := deploy.RunSpec{Args: append([]string{program}, c.args...), Env: c.env, Stdin: strings.NewReader(c.stdin)}
	if c.args[0][0] == '/' {
		spec.Args = c.args
	}
	if c.open {
		in, w := io.Pipe()
		defer w.Close()
		spec.Stdin = in
	}
	r := &ran{}
	spec.Stdout, spec.Stderr = &r.out, &r.errs
	r.exit, r.err = s.env.Platform.Run(within(t), svc, spec)
	return r
}

// inShell fails unless a shell on this machine does with a row what the row says.
func (s *suite) inShell(t *testing.T, c row) {
	t.Helper()
	in := io.Reader(strings.NewReader(c.stdin))
	if c.open {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		in = r
	}
	sh := exec.Command("/bin/sh", append([]string{"-c", `"$@"; exit $?`, "sh", s.program}, c.args...)...)
	var out, errs bytes.Buffer
	sh.Stdin, sh.Stdout, sh.Stderr, sh.Env = in, &out, &errs, append([]string{"COLOUR=red"}, c.env...)
	sh.WaitDelay = time.Second // for a child that is left behind; a busy machine may take long to read what the command wrote
	err := sh.Run()
	if sh.ProcessState == nil {
		t.Fatal(err)
	}
	if c.signal != "" { // the shell says so itself
		errs.Reset()
	}
	if code := sh.ProcessState.ExitCode(); code != c.code || out.String() != c.out || errs.String() != c.errs {
		t.Errorf("in a shell: %d, %d bytes\n%.200q\n%.200q", code, out.Len(), out.String(), errs.String())
	}
}

func (s *suite) runOutOfMemory(t *testing.T) {
	for range 3 { // as in process
		e, err := s.env.Platform.Run(within(t), limited(s.service("run", "v2")), deploy.RunSpec{Args: []string{program, "hog"}, Stdin: strings.NewReader("")})
		if err == nil && e.OutOfMemory && e.Memory == "64 MiB" && e.Code == 137 {
			return
		} else if err != nil || e.Code != 137 {
			t.Fatalf("%+v, %v", e, err)
		}
	}
	t.Error("not told of the limit")
}

// muchData: 100 MB go in and come out as they are.
func (s *suite) muchData(t *testing.T) {
	const size = 100 << 20
	in, out := sha256.New(), sha256.New()
	from := io.TeeReader(io.LimitReader(mathrand.NewChaCha8([32]byte{1}), size), in)
	counted := &counter{w: out}
	e, err := s.env.Platform.Run(within(t), s.service("run", "v1"), deploy.RunSpec{Args: []string{program, "cat"}, Stdin: from, Stdout: counted})
	if err != nil || e != (deploy.Exit{}) || counted.n != size || !bytes.Equal(in.Sum(nil), out.Sum(nil)) {
		t.Errorf("%+v, %v: %d bytes of %d, as they are: %v", e, err, counted.n, size, bytes.Equal(in.Sum(nil), out.Sum(nil)))
	}
}

// tails: of several commands that end in the midst of their output, whose clients read at their own pace, nothing is lost. Each time.
func (s *suite) tails(t *testing.T) {
	const size, at = 400_003, 8
	var wait sync.WaitGroup
	for i := range at {
		wait.Go(func() {
			out := &counter{w: io.Discard, pause: time.Duration(i) * time.Millisecond}
			spec := deploy.RunSpec{Args: []string{program, "tail", strconv.Itoa(size)}, Stdin: strings.NewReader(""), Stdout: out, Stderr: out}
			if i%2 == 1 {
				spec.Terminal = &deploy.Terminal{Size: app.WindowSize{Rows: 24, Columns: 80}}
			}
			e, err := s.env.Platform.Run(within(t), s.service("run", "v1"), spec)
			if err != nil || e.Code != 6 || out.n != size+len("lastlast") {
				t.Errorf("%d: %+v, %v, %d bytes", i, e, err, out.n)
			}
		})
	}
	wait.Wait()
}

type counter struct {
	w     io.Writer
	n     int
	pause time.Duration // of each write
}

func (c *counter) Write(p []byte) (int, error) {
	time.Sleep(c.pause)
	c.n += len(p)
	return c.w.Write(p)
}

// head: a command whose output is read no more is told when it writes, as by "| head".
func (s *suite) head(t *testing.T) {
	sh := exec.Command("/bin/bash", "-c", `"$@" | head -c 10 >/dev/null; exit ${PIPESTATUS[0]}`, "sh", s.program, "zeros", "100000000")
	if err := sh.Run(); sh.ProcessState == nil || sh.ProcessState.ExitCode() != 141 {
		t.Errorf("in a shell: %v", err)
	}
	e, err := s.env.Platform.Run(within(t), s.service("run", "v1"), deploy.RunSpec{Args: []string{program, "zeros", "100000000"}, Stdin: strings.NewReader(""), Stdout: &closes{after: 10}})
	if err != nil || e.Code != 141 || e.Signal != "broken pipe" {
		t.Errorf("%+v, %v", e, err)
	}
}

// closes is a writer that takes so many bytes.
type closes struct{ after int }

func (c *closes) Write(p []byte) (int, error) {
	if c.after -= len(p); c.after < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// signals: those of the client reach the command.
func (s *suite) signals(t *testing.T) {
	out, signals := &screen{}, make(chan string, 1)
	in, w := io.Pipe()
	defer w.Close()
	ended := make(chan deploy.Exit, 1)
	go func() {
		e, err := s.env.Platform.Run(within(t), s.service("run", "v1"), deploy.RunSpec{Args: []string{program, "catch", "terminated"}, Stdin: in, Stdout: out, Signals: signals, Grace: 2 * time.Second})
		if err != nil {
			t.Error(err)
		}
		ended <- e
	}()
	out.shows(t, "ready\n")
	for _, n := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGTERM} {
		signals <- strings.TrimPrefix(unix.SignalName(n), "SIG")
		out.shows(t, "caught "+n.String()+"\n")
	}
	if e := <-ended; e.Code != 9 || e.Signal != "" {
		t.Errorf("%+v", e)
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
