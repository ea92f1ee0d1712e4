package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// traceback has a server that crashes end by a signal, for which the kernel makes a core where it may. Without it Go's runtime ends with status 2, and there is never one.
const traceback = "GOTRACEBACK=crash"

// cmdCrashServe ends the server by a signal that programs crash by, and fails where a core of it was made. What it wrote is kept apart from the log: it has
// the stacks of all goroutines, which are no fault here.
func cmdCrashServe(w *world, ts *testscript.TestScript, args []string) (output, error) {
	signals := map[string]syscall.Signal{"ABRT": syscall.SIGABRT, "SEGV": syscall.SIGSEGV}
	if len(args) != 1 || signals[args[0]] == 0 || w.server == nil {
		ts.Fatalf("usage, with a server: crashserve ABRT|SEGV")
	}
	s := w.server
	w.server = nil
	ts.Check(s.cmd.Process.Signal(signals[args[0]]))
	select {
	case <-s.done:
	case <-time.After(stopLimit):
		_ = s.kill()
		return output{}, fmt.Errorf("gitd serve goes on after SIG%s", args[0])
	}
	out, err := os.ReadFile(s.output)
	ts.Check(err)
	f, err := os.OpenFile(filepath.Join(w.base, "crashes.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	_, err = f.Write(out)
	ts.Check(errors.Join(err, f.Close()))
	if ended := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !ended.Signaled() || ended.CoreDump() {
		return output{stderr: string(out)}, fmt.Errorf("gitd serve ended with %v, and is to end by a signal, without a core", s.cmd.ProcessState)
	}
	return output{stderr: string(out)}, dumps(ts)
}

// dumps fails where this machine makes no core of a program that may be dumped: then nothing is shown by there being none of gitd.
func dumps(ts *testscript.TestScript) error {
	dir, err := os.MkdirTemp(ts.Getenv("WORK"), "core")
	ts.Check(err)
	defer func() { _ = os.RemoveAll(dir) }()
	c := exec.Command("sh", "-c", `ulimit -c unlimited; kill -ABRT $$`)
	c.Dir = dir
	_ = c.Run()
	if ended, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || !ended.CoreDump() {
		pattern, _ := os.ReadFile("/proc/sys/kernel/core_pattern")
		return fmt.Errorf("this machine dumps no program at all (%v, kernel.core_pattern is %q): allow it for this test, sysctl kernel.core_pattern=core", c.ProcessState, pattern)
	}
	return nil
}
