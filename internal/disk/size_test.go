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
	if u := Measure(context.Background(), dir, filepath.Join(dir, "missing"), filepath.Join(dir, "link")); u.Bytes < 1<<20 || u.Bytes > 2<<20 || u.Entries != 5 {
		t.Errorf("%+v, want about %d bytes, 5 entries: links are counted once and never followed", u, 1<<20)
	}
}
