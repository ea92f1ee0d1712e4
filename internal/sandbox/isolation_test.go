package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/sandbox/output"
)

func TestIsolation(t *testing.T) {
	h := openHost(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, uid := range []uint32{0, 1000} {
		do := func(args ...string) string {
			t.Helper()
			out, _ := run(t, h, Spec{ID: fmt.Sprintf("iso-%d", uid), Args: append([]string{"/probe"}, args...), UID: uid, GID: uid, Env: []string{"A=b"}, Memory: 64 << 20, Hostname: "box"})
			return out
		}
		want := func(what, got, pattern string) {
			t.Helper()
			if !regexp.MustCompile(pattern).MatchString(got) {
				t.Errorf("uid %d: %s: got %q, want %s", uid, what, got, pattern)
			}
		}
		want("ids", do("ids"), fmt.Sprintf(`^%d %d [0-9]+\n$`, uid, uid))
		status := do("read", "/proc/self/status")
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			want(set, status, `(?m)^`+set+`:\t0000000000000000$`)
		}
		want("no new privileges", status, `(?m)^NoNewPrivs:\t1$`)
		want("seccomp", status, `(?m)^Seccomp:\t2$`)
		for _, line := range strings.Split(strings.TrimSpace(do("calls")), "\n") {
			name, result, _ := strings.Cut(line, " ")
			if name == "setuid" && uid == 0 {
				continue
			}
			if name == "kill" && uid == 0 || name == "kill" { // only its own processes are there
				want(name, result, `no such process|<nil>`)
				continue
			}
			want(name, result, `not permitted|not implemented|address family not supported`)
		}
		want("host's file", do("read", secret), `error: .*no such file`)
		want("host's processes", do("list", "/proc"), `(?m)^1$`)
		if n := regexp.MustCompile(`(?m)^\d+$`).FindAllString(do("list", "/proc"), -1); len(n) != 2 { // the init and itself
			t.Errorf("sees processes %v", n)
		}
		for _, name := range []string{"root", "cwd", "fd", "environ", "maps", "ns"} { // of the init, which stands in the shim's mount namespace
			if name == "environ" || name == "maps" {
				want("the init's "+name, do("read", "/proc/1/"+name), `^(error: .*permission denied\n)?$`)
			} else if uid != 0 || name != "fd" && name != "ns" { // root may list these, and follow none
				want("the init's "+name, do("list", "/proc/1/"+name), `^error: .*permission denied\n$`)
			}
		}
		want("the init's name", do("read", "/proc/1/cmdline"), `^init\x00$`)
		want("kernel memory", do("read", "/proc/kcore"), `^(error: .*\n)?$`)
		want("keys", do("read", "/proc/keys"), `^$`)
		want("kernel settings", do("write", "/proc/sys/kernel/core_pattern", "5"), `read-only file system|permission denied`)
		want("sysrq", do("write", "/proc/sysrq-trigger", "1"), `read-only file system|permission denied|no such file`)
		want("control groups", do("write", "/sys/fs/cgroup/memory/cgroup.procs", "1"), `read-only file system|permission denied|no such file`)
		want("root", do("write", "/x", "1"), `read-only file system|permission denied`)
		want("etc", do("write", "/etc/passwd", "1"), `read-only file system|permission denied`)
		want("tmp", do("write", "/tmp/x", "1"), `error: <nil>`)
		want("shm", do("write", "/dev/shm/x", "1"), `error: <nil>`)
		want("hosts", do("read", "/etc/hosts"), `127.0.0.1\tbox\n`)
		want("hostname", do("read", "/proc/sys/kernel/hostname"), `^box\n$`)
		want("interfaces", do("read", "/proc/net/dev"), `lo:`)
		if strings.Contains(do("read", "/proc/net/dev"), "eth0") {
			t.Error("has a way out that was not asked for")
		}
		want("cgroup", do("read", "/proc/self/cgroup"), `(?m)^\d+:.*memory.*:/$|^0::/$`)
		want("environment", do("environment"), `(?m)\A(PATH=.*\n|A=b\n|HOME=/.*\n)+\z`)
	}
}

