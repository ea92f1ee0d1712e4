package sandbox

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
	if n := treeSize(context.Background(), dir, filepath.Join(dir, "missing"), filepath.Join(dir, "link")); n < 1<<20 || n > 2<<20 {
		t.Errorf("%d bytes, want about %d: links are counted once and never followed", n, 1<<20)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1500: "2 KB", 6_200_000: "6 MB", 2 << 30: "2 GiB", 64 << 20: "64 MiB", 1_600_000_000: "1.6 GB", 999_999: "1 MB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
