package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/sandbox/output"
)

// The container's init reaps what a program leaves behind: it does not run into the limit on processes.
func TestInit(t *testing.T) {
	h := openHost(t)
	var out bytes.Buffer
	for _, run := range []bool{true, false} {
		s := Spec{ID: "orphans", Layers: []string{probe}, Args: []string{"/probe", "orphans", "120"}, PIDs: 60, UID: 1000, GID: 1000, LogFile: filepath.Join(t.TempDir(), "log")}
		said := ""
		if run {
			s.Output = &out
			if e, err := h.Run(within(t, time.Minute), s); err != nil || e.Code != 0 {
				t.Errorf("%+v, %v", e, err)
			}
			said = strings.TrimSpace(out.String())
		} else {
			c := start(t, h, s)
			if e := ended(t, c); e.Code != 0 {
				t.Errorf("%+v", e)
			}
			for _, l := range output.Tail(s.LogFile, 10, time.Time{}) {
				said += l.Text
			}
		}
		if said != "0 zombies" {
			t.Errorf("run %v: %s", run, said)
		}
	}
}

// SIGTERM to the shim, as at the end of a shutdown of the machine, ends the container as a stop does.
func TestShutdown(t *testing.T) {
	h := openHost(t)
	for args, want := range map[string]Exit{
		"polite":   {Code: 5, Told: true},
		"stubborn": {Code: 137, Signal: "killed", Told: true},
	} {
		log := filepath.Join(t.TempDir(), "log")
		s := Spec{ID: "shutdown", Args: []string{"/probe", args}, LogFile: log, Grace: time.Minute}
		if args == "stubborn" {
			s.Grace = 50 * time.Millisecond
		}
		c := start(t, h, s)
		eventually(t, func() error { return contains(log, "ready") })
		if err := c.shim.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		e := ended(t, c)
		want.At = e.At
		if e != want {
			t.Errorf("%s: %+v, want %+v", args, e, want)
		}
		if err := c.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A shim that is killed takes its container along, at once and without gitd.
func TestKilledShim(t *testing.T) {
	h := openHost(t)
	log := filepath.Join(t.TempDir(), "log")
	c := start(t, h, Spec{ID: "killed", Args: []string{"/probe", "family"}, LogFile: log})
	eventually(t, func() error {
		if n := len(h.cgroups.processes("killed")); n < 7 {
			return fmt.Errorf("%d processes", n)
		}
		return nil
	})
	if err := c.shim.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := ended(t, c); e.Code != 137 || e.Told {
		t.Errorf("%+v", e)
	}
	eventually(t, func() error {
		if left := h.cgroups.processes("killed"); len(left) > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
}

// The attack: an app whose standard output is the log's file fills the host's disk past every limit: it allocates blocks beyond the end,
// cuts the file, or takes a lease that stops every process that opens it for 45 seconds. So a container gets a pipe, and none of its
// descriptors, folders and mounts leads to a writable file of the host.
func TestAttack_LogFile(t *testing.T) {
	h := openHost(t)
	log := filepath.Join(t.TempDir(), "log")
	c := start(t, h, Spec{ID: "attack", Args: []string{"/probe", "fallocate"}, LogFile: log, UID: 1000, GID: 1000})
	eventually(t, func() error {
		if n := len(output.Tail(log, 20, time.Time{})); n < 13 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
	for _, l := range output.Tail(log, 20, time.Time{}) {
		if l.Text != "open <nil>" && !strings.Contains(l.Text, "illegal seek") && !strings.Contains(l.Text, "invalid argument") &&
			!strings.Contains(l.Text, "bad file descriptor") && !strings.Contains(l.Text, "no such device") && !strings.Contains(l.Text, "permission denied") {
			t.Error(l.Text)
		}
	}
	if st, err := os.Stat(log); err != nil || st.Size() > 4096 || st.Sys().(*syscall.Stat_t).Blocks > 16 {
		t.Errorf("%+v, %v", st, err)
	}
	holdsNothing(t, c.init.PID)
}

func readOnly(name string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(name, &fs) == nil && fs.Flags&unix.ST_RDONLY != 0
}

// The attack on the log, by a build or a release command, which gitd runs to their end: their standard output, too, is a pipe, and no
// descriptor leads to a writable file of the host.
func TestAttack_OutputOfRun(t *testing.T) {
	h := openHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &apptest.Buffer{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = h.Run(ctx, Spec{ID: "run", Layers: []string{probe}, Args: []string{"/probe", "fallocate"}, Output: out, UID: 1000, GID: 1000})
	}()
	eventually(t, func() error {
		if n := strings.Count(out.String(), "\n"); n < 13 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
	if strings.Contains(out.String(), "fallocate <nil>") || strings.Contains(out.String(), "truncate <nil>") || strings.Contains(out.String(), "lease errno 0") {
		t.Error(out.String())
	}
	pids := h.cgroups.processes("run")
	if len(pids) != 1 {
		t.Fatalf("processes %v", pids)
	}
	holdsNothing(t, pids[0])
	cancel()
	<-done
}

// holdsNothing checks that nothing of a container's process leads to a file of the host.
func holdsNothing(t *testing.T, pid int) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", pid)
	var dev unix.Stat_t
	if err := unix.Stat(proc+"root/dev", &dev); err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir(proc + "fd")
	if err != nil || len(fds) < 3 {
		t.Fatalf("%v, %v", fds, err)
	}
	for _, fd := range fds {
		to, _ := os.Readlink(proc + "fd/" + fd.Name())
		var st unix.Stat_t
		if err := unix.Stat(proc+"fd/"+fd.Name(), &st); err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(to, "pipe:"), strings.HasPrefix(to, "anon_inode:"), strings.HasPrefix(to, "socket:"):
		case to == "/dev/null" && st.Dev == dev.Dev: // the container's own
		case readOnly(proc + "fd/" + fd.Name()): // what the program itself has opened
		default:
			t.Errorf("descriptor %s leads to %s", fd.Name(), to)
		}
	}
	if cwd, err := os.Readlink(proc + "cwd"); err != nil || cwd != "/" {
		t.Errorf("it stands in %s, %v", cwd, err)
	}
	mounts, err := os.ReadFile(proc + "mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		place, fs, _ := strings.Cut(line, " - ")
		options := "," + strings.Fields(place)[5] + ","
		switch kind := strings.Fields(fs)[0]; kind {
		case "tmpfs", "proc", "devpts", "mqueue":
		default:
			if !strings.Contains(options, ",ro,") {
				t.Errorf("can be written: %s", line)
			}
		}
	}
}
