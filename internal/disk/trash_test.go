package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
