// Command gitd-shim watches one container. It runs in a mount namespace and a session of its own, mounts the container's root,
// starts the container through the OCI runtime, waits for its end and writes down how it ended. It outlives gitd.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "gitd-shim is started by gitd")
		os.Exit(2)
	}
	s := &watcher{report: os.NewFile(shim.ReportFD, "report")}
	if err := s.run(os.Args[1]); err != nil {
		s.tell(shim.Report{Error: err.Error()})
		os.Exit(1)
	}
}

// watcher is one container's.
type watcher struct {
	config shim.Config
	report *os.File

	// reaping is held while a child is reaped and while children are killed, so that a process ID that is signalled still
	// belongs to the child.
	reaping sync.Mutex
	killing bool
}

func (s *watcher) tell(r shim.Report) {
	if s.report == nil {
		return
	}
	_ = json.NewEncoder(s.report).Encode(r)
	_ = s.report.Close()
	s.report = nil
}

func (s *watcher) run(dir string) error {
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGPIPE)
	unix.CloseOnExec(shim.ReportFD)
	unix.CloseOnExec(shim.AliveFD)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper: %w", err)
	}
	// Mounts made here stay here and end with this process; what the host unmounts goes away here too.
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
	if err := mountRoot(s.config.Layers); err != nil {
		return err
	}
	runtime, err := s.start(dir)
	if err != nil {
		return err
	}
	status, init, err := s.await(runtime)
	if err != nil {
		return err
	}
	return shim.WriteFile(shim.ExitFile, s.exit(status, init))
}

// obey follows gitd: until it says that the container may outlive it, its end is the container's end.
func (s *watcher) obey() {
	b := make([]byte, 1)
	if n, _ := io.ReadFull(os.NewFile(shim.ControlFD, "control"), b); n == 1 && b[0] == shim.Detach {
		return
	}
	for { // a runtime that is killed half way leaves us children that appear only now
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

// mountRoot mounts the layers with a writable directory on top. It uses mount(2) with short relative names, which holds 500 layers
// in the one page that option strings have, on every kernel. "volatile" spares the disk: the directory never outlives the container.
func mountRoot(layers []string) error {
	if err := os.MkdirAll(shim.LowerDir, 0o700); err != nil {
		return err
	}
	var lower strings.Builder
	for i := len(layers) - 1; i >= 0; i-- {
		n := strconv.Itoa(i)
		if err := os.Symlink(layers[i], filepath.Join(shim.LowerDir, n)); err != nil {
			return err
		}
		if lower.Len() > 0 {
			lower.WriteByte(':')
		}
		lower.WriteString(n)
	}
	if err := os.Chdir(shim.LowerDir); err != nil {
		return err
	}
	options := "lowerdir=" + lower.String() + ",upperdir=../" + shim.UpperDir + ",workdir=../" + shim.WorkDir
	err := unix.Mount("overlay", "../"+shim.RootDir, "overlay", unix.MS_NODEV, options+",volatile")
	if errors.Is(err, unix.EINVAL) { // before Linux 5.10
		err = unix.Mount("overlay", "../"+shim.RootDir, "overlay", unix.MS_NODEV, options)
	}
	if err != nil {
		return fmt.Errorf("mount the %d layers of the container's root: %w", len(layers), err)
	}
	return os.Chdir("..")
}

// start starts the runtime, which starts the container and ends.
func (s *watcher) start(dir string) (pid int, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	s.reaping.Lock()
	defer s.reaping.Unlock()
	if s.killing {
		return 0, errors.New("stopped before the start")
	}
	// Not os.StartProcess: its process handle would reap beside await.
	return syscall.ForkExec(s.config.Runtime, []string{s.config.Runtime, "--root", s.config.RuntimeRoot, "--log", filepath.Join(dir, shim.RuntimeLog),
		"--log-format", "json", "run", "--detach", "--bundle", dir, "--pid-file", filepath.Join(dir, shim.PIDFile), s.config.ID},
		&syscall.ProcAttr{Dir: "/", Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Files: []uintptr{null.Fd(), 1, 2}})
}

// await reaps children until the container's first process has ended, and reports its start on the way.
func (s *watcher) await(runtime int) (unix.WaitStatus, shim.Init, error) {
	ended := map[int]unix.WaitStatus{}
	var init shim.Init
	for {
		if st, ok := ended[init.PID]; ok && init.PID != 0 {
			return st, init, nil
		}
		pid, st, err := s.reap()
		if errors.Is(err, unix.ECHILD) {
			return 0, init, errors.New("the container's first process was lost")
		}
		if err != nil {
			return 0, init, err
		}
		ended[pid] = st
		if pid != runtime {
			continue
		}
		if st != 0 {
			for err == nil { // what the runtime leaves behind when it fails or is killed
				s.killChildren()
				_, _, err = s.reap()
			}
			return 0, init, errors.New(runtimeError(st))
		}
		b, err := os.ReadFile(shim.PIDFile)
		if err != nil {
			return 0, init, err
		}
		if init.PID, err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
			return 0, init, err
		}
		if _, dead := ended[init.PID]; !dead { // else its ID may be another's by now
			init.Start, _ = shim.StartTime(init.PID)
		}
		if err := shim.WriteFile(shim.InitFile, init); err != nil {
			return 0, init, err
		}
		s.tell(shim.Report{Init: init})
		// A service manager that stops gitd must not take the containers along. Only now: to change the cgroup can take as long as
		// to start the container. The container has one of its own already; without ours, the shim still does its work.
		for _, f := range s.config.Join {
			_ = os.WriteFile(f, []byte("0"), 0)
		}
	}
}

// reap waits for any child's end. It waits first and reaps afterwards, so that reaping is not locked meanwhile.
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
func (s *watcher) exit(st unix.WaitStatus, init shim.Init) shim.Exit {
	e := shim.Exit{Code: st.ExitStatus(), At: time.Now().UTC()}
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
