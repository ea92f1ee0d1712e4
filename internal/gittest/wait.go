package gittest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
)

// Patience is how long tests wait for what must happen.
const Patience = 30 * time.Second

// Eventually waits until f is true.
func Eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	apptest.Eventually(t, Patience, what, f)
}

// Receive waits for a value.
func Receive[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(Patience):
		t.Fatalf("not seen within %v: %s", Patience, what)
	}
	return v
}

// MustHold checks that all words are in a text.
func MustHold(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}

// Log is a server's, in memory. It is shown when the test fails.
type Log struct {
	t testing.TB

	mu    sync.Mutex
	lines []string // guarded by mu
}

// NewLog makes an empty log.
func NewLog(t testing.TB) *Log {
	l := &Log{t: t}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("server's log:\n%s", strings.Join(l.Lines(), "\n"))
		}
	})
	return l
}

// Printf adds a line.
func (l *Log) Printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// Lines returns all lines so far.
func (l *Log) Lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// Logged waits for a line that holds all of the words.
func (l *Log) Logged(words ...string) {
	l.t.Helper()
	Eventually(l.t, fmt.Sprintf("a line of the log with %q", words), func() bool {
		return slices.ContainsFunc(l.Lines(), func(line string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
		})
	})
}

// Children returns the command lines of the processes that work in dir.
func Children(dir string) (found []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, p := range all {
		cwd, err := os.Readlink(p)
		if err == nil && strings.HasPrefix(cwd, dir) {
			b, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
			if len(b) > 0 { // a zombie has none
				found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
			}
		}
	}
	return found
}

// StopGroup stops a command with its process group, as a machine that sleeps does.
func StopGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGSTOP) }

// KillGroup kills a command with its process group, and waits for its end.
func KillGroup(c *exec.Cmd) {
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	_ = c.Wait()
}

// NoMoreGoroutines checks that all of an attack's goroutines end; before is how many there were.
func NoMoreGoroutines(t testing.TB, before int) {
	t.Helper()
	Eventually(t, "the goroutines of the attack are gone", func() bool { return runtime.NumGoroutine() <= before+5 })
}

// HeapInUse is what the process holds after a collection: heap and stacks, in bytes.
func HeapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// ResetPeak starts VmHWM again (proc(5), clear_refs).
func ResetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// Memory returns a line of /proc/self/status in bytes.
func Memory(t testing.TB, field string) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n"+field+":")
	n, err := strconv.ParseInt(strings.Fields(rest + " -")[0], 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", field, err)
	}
	return n << 10
}
