package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDelivery(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"a/b/file": 0o644, "run": 0o755} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "bundle")
	if err := os.WriteFile(bundle, []byte("certificates"), 0o644); err != nil {
		t.Fatal(err)
	}
	source := &checkout{done: make(chan struct{})}
	d := &delivery{credentials: []byte("{}"), proxies: map[string]string{"HTTPS_PROXY": "p"}, env: map[string]string{"B": "2", "A": "1"}, bundle: bundle, dir: dir, source: source}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.write(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("a source that is not there yet: %v", err)
	}
	close(source.done)
	var b bytes.Buffer
	if err := d.write(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		s := h.Name
		if h.Linkname != "" {
			s += ">" + h.Linkname
		}
		if h.Mode&0o100 != 0 && h.Typeflag == tar.TypeReg {
			s += "*"
		}
		got = append(got, s)
	}
	const want = "credentials/config.json credentials/env/HTTPS_PROXY platform/ca-certificates.crt platform/env/A platform/env/B start workspace/a workspace/a/b workspace/a/b/file workspace/link>/etc/passwd workspace/run* end"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}

	failing := errors.New("too many files")
	source.err = failing
	if err := d.write(context.Background(), io.Discard); !errors.Is(err, failing) {
		t.Errorf("got %v", err)
	}
}
