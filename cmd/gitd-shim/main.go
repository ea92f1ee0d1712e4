// Command gitd-shim watches one container, in a mount namespace and a session of its own. It outlives gitd. Its life:
//
//  1. It leaves the host's mount propagation, becomes the reaper of its descendants, and reads its configuration from the container's
//     directory. From then on it obeys gitd: until gitd sends shim.Detach, the end of the control pipe kills everything.
//  2. It starts the container's init, process 1 of a process namespace, which does nothing but hold that namespace.
//  3. It mounts the container's root, and starts the OCI runtime, which puts the app into the namespace and ends. The app's output goes
//     into a pipe that the shim reads into the log, or to gitd.
//  4. It writes down the app's process (shim.InitFile), reports it to gitd, and moves to a control group of its own.
//  5. It waits for the app. SIGTERM, when the machine goes down, is passed on to the app, and SIGKILL follows after the grace.
//  6. When the app has ended, it kills and reaps everything that is left, writes the log to its end, and writes down how the app ended
//     (shim.ExitFile). Its own end closes the FIFO by which gitd, or the next gitd, learns of it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

func main() {
	if len(os.Args) == 1 && os.Args[0] == shim.InitName {
		reap()
	}
	if len(os.Args) == 1 && os.Args[0] == shim.Self {
		os.Exit(become())
	}
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "gitd-shim is started by gitd")
		os.Exit(2)
	}
	if os.Args[1] == shim.Wait {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	s := &watcher{report: os.NewFile(shim.ReportFD, "report")}
	if err := s.run(os.Args[1]); err != nil {
		s.tell(shim.Report{Error: err.Error()})
		os.Exit(1)
	}
}

// watcher watches one container.
type watcher struct {
	config shim.Config
	report *os.File
	log    *journal // nil where the output goes to gitd

	// reaping guards the following. It is held while a child is reaped and while children are signalled, so that a process ID that is
	// signalled still belongs to the child.
	reaping sync.Mutex
	killing bool // no child may be started any more
	app     int  // the container's first process, while it runs
	told    bool // SIGTERM was received
}

// tell reports to gitd, once.
func (s *watcher) tell(r shim.Report) {
	if s.report == nil {
		return
	}
	_ = json.NewEncoder(s.report).Encode(r)
	_ = s.report.Close()
	s.report = nil
}

// run goes through the shim's life, from step 1.
func (s *watcher) run(dir string) error {
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE)
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, unix.SIGTERM)
	// A container inherits no descriptor of ours, nor one that gitd inherited.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil { // before Linux 5.11
		unix.CloseOnExec(shim.ReportFD)
		unix.CloseOnExec(shim.AliveFD)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper: %w", err)
	}
	// Mounts made here stay here and end with this process; what the host unmounts is unmounted here too.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("leave the host's mount propagation: %w", err)
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	if err := shim.ReadFile(shim.ConfigFile, &s.config); err != nil {
		return err
	}
	go s.obey()
	go s.shutdown(terminated)
	reaper, err := s.startInit()
	if err != nil {
		return fmt.Errorf("start the container's init: %w", err)
	}
	if err := mountRoot(&s.config); err != nil {
		return err
	}
	bundle, err := s.bundle(dir)
	if err != nil {
		return err
	}
	runtime, err := s.start(dir, bundle)
	if err != nil {
		return err
	}
	status, err := s.await(runtime, reaper)
	if err != nil {
		return err
	}
	exit := s.exit(status)
	for err == nil { // the kernel kills the rest of the namespace with its init
		s.killChildren()
		_, _, err = s.reap()
	}
	s.log.end()
	return shim.WriteFile(shim.ExitFile, exit)
}

// obey kills the container when gitd ends, until gitd lets it outlive itself (shim.Detach).
func (s *watcher) obey() {
	b := make([]byte, 1)
	if n, _ := io.ReadFull(os.NewFile(shim.ControlFD, "control"), b); n == 1 && b[0] == shim.Detach {
		return
	}
	for { // a runtime that is killed half way leaves children that appear only now
		s.killChildren()
		time.Sleep(5 * time.Millisecond)
	}
}

