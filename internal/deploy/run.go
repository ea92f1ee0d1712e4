package deploy

import (
	"bytes"
	"context"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/pattern"
)

// launcher starts a command with the environment that the buildpacks made, as it starts the process types of an image.
const launcher = "/cnb/lifecycle/launcher"

// RunSpec is a process that runs beside an app, in a container of its own.
type RunSpec struct {
	Name    string   // of the container, unique on the platform: a-z, 0-9 and "-", at most 52 characters; "" for one that is made up
	Process string   // a process type of the image; "" where Args is the command
	Args    []string // the command, or what is added to that of the process type
	Env     []string // "NAME=value", on top of the template's

	// The streams, and the terminal in their place. A started run has none of them.
	Stdin          io.Reader     // nil: empty
	Stdout, Stderr io.Writer     // nil to discard; one writer for both gets what comes first first; with a Terminal, Stdout has all of the output
	Terminal       *Terminal     // nil: none
	Signals        <-chan string // names without "SIG", as in Signal; nil for none

	Grace time.Duration // from SIGTERM, when it is to end, to SIGKILL; 0 kills at once
	// Of a started run: the file that keeps its output (package output), and how many bytes of it; 0 for the platform's default.
	Log     string
	LogSize int64
}

// Terminal is what a run with a terminal has.
type Terminal struct {
	Term    string // $TERM; "" for the default
	Size    app.WindowSize
	Resized <-chan app.WindowSize
}

// Exit is how a run ended.
type Exit struct {
	Code        int    // as shells tell it: 128+n where a signal ended it
	Signal      string // in words, "killed"; "" where it exited
	OutOfMemory bool   // it was killed at its memory limit
	Memory      string // that limit: "512 MiB"
	Lost        bool   // how it ended is not known: its machine, or what watched it, was gone
}

// Runs is the part of a Platform that runs processes beside an app: its template's image, environment and limits, no traffic. The Service need not be
// applied. What a spec has wrong is told as an *app.Error (InvalidInput). A process that cannot start ends with a *StartError.
type Runs interface {
	// Run runs a process to its end. When ctx ends, or the terminal goes, the process is told to end, and killed after its grace: the error is then
	// ctx's cause. A run does not outlive gitd.
	Run(ctx context.Context, svc *servingv1.Service, spec RunSpec) (Exit, error)
	// StartRun starts a process that outlives gitd, and returns when it runs. Where a run of that name was started already, also by an earlier gitd,
	// it does nothing: a name is started once.
	StartRun(ctx context.Context, svc *servingv1.Service, spec RunSpec) error
	// WaitRun waits for the end of a started run, whose output is in its log then. It returns ErrNotFound (wrapped) for one that was never started, or is removed.
	WaitRun(ctx context.Context, service, name string) (Exit, error)
	// StopRun tells a started run to end, kills it after grace, and returns when it has ended.
	StopRun(ctx context.Context, service, name string, grace time.Duration) error
	// RemoveRun removes what is left of a run that was started, but for its log. One that runs is killed.
	RemoveRun(ctx context.Context, service, name string) error
}

// runName is a name that is one on both platforms.
var runName = pattern.New(`^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$`)

// variable is the name of an environment variable.
var variable = pattern.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Check returns an *app.Error (InvalidInput) for a spec that no platform accepts.
func (s *RunSpec) Check() error {
	switch {
	case s.Process != "" || len(s.Args) == 0:
		if err := CheckProcesses(s.Process); err != nil {
			return err
		}
	case s.Args[0] == "":
		return app.Errorf(app.CodeInvalidInput, "name the program to run", "the command is empty")
	}
	if s.Name != "" && !runName.MatchString(s.Name) {
		return app.Errorf(app.CodeInvalidInput, "use a-z, 0-9 and -", "%q cannot be the name of a run", s.Name)
	}
	if slices.ContainsFunc(s.Args, func(a string) bool { return strings.ContainsRune(a, 0) }) {
		return app.Errorf(app.CodeInvalidInput, "leave it out", "an argument of the command has a NUL")
	}
	for _, e := range s.Env {
		if err := checkVariable(e); err != nil {
			return err
		}
	}
	return nil
}

