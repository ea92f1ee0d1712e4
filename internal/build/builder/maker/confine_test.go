package maker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/reexec"
)

func TestMain(m *testing.M) {
	reexec.Init()
	os.Exit(m.Run())
}

// programs makes this machine's programs those of a root that has nothing else.
func programs() (binds []bind) {
	for _, d := range []string{"/usr", "/bin", "/lib", "/lib64"} {
		if _, err := os.Stat(d); err == nil {
			binds = append(binds, bind{d, d})
		}
	}
	return binds
}

// TestConfined: the layers are the root, what is written lands in the upper folder, and the host's mounts are as before.
func TestConfined(t *testing.T) {
	lower, work := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(lower, "below"), []byte("from the layer\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	upper := filepath.Join(work, "upper, with: odd names")
	var out strings.Builder
	j := job{Layers: []string{lower, t.TempDir(), lower}, Upper: upper, Binds: programs(), Files: map[string]string{"gitd/note": "a note\n"}, Output: &out,
		Args: []string{"sh", "-ec", "cat /below /run/gitd/note; echo new > /written; echo pid $$; ls /; : > /dev/null; test -r /proc/self/stat; test ! -e /etc/passwd"},
		Env:  []string{"PATH=" + standardPath}}
	if err := j.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "from the layer\na note\npid ") {
		t.Errorf("output %q", out.String())
	}
	if got, err := os.ReadFile(filepath.Join(upper, "written")); err != nil || string(got) != "new\n" {
		t.Errorf("written: %q, %v", got, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), filepath.Base(work)) {
		t.Error("a mount has reached the host")
	}
}

// TestConfinedLink: a link in an image does not make us mount over the host's files.
func TestConfinedLink(t *testing.T) {
	lower, victim := t.TempDir(), t.TempDir()
	if err := os.Symlink(victim, filepath.Join(lower, "run")); err != nil {
		t.Fatal(err)
	}
	j := job{Layers: []string{lower}, Upper: filepath.Join(t.TempDir(), "upper"), Binds: programs(), Files: map[string]string{"gitd/note": "x"}, Args: []string{"/bin/true"}}
	_ = j.run(t.Context())
	if e, err := os.ReadDir(victim); err != nil || len(e) != 0 {
		t.Errorf("the host's folder has %v, %v", e, err)
	}
}

func TestConfinedFailure(t *testing.T) {
	j := job{Args: []string{"/bin/sh", "-c", "echo the reason >&2; exit 3"}, Env: []string{"PATH=" + standardPath}}
	err := j.run(t.Context())
	var failed *jobError
	if !errors.As(err, &failed) || !strings.Contains(failed.output, "the reason") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
}

// TestConfinedCancel: when the context ends, everything that the job started is dead before run returns.
func TestConfinedCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	r, w := io.Pipe()
	mark := fmt.Sprintf("%d.%d", 7000+os.Getpid(), time.Now().UnixNano()%1e9)
	j := job{Args: []string{"/bin/sh", "-c", "sleep " + mark + " & echo started; wait"}, Env: []string{"PATH=" + standardPath}, Output: w}
	done := make(chan error, 1)
	go func() { done <- j.run(ctx) }()
	if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	apptest.Eventually(t, time.Minute, "sleep runs", func() bool { return len(processes(t, mark)) > 0 })
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("run ended with %v, want %v", err, cause)
	}
	if p := processes(t, mark); len(p) != 0 {
		t.Errorf("processes %v are left", p)
	}
	w.Close()
}

// processes returns those that have the argument.
func processes(t *testing.T, argument string) (pids []int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		b, _ := os.ReadFile(filepath.Join(d, "cmdline"))
		if strings.Contains(string(b), "sleep\x00"+argument) {
			pid, _ := strconv.Atoi(filepath.Base(d))
			pids = append(pids, pid)
		}
	}
	return pids
}

func init() {
	reexec.Register("builder-test-hold", func(args []string) int {
		c, err := cache.Open(args[0], nil)
		if err != nil {
			panic(err)
		}
		if _, err := c.Lock(context.Background()); err != nil {
			panic(err)
		}
		work, err := c.Temp("work")
		if err != nil {
			panic(err)
		}
		lower := filepath.Join(work, "lower")
		if err := os.MkdirAll(lower, 0o755); err != nil {
			panic(err)
		}
		j := job{Layers: []string{lower}, Upper: filepath.Join(work, "upper"), Binds: programs(), Output: os.Stdout,
			Args: []string{"/bin/sh", "-c", "echo started; sleep " + args[1]}, Env: []string{"PATH=" + standardPath}}
		_ = j.run(context.Background())
		return 1
	})
}

// TestKilled: a process that is killed while it makes a builder leaves no process and no mount; the next one has the lock at once and
// clears the work that was under way.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	mark := fmt.Sprintf("%d.%d", 8000+os.Getpid(), time.Now().UnixNano()%1e9)
	cmd := reexec.Command(t.Context(), "builder-test-hold", dir, mark)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatalf("it ended with %v", err)
	}
	apptest.Eventually(t, time.Minute, "what it started is gone", func() bool { return len(processes(t, mark)) == 0 })
	c, err := cache.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := c.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, d := range []string{"builder", "stage", "image"} {
		if e, err := os.ReadDir(filepath.Join(dir, d)); err != nil || len(e) != 0 {
			t.Errorf("half an entry: %v, %v", e, err)
		}
	}
}
