package server

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLock_HolderKilled has a gitd that was killed while it made a child: until that runs its own program, it has the descriptors of the one that was killed, and with
// them the lock. The next gitd waits for that, as it is the only one; it does not wait for a gitd that runs.
func TestLock_HolderKilled(t *testing.T) {
	child := exec.Command("true")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		holder int
		locks  bool
	}{"killed": {child.Process.Pid, true}, "running": {os.Getpid(), false}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, lockFile)
			if err := os.WriteFile(file, fmt.Appendln(nil, c.holder), 0o600); err != nil {
				t.Fatal(err)
			}
			held, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
			gone := time.AfterFunc(200*time.Millisecond, func() { _ = held.Close() })
			defer gone.Stop()
			f, err := lock(dir)
			if f != nil {
				_ = f.Close()
			}
			if c.locks && err != nil || !c.locks && !errors.Is(err, ErrLocked) {
				t.Error(err)
			}
			if !c.locks {
				_ = held.Close()
			}
		})
	}
}
