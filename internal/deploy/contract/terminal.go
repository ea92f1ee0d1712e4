package contract

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/deploy"
)

// step is what a person does at a terminal, when it shows something.
type step struct {
	when  string // is shown, after what was shown at the step before
	keys  string
	size  app.WindowSize // the window becomes so large
	press string         // a signal that the client sends
}

// scene is a command at a terminal.
type scene struct {
	name   string
	args   []string
	size   app.WindowSize
	steps  []step
	shown  string
	code   int
	signal string
}

var scenes = []scene{
	{name: "lines, and the end of input", args: []string{"tty"}, size: app.WindowSize{Rows: 33, Columns: 77}, code: 5,
		steps: []step{{when: "vt220\r\n", keys: "héllo\r"}, {when: "read héllo\r\n", keys: "\x04"}},
		shown: "terminal 33x77 vt220\r\nhéllo\r\nread héllo\r\nend\r\n"},
	{name: "a window of another size", args: []string{"tty"}, size: app.WindowSize{Rows: 24, Columns: 80}, code: 5,
		steps: []step{{when: "vt220\r\n", size: app.WindowSize{Rows: 40, Columns: 100}}, {when: "40x100\r\n", size: app.WindowSize{Rows: 3, Columns: 9}}, {when: "3x9\r\n", keys: "\x04"}},
		shown: "terminal 24x80 vt220\r\nresized 40x100\r\nresized 3x9\r\nend\r\n"},
	{name: "all streams are the terminal", args: []string{"streams"},
		shown: "stdin true\r\nstdout true\r\nstderr true\r\nto stderr\r\nto the terminal\r\n"},
	{name: "a line is edited, in UTF-8", args: []string{"line"},
		steps: []step{{when: "ready\r\n", keys: "gone\x15hé日\x7f\x7fx\r"}},
		shown: "ready\r\ngone\b \b\b \b\b \b\b \bhé日\b \b\b \bx\r\n\"hx\"\r\n"},
	{name: "keys as they are", args: []string{"raw"},
		steps: []step{{when: "ready\r\n", keys: "\x03"}, {when: "03\r\n", keys: "\x1a"}, {when: "1a\r\n", keys: "\x1b[A"}, {when: "41\r\n", keys: "\x04\r"}, {when: "0d\r\n", keys: "\x7fq"}},
		shown: "ready\r\n03\r\n1a\r\n1b\r\n5b\r\n41\r\n04\r\n0d\r\n7f\r\n71\r\n"},
	{name: "Ctrl-C", args: []string{"idle"}, code: 130, signal: "interrupt",
		steps: []step{{when: "ready\r\n", keys: "\x03"}}, shown: "ready\r\n^C"},
	{name: "Ctrl-C that is caught", args: []string{"catch"}, code: 9,
		steps: []step{{when: "ready\r\n", keys: "\x03"}}, shown: "ready\r\n^Ccaught interrupt\r\n"},
	{name: "Ctrl-Backslash", args: []string{"idle"}, code: 131, signal: "quit",
		steps: []step{{when: "ready\r\n", keys: "\x1c"}}, shown: "ready\r\n^\\"},
	{name: "Ctrl-Z without job control", args: []string{"idle"}, code: 3, // a shell without it lives on as well
		steps: []step{{when: "ready\r\n", keys: "\x1a"}, {when: "^Z", keys: "\r"}, {when: "goes on\r\n", keys: "\x04"}}, shown: "ready\r\n^Z\r\ngoes on\r\n"},
	{name: "Ctrl-Z with job control", args: []string{"shell"}, code: 4,
		steps: []step{{when: "ready\r\n", keys: "\x1a"}, {when: "continued\r\n", keys: "\r"}, {when: "goes on\r\n", keys: "\x03"}},
		shown: "ready\r\n^Zstopped by stopped\r\ncontinued\r\n\r\ngoes on\r\n^Cended 2 -1\r\n"},
	{name: "Ctrl-S and Ctrl-Q", args: []string{"idle"}, code: 3,
		steps: []step{{when: "ready\r\n", keys: "\x13\r"}, {keys: "\x11"}, {when: "goes on\r\n", keys: "\x04"}}, shown: "ready\r\n\r\ngoes on\r\n"},
	{name: "a signal of the client", args: []string{"catch"}, code: 9,
		steps: []step{{when: "ready\r\n", press: "USR1"}}, shown: "ready\r\ncaught user defined signal 1\r\n"},
	{name: "it ends while output is under way", args: []string{"tail", "300001"}, code: 6,
		shown: string(make([]byte, 300001)) + "lastlast"},
}