func TestRootOverlay(t *testing.T) {
	h := openHost(t)
	dir := t.TempDir()
	for _, d := range []string{"in", "out"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
		_ = os.Chmod(filepath.Join(dir, d), 0o777)
	}
	if err := os.WriteFile(filepath.Join(dir, "in", "f"), []byte("from outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	mounts := []Mount{{Source: filepath.Join(dir, "in"), Target: "/a/new/place", ReadOnly: true}, {Source: filepath.Join(dir, "out"), Target: "/out"}}
	for _, writable := range []bool{false, true} {
		do := func(args ...string) string {
			out, _ := run(t, h, Spec{Args: append([]string{"/probe"}, args...), UID: 1000, GID: 1000, Mounts: mounts, Writable: writable, Dir: "/out"})
			return out
		}
		if out := do("read", "/a/new/place/f"); out != "from outside" {
			t.Error(out)
		}
		if out := do("write", "/a/new/place/g", "1"); !strings.Contains(out, "read-only") {
			t.Error(out)
		}
		if out := do("write", fmt.Sprint("g", writable), "1"); out != "error: <nil>\n" {
			t.Error(out)
		}
		if _, err := os.Stat(filepath.Join(dir, "out", fmt.Sprint("g", writable))); err != nil {
			t.Error(err)
		}
	}
	if out, _ := run(t, h, Spec{Args: []string{"/probe", "write", "/new", "1"}, Writable: true}); out != "error: <nil>\n" {
		t.Error(out)
	}
	if out, _ := run(t, h, Spec{Args: []string{"/probe", "read", "/new"}, Writable: true}); !strings.Contains(out, "no such file") {
		t.Errorf("what a container wrote is there for the next: %s", out)
	}
}

// TestLayerTwice: as many layers as images have, with long paths, and one of them twice, as the empty layer often is.
func TestLayerTwice(t *testing.T) {
	h := openHost(t)
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 50))
	layers := []string{probe}
	for i := range 200 {
		l := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(l, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(l, "number"), []byte(fmt.Sprint(i)), 0o644); err != nil {
			t.Fatal(err)
		}
		layers = append(layers, l)
	}
	layers = append(layers, layers[100])
	for _, owner := range []uint32{0, h.UID(1, "")} {
		if out, _ := run(t, h, Spec{Args: []string{"/probe", "read", "/number"}, Layers: layers, UID: 1000, Owner: owner}); out != "99" {
			t.Errorf("owner %d: %s", owner, out)
		}
	}
}

func TestFailedStart(t *testing.T) {
	h := openHost(t)
	for name, s := range map[string]Spec{
		"no such program":   {Args: []string{"/nope"}},
		"not in PATH":       {Args: []string{"nope"}},
		"not executable":    {Args: []string{"/etc/hosts"}},
		"directory":         {Args: []string{"/etc"}},
		"no command":        {},
		"bad ID":            {ID: "../x", Args: []string{"/probe"}},
		"no such layer":     {Args: []string{"/probe"}, Layers: []string{"/nope"}},
		"no such mount":     {Args: []string{"/probe"}, Mounts: []Mount{{Source: "/nope", Target: "/x"}}},
		"NUL in a argument": {Args: []string{"/probe", "a\x00b"}},
	} {
		t.Run(name, func(t *testing.T) {
			if s.ID == "" {
				s.ID = "fails"
			}
			if s.Layers == nil {
				s.Layers = []string{probe}
			}
			c, err := h.Start(within(t, time.Minute), s)
			if err == nil {
				t.Error("started")
				_ = c.Remove(t.Context())
			}
			t.Log(err)
			if s.Mounts == nil && s.Layers[0] == probe && app.CodeOf(err) == app.CodeInternal {
				t.Errorf("not told to a person: %v", err)
			}
			if _, err := h.Run(within(t, time.Minute), s); err == nil {
				t.Error("ran")
			}
			nothingLeft(t, h)
		})
	}
	c := start(t, h, Spec{ID: "taken", Args: []string{"/probe", "sleep", "1h"}})
	if _, err := h.Start(t.Context(), Spec{ID: "taken", Layers: []string{probe}, Args: []string{"/probe"}}); app.CodeOf(err) != app.CodeExists {
		t.Error(err)
	}
	select {
	case <-c.Done():
		t.Error("the first one was stopped")
	default:
	}
}