func checkVariable(e string) error {
	name, value, ok := strings.Cut(e, "=")
	switch {
	case !ok:
		return app.Errorf(app.CodeInvalidInput, "write NAME=value", "the variable %s has no value", app.Plain(app.Clip(e, 60)))
	case !variable.MatchString(name):
		return app.Errorf(app.CodeInvalidInput, "use letters, digits and _", "%q is not a valid name for a variable", app.Clip(name, 60))
	case name == "PORT" || strings.HasPrefix(name, "K_"):
		return app.Errorf(app.CodeInvalidInput, "choose another name", "the variable %s is the platform's", name)
	case strings.ContainsRune(value, 0):
		return app.Errorf(app.CodeInvalidInput, "leave it out", "the variable %s has a NUL", name)
	}
	return nil
}

// Command returns what the container runs.
func (s *RunSpec) Command() []string {
	if s.Process != "" {
		return append([]string{ProcessDir + s.Process}, s.Args...)
	}
	return append([]string{launcher, "--"}, s.Args...)
}

// Signals that a client can send to a run.
var signals = map[string]syscall.Signal{
	"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "FPE": syscall.SIGFPE, "HUP": syscall.SIGHUP, "ILL": syscall.SIGILL, "INT": syscall.SIGINT,
	"KILL": syscall.SIGKILL, "PIPE": syscall.SIGPIPE, "QUIT": syscall.SIGQUIT, "SEGV": syscall.SIGSEGV, "TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1,
	"USR2": syscall.SIGUSR2, "CONT": syscall.SIGCONT, "TSTP": syscall.SIGTSTP, "STOP": syscall.SIGSTOP, "WINCH": syscall.SIGWINCH,
}

// Signal returns the signal of that name, without "SIG".
func Signal(name string) (syscall.Signal, bool) {
	n, ok := signals[strings.TrimPrefix(name, "SIG")]
	return n, ok
}

// failedLaunch is the status of a launcher that cannot start the command (Platform Interface Specification, "Launch").
const failedLaunch = 82

// Shell is the exit statuses of shells for a command that cannot be started, in place of the launcher's own: 127 where no program has that name, 126
// where it cannot be executed. Errors passes the errors of the launcher on to w.
type Shell struct {
	mu   sync.Mutex
	tail []byte
}

// Errors returns a writer to w that looks out for the launcher's message.
func (s *Shell) Errors(w io.Writer) io.Writer { return &shellErrors{s, w} }

type shellErrors struct {
	s *Shell
	w io.Writer
}

func (e *shellErrors) Write(p []byte) (int, error) {
	const enough = 1 << 10
	e.s.mu.Lock()
	e.s.tail = append(e.s.tail, p[max(0, len(p)-enough):]...)
	e.s.tail = e.s.tail[max(0, len(e.s.tail)-enough):]
	e.s.mu.Unlock()
	return e.w.Write(p)
}

// Status is the status of a command that ended with code.
func (s *Shell) Status(code int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code != failedLaunch || !bytes.Contains(s.tail, []byte("failed to launch: ")) {
		return code
	}
	if bytes.Contains(s.tail, []byte("permission denied")) {
		return 126
	}
	return 127
}

// RunProcess runs another process type of the Service's image to its end, and copies its output to w. It returns a *StartError where the process does not
// exit with status 0. When ctx ends, the process is killed.
func RunProcess(ctx context.Context, p Platform, svc *servingv1.Service, process string, w io.Writer) error {
	if err := CheckProcesses(process); err != nil {
		return err
	}
	e, err := p.Run(ctx, svc, RunSpec{Process: process, Stdout: w, Stderr: w})
	if err != nil {
		return err
	}
	return e.Err()
}

// OneWriter says whether both streams of a run go to one writer.
func OneWriter(a, b io.Writer) bool {
	return a != nil && b != nil && reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}

// Err is a *StartError for an end other than status 0.
func (e Exit) Err() error {
	switch {
	case e.OutOfMemory:
		return &StartError{Reason: OutOfMemory, ExitCode: e.Code, Signal: e.Signal, Detail: e.Memory}
	case e.Code != 0 || e.Signal != "":
		return &StartError{Reason: Exited, ExitCode: e.Code, Signal: e.Signal}
	}
	return nil
}