// terminals: a command at a terminal shows what it shows at a local one, and ends as it does there.
func (s *suite) terminals(t *testing.T) {
	svc := s.service("terminal", "v1")
	for _, c := range scenes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s.atTerminal(t, c)
			keys, typed := io.Pipe()
			defer typed.Close()
			out, resized, signals := &screen{}, make(chan app.WindowSize), make(chan string)
			ended := make(chan deploy.Exit, 1)
			go func() {
				e, err := s.env.Platform.Run(within(t), svc, deploy.RunSpec{Args: append([]string{program}, c.args...), Stdin: keys, Stdout: out, Grace: time.Second, Signals: signals,
					Terminal: &deploy.Terminal{Term: "vt220", Size: c.size, Resized: resized}})
				if err != nil {
					t.Error(err)
				}
				ended <- e
			}()
			c.act(t, out, actor{
				types: func(text string) { _, _ = io.WriteString(typed, text) },
				sizes: func(size app.WindowSize) { resized <- size },
				sends: func(name string) { signals <- name },
			})
			e := <-ended
			if out.String() != c.shown || e.Code != c.code || e.Signal != c.signal {
				t.Errorf("%+v\n%.300q\n%.300q", e, out, c.shown)
			}
		})
	}
}

// actor does what a step says.
type actor struct {
	types func(string)
	sizes func(app.WindowSize)
	sends func(string)
}

func (c *scene) act(t *testing.T, out *screen, a actor) {
	t.Helper()
	from := 0
	for _, s := range c.steps {
		apptest.Eventually(t, settles, fmt.Sprintf("%q", s.when), func() bool {
			text := out.String()
			i := strings.Index(text[from:], s.when)
			if i >= 0 {
				from += i + len(s.when)
			}
			return i >= 0
		})
		switch {
		case s.keys != "":
			a.types(s.keys)
		case s.size != app.WindowSize{}:
			a.sizes(s.size)
		default:
			a.sends(s.press)
		}
	}
}

// atTerminal fails unless a scene is played so at a terminal of this machine, by a shell that runs the command in its own place.
func (s *suite) atTerminal(t *testing.T, c scene) {
	t.Helper()
	master, slave := openTerminal(t)
	defer master.Close()
	_ = unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: c.size.Rows, Col: c.size.Columns})
	sh := exec.Command("/bin/sh", append([]string{"-c", `exec "$@"`, "sh", s.program}, c.args...)...)
	sh.Stdin, sh.Stdout, sh.Stderr, sh.Env = slave, slave, slave, []string{"TERM=vt220"}
	sh.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	out, read := &screen{}, make(chan struct{})
	go func() { defer close(read); _, _ = io.Copy(out, master) }()
	c.act(t, out, actor{
		types: func(text string) { _, _ = master.WriteString(text) },
		sizes: func(size app.WindowSize) {
			_ = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Columns})
		},
		sends: func(name string) { n, _ := deploy.Signal(name); _ = sh.Process.Signal(n) },
	})
	err := sh.Wait()
	<-read
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	code := sh.ProcessState.ExitCode()
	if status := sh.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		code = 128 + int(status.Signal()) // as a shell tells it
	}
	if out.String() != c.shown || code != c.code {
		t.Errorf("at a local terminal: %d\n%.300q\n%.300q", code, out, c.shown)
	}
}

// openTerminal returns the two ends of one that is set as terminal emulators set theirs.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	mode.Iflag |= unix.IUTF8
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, mode); err != nil {
		t.Fatal(err)
	}
	return master, slave
}