// killChildren kills every child. The death of a container's first process takes all others in its process namespace along.
func (s *watcher) killChildren() {
	s.reaping.Lock()
	defer s.reaping.Unlock()
	s.killing = true
	self := os.Getpid()
	d, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		if p, err := shim.Parent(pid); err == nil && p == self {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// start starts the runtime, which starts the container and ends.
func (s *watcher) start(dir, bundle string) (pid int, err error) {
	output := []uintptr{1, 2}
	if s.config.Log != "" {
		var theirs *os.File
		if s.log, theirs, err = openJournal(&s.config); err != nil {
			return 0, err
		}
		defer theirs.Close()
		output = []uintptr{theirs.Fd(), theirs.Fd()}
	}
	s.reaping.Lock()
	defer s.reaping.Unlock()
	if s.killing {
		return 0, errors.New("stopped before the start")
	}
	args := []string{s.config.Runtime, "--root", s.config.RuntimeRoot, "--log", filepath.Join(dir, shim.RuntimeLog), "--log-format", "json",
		"run", "--detach", "--bundle", bundle, "--pid-file", filepath.Join(dir, shim.PIDFile)}
	if s.config.Terminal { // by a name that is short, however long the directory's is: the shim is there
		args = append(args, "--console-socket", fmt.Sprintf("/proc/%d/cwd/%s", os.Getpid(), shim.ConsoleSocket))
	}
	files := append([]uintptr{shim.InputFD}, output...)
	if s.config.Prepared {
		self, err := os.Open("/proc/self/exe")
		if err != nil {
			return 0, err
		}
		defer self.Close()
		defer unix.Close(shim.StartFD) // gitd notices the end of the one in the container
		args, files = append(args, "--preserve-fds", "2"), append(files, self.Fd(), shim.StartFD)
	}
	// Not os.StartProcess: its process handle would reap beside await.
	pid, err = syscall.ForkExec(s.config.Runtime, append(args, s.config.ID), &syscall.ProcAttr{Dir: "/",
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Files: files})
	_ = unix.Close(shim.InputFD) // who writes there learns when the container has closed it
	return pid, err
}

// await reaps children until the container's first process has ended, and reports its start on the way.
func (s *watcher) await(runtime, reaper int) (unix.WaitStatus, error) {
	ended := map[int]unix.WaitStatus{}
	var init shim.Init
	for {
		if st, ok := ended[init.PID]; ok && init.PID != 0 {
			return st, nil
		}
		pid, st, err := s.reap()
		if errors.Is(err, unix.ECHILD) {
			return 0, errors.New("the container's first process was lost")
		}
		if err != nil {
			return 0, err
		}
		ended[pid] = st
		if pid != runtime {
			continue
		}
		s.forgetSecrets()
		if st != 0 {
			for err == nil { // what the runtime leaves behind when it fails or is killed
				s.killChildren()
				_, _, err = s.reap()
			}
			return 0, errors.New(runtimeError(st))
		}
		b, err := os.ReadFile(shim.PIDFile)
		if err != nil {
			return 0, err
		}
		if init.PID, err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
			return 0, err
		}
		if _, dead := ended[init.PID]; !dead { // else its ID may be another's by now
			init.Start, _ = shim.StartTime(init.PID)
			s.runs(init.PID)
		}
		if err := shim.WriteFile(shim.InitFile, init); err != nil {
			return 0, err
		}
		s.tell(shim.Report{Init: init})
		s.join(reaper)
	}
}

// join moves the shim and the container's init to a cgroup of their own: a service manager that stops gitd must not stop the containers
// with it. It does so only when the container runs: changing the cgroup can take as long as starting the container. The container has one
// of its own already; where the change fails, the shim still works.
func (s *watcher) join(reaper int) {
	for _, f := range s.config.Join {
		_ = os.WriteFile(f, []byte("0"), 0)
		_ = os.WriteFile(f, []byte(strconv.Itoa(reaper)), 0)
	}
}

// reap waits for any child's end. It waits first and reaps afterwards, so that it does not hold reaping meanwhile.
func (s *watcher) reap() (int, unix.WaitStatus, error) {
	for {
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil); err == unix.EINTR {
			continue
		} else if err != nil {
			return 0, 0, err
		}
		s.reaping.Lock()
		var st unix.WaitStatus
		pid, err := unix.Wait4(-1, &st, unix.WNOHANG, nil)
		if pid == s.app {
			s.app = 0
		}
		s.reaping.Unlock()
		if err == unix.EINTR || err == nil && pid == 0 {
			continue
		}
		return pid, st, err
	}
}

// runtimeError is the last error in the runtime's log.
func runtimeError(st unix.WaitStatus) string {
	b, _ := os.ReadFile(shim.RuntimeLog)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		var l struct{ Level, Msg string }
		if json.Unmarshal([]byte(lines[i]), &l) == nil && l.Level == "error" {
			return l.Msg
		}
	}
	if st.Signaled() {
		return "the container runtime was stopped: " + st.Signal().String()
	}
	return "the container runtime failed with exit code " + strconv.Itoa(st.ExitStatus())
}

// exit says how the first process ended.
func (s *watcher) exit(st unix.WaitStatus) shim.Exit {
	s.reaping.Lock()
	e := shim.Exit{Code: st.ExitStatus(), At: time.Now().UTC(), Told: s.told}
	s.reaping.Unlock()
	if st.Signaled() {
		e.Signal = int(st.Signal())
		e.Code = 128 + e.Signal
	}
	for _, f := range s.config.OutOfMemory {
		b, _ := os.ReadFile(f)
		for l := range strings.SplitSeq(string(b), "\n") {
			if n, ok := strings.CutPrefix(l, "oom_kill "); ok && n != "0" {
				e.OutOfMemory = true
			}
		}
	}
	return e
}
