package kit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/tail"
)

// Cmd is a tool to run.
type Cmd struct {
	Args []string
	Dir  string
	Env  Env
	Out  io.Writer // both of the tool's outputs
	Name string    // what to call it in an error, e.g. "npm ci"; default: the first two words
	Next string    // what to do when it fails; may be empty
}

// Tail keeps the end of what a tool says.
type Tail = tail.Tail

// leftBehind is how long a tool that has ended is waited for by its output: servers of compilers, which it has left behind, may hold that open for long.
var leftBehind = 5 * time.Second

// tailSize is enough for what a tool says last.
const tailSize = 64 << 10

// Run runs the tool and passes its output on. A failure is an *Error that names the tool and its exit status; the end of the
// output is returned too, for those who can say more about the cause. Where it says that a part of the system is missing, and the Debian package that has
// it is known, the error names both.
func (c Cmd) Run() (string, error) {
	end := &Tail{Limit: tailSize}
	out := io.MultiWriter(c.Out, end)
	err := c.start(out, out)
	var e *Error
	if errors.As(err, &e) {
		if l, ok := FindLack(end.String()); ok && l.Packages != nil {
			err = &Error{e.Message, l.What, l.Next()}
		}
	}
	return end.String(), err
}

// Output runs the tool and returns its standard output. The standard error is passed on.
func (c Cmd) Output() ([]byte, error) {
	var b strings.Builder
	err := c.start(&b, c.Out)
	return []byte(b.String()), err
}

func (c Cmd) start(stdout, stderr io.Writer) error {
	path, err := lookPath(c.Args[0], c.Env["PATH"])
	if err != nil {
		return Errorf("the builder image may be broken", "the program %s is missing from the builder", c.Args[0])
	}
	cmd := exec.Cmd{Path: path, Args: c.Args, Dir: c.Dir, Env: c.Env.List(), Stdout: stdout, Stderr: stderr, WaitDelay: leftBehind}
	if c.Dir != "" {
		cmd.Env = append(cmd.Env, "PWD="+c.Dir)
	}
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		name := c.Name
		if name == "" {
			name = strings.Join(c.Args[:min(2, len(c.Args))], " ")
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return Errorf(c.Next, "%s failed (%s)", name, reason(exit))
		}
		return Errorf("", "%s could not be started: %v", name, err)
	}
	return nil
}

// reason says how a tool ended. A kill is nearly always the memory limit of the build.
func reason(exit *exec.ExitError) string {
	if s := exit.String(); strings.Contains(s, "killed") {
		return s + ": the build may have run out of memory"
	}
	return exit.String()
}

// lookPath finds a program in the PATH of the tool, not in our own.
func lookPath(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			continue
		}
		p := dir + "/" + name
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// Processors is how many jobs a compiler may run at a time.
func Processors() string { return strconv.Itoa(max(1, min(runtime.NumCPU(), 4))) }
