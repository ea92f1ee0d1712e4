package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A layer is the same on every machine, at any time.
func TestLayer(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	made := func(mode os.FileMode) (digest string, entries []string) {
		if err := os.WriteFile(program, []byte("#!"), mode); err != nil {
			t.Fatal(err)
		}
		l, err := InMemory(func(w *Writer) error {
			return errors.Join(w.Dir("home", 0o700, 1000), w.Bytes("home/file", 0o644, []byte("text")), w.Link("home/link", "file"), w.Program("bin/x", program))
		})
		if err != nil {
			t.Fatal(err)
		}
		sum, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for t2 := tar.NewReader(r); ; {
			h, err := t2.Next()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			content, _ := io.ReadAll(t2)
			if !h.ModTime.Equal(Made) {
				t.Errorf("%s is of %s", h.Name, h.ModTime)
			}
			entries = append(entries, fmt.Sprintf("%s %o %d:%d %s%s", h.Name, h.Mode, h.Uid, h.Gid, h.Linkname, content))
		}
		return sum.String(), entries
	}
	one, entries := made(0o755)
	_ = os.Remove(program)
	two, _ := made(0o700)
	if one != two {
		t.Errorf("%s, then %s", one, two)
	}
	if got, want := strings.Join(entries, "\n"), "home/ 700 1000:1000 \nhome/file 644 0:0 text\nhome/link 777 0:0 file\nbin/x 755 0:0 #!"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if _, err := InMemory(func(w *Writer) error { return w.Program("x", "/missing") }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is missing: %v", err)
	}
}
