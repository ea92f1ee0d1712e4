package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What cannot be removed stays in the trash, is told, and goes the next time.
func TestTrash(t *testing.T) {
	top := t.TempDir()
	var told []string
	trash := &Trash{Dir: filepath.Join(top, "trash"), Log: func(f string, a ...any) { told = append(told, fmt.Sprintf(f, a...)) }}
	must(t, trash.Discard(filepath.Join(top, "missing")))
	for _, name := range []string{"one", "two"} {
		must(t, os.MkdirAll(filepath.Join(top, name, "a", "b"), 0o755))
	}
	at := filepath.Join(top, "two", "a", "b")
	must(t, unix.Mount("none", at, "tmpfs", 0, "size=4k"))
	must(t, trash.Discard(filepath.Join(top, "one")))
	must(t, trash.Discard(filepath.Join(top, "two")))
	trash.Wait()
	left, _ := os.ReadDir(trash.Dir)
	if len(left) != 1 || len(told) != 1 || !strings.Contains(told[0], "mounted") {
		t.Fatalf("left %v, told %q", left, told)
	}
	must(t, unix.Unmount(filepath.Join(trash.Dir, left[0].Name(), "a", "b"), unix.MNT_DETACH))
	trash.Empty()
	trash.Wait()
	if left, _ := os.ReadDir(trash.Dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// Clear empties a folder that something is mounted on, and says how far it is.
func TestClear(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mount("none", dir, "tmpfs", 0, "size=64m"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	for i := range 2000 {
		must(t, os.MkdirAll(filepath.Join(dir, fmt.Sprint(i%5), fmt.Sprint(i), "x"), 0o755))
	}
	told := int64(0)
	must(t, Clear(dir, time.Microsecond, func(n int64) { told = max(told, n) }))
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 || told == 0 {
		t.Errorf("left %v, %v, told of %d", left, err, told)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	must(t, os.MkdirAll(filepath.Join(plain, "a", "b"), 0o755))
	must(t, Clear(plain, time.Second, func(int64) {}))
	if _, err := os.Lstat(plain); !os.IsNotExist(err) {
		t.Error(err)
	}
}