// nothingLeft checks that no trace of any container is left.
func nothingLeft(t testing.TB, h *Host) {
	t.Helper()
	for _, d := range []string{containersDir, runtimeDir} {
		if e, _ := os.ReadDir(filepath.Join(h.opts.Dir, d)); len(e) > 0 {
			t.Errorf("left in %s: %v", d, e)
		}
	}
	for _, d := range h.cgroups.dirs("") {
		e, _ := os.ReadDir(d)
		for _, x := range e {
			if x.IsDir() && x.Name() != shimsGroup {
				t.Errorf("left: %s/%s", d, x.Name())
			}
		}
	}
}

func TestCancelledRun(t *testing.T) {
	h := openHost(t)
	for _, delay := range []time.Duration{0, 5 * time.Millisecond, 15 * time.Millisecond, 30 * time.Millisecond, 60 * time.Millisecond, -1} {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the client went away")
		out := &apptest.Buffer{}
		done := make(chan error, 1)
		go func() {
			_, err := h.Run(ctx, Spec{ID: "family", Layers: []string{probe}, Args: []string{"/probe", "family"}, Output: out})
			done <- err
		}()
		if delay >= 0 {
			time.Sleep(delay)
		} else {
			eventually(t, func() error {
				if n := len(h.cgroups.processes("family")); n < 7 {
					return fmt.Errorf("%d processes", n)
				}
				return nil
			})
		}
		pids := h.cgroups.processes("family")
		cancel(why)
		select {
		case err := <-done:
			if !errors.Is(err, why) {
				t.Errorf("after %v: %v", delay, err)
			}
		case <-time.After(time.Minute):
			t.Fatal("Run does not return")
		}
		nothingLeft(t, h)
		for _, p := range pids {
			if err := unix.Kill(p, 0); err != unix.ESRCH {
				t.Errorf("process %d is left", p)
			}
		}
	}
}

// failing is the output of a client that went away.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestOutput(t *testing.T) {
	h := openHost(t)
	var out bytes.Buffer
	e, err := h.Run(t.Context(), Spec{ID: "out", Layers: []string{probe}, Args: []string{"/probe", "reopen"}, Output: &out, UID: 1000, GID: 1000})
	if err != nil || e.Code != 0 || out.String() != "by name\n" {
		t.Errorf("%v %+v %q", err, e, out.String())
	}
	if _, err := h.Run(t.Context(), Spec{ID: "out", Layers: []string{probe}, Args: []string{"/probe", "say", "x"}, Output: failing{}}); err != nil {
		t.Error(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	for range 2 {
		c := start(t, h, Spec{ID: "out", Args: []string{"/probe", "reopen"}, LogFile: log, UID: 1000, GID: 1000})
		if e := ended(t, c); e.Code != 0 {
			t.Errorf("%+v", e)
		}
		if err := c.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}
	lines := output.Tail(log, 10, time.Time{})
	for i, l := range lines {
		if l.Text != "by name" || !l.Timed || time.Since(l.Time) > time.Minute {
			t.Errorf("line %d: %+v", i, l)
		}
	}
	if st, err := os.Stat(log); len(lines) != 2 || err != nil || st.Mode().Perm() != 0o600 || st.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("%d lines in %v, %v", len(lines), st, err)
	}
	// The output is not read: the container must still be stopped.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := h.Run(ctx, Spec{ID: "spam", Layers: []string{probe}, Args: []string{"/probe", "spam"}, Output: blocked{t.Context()}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	nothingLeft(t, h)
}

// blocked never takes anything, until the test ends.
type blocked struct{ ctx context.Context }

func (b blocked) Write([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}
