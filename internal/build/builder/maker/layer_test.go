package maker

import (
	"archive/tar"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/layer"
)

func TestLayerOfTree(t *testing.T) {
	root := t.TempDir()
	write := func(name string) string {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(name), 0o640); err != nil {
			t.Fatal(err)
		}
		return p
	}
	packaged := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := os.Chtimes(write("a/old"), packaged, packaged); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(write("a/first"), filepath.Join(root, "a/second")); err != nil {
		t.Fatal(err)
	}
	write("skipped/file")
	if err := os.Symlink("old", filepath.Join(root, "a/link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(filepath.Join(root, "a/gone"), unix.S_IFCHR, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "opaque"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(filepath.Join(root, "opaque"), "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(root, "a/old"), 12, 34); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l, err := writeLayer(dir, func(w *layerWriter) error {
		return w.tree(root, "in", time.Now().Add(-time.Hour), func(name string, d fs.DirEntry) bool { return name == "in/skipped" })
	})
	if err != nil {
		t.Fatal(err)
	}
	read, err := cache.ReadLayer(dir)
	if err != nil || read == nil || read.Info != l.Info {
		t.Fatalf("read again: %+v, %v; want %+v", read, err, l.Info)
	}
	u, err := read.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	entries := map[string]*tar.Header{}
	for r := tar.NewReader(u); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		entries[h.Name] = h
	}
	want := []string{"in/a/", "in/a/old", "in/a/first", "in/a/second", "in/a/link", "in/a/.wh.gone", "in/opaque/", "in/opaque/.wh..wh..opq"}
	if len(entries) != len(want) {
		t.Errorf("%d entries, want %d: %v", len(entries), len(want), entries)
	}
	for _, n := range want {
		if entries[n] == nil {
			t.Fatalf("no %s", n)
		}
	}
	if h := entries["in/a/old"]; !h.ModTime.Equal(packaged) || h.Uid != 12 || h.Gid != 34 || h.Mode != 0o640 {
		t.Errorf("what a package brought has changed: %+v", h)
	}
	if h := entries["in/a/first"]; !h.ModTime.Equal(layer.Made) {
		t.Errorf("what was made now has the time %s", h.ModTime)
	}
	if h := entries["in/a/second"]; h.Typeflag != tar.TypeLink || h.Linkname != "in/a/first" {
		t.Errorf("hard link: %+v", h)
	}
	// The digests are those of the bytes.
	c, err := read.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, size, err := v1.SHA256(c); err != nil || got != l.Info.Digest || size != l.Info.Size {
		t.Errorf("digest %v, size %d, %v; want %+v", got, size, err, l.Info)
	}
	if u, err = read.Uncompressed(); err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if got, _, err := v1.SHA256(u); err != nil || got != l.Info.DiffID {
		t.Errorf("diff ID %v, %v; want %v", got, err, l.Info.DiffID)
	}
	// A layer that was cut short does not count.
	if err := os.Truncate(l.File, l.Info.Size-1); err != nil {
		t.Fatal(err)
	}
	if l, err := cache.ReadLayer(dir); l != nil || err != nil {
		t.Errorf("a truncated layer counts: %+v, %v", l, err)
	}
}
