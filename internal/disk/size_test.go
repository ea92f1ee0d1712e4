package disk

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestTreeSize(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write := func(path string, n int) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(outside, "huge"), 10<<20)
	write(filepath.Join(dir, "a/b/file"), 1<<20)
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "a/b/file"), filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	if n := Size(context.Background(), dir, filepath.Join(dir, "missing"), filepath.Join(dir, "link")); n < 1<<20 || n > 2<<20 {
		t.Errorf("%d bytes, want about %d: links are counted once and never followed", n, 1<<20)
	}
}
