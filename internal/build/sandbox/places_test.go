package sandbox

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// layer makes an unpacked layer. A name that ends in a slash is a directory; "OWN ", "ALL " and "GROUP " before it say who may write.
func layer(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		how, name := "", n
		for _, h := range []string{"OWN ", "ALL ", "GROUP ", "GONE ", "OPAQUE ", "LINK "} {
			if rest, ok := strings.CutPrefix(n, h); ok {
				how, name = h, rest
			}
		}
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case how == "GONE ":
			err = unix.Mknod(at, unix.S_IFCHR, 0)
		case how == "LINK ":
			err = os.Symlink("/etc", at)
		case name[len(name)-1] == '/':
			err = os.MkdirAll(at, 0o755)
		default:
			err = os.WriteFile(at, []byte(dir), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		switch how {
		case "OWN ":
			err = os.Chown(at, 1001, 0)
		case "GROUP ":
			if err = os.Chown(at, 0, 1002); err == nil {
				err = os.Chmod(at, 0o775)
			}
		case "ALL ":
			err = os.Chmod(at, 0o777)
		case "OPAQUE ":
			err = unix.Setxattr(at, "trusted.overlay.opaque", []byte("y"), 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWritablePlaces(t *testing.T) {
	layers := []string{
		layer(t, "OWN home/me/", "home/me/.profile", "home/me/sub/old", "OWN home/me/sub/", "ALL var/tmp/", "GROUP srv/", "ALL etc/open", "etc/closed",
			"ALL gone/", "ALL under/below/", "ALL linked/below/", "ALL taken/", "ALL opaque/below/", "ALL opaque/again/", "LINK link", "ALL tmp/", "ALL layers/", "OWN workspace/"),
		layer(t, "GONE gone", "GONE under", "LINK linked", "taken/", "OPAQUE opaque/", "ALL opaque/again/", "OWN home/me/", "GONE home/me/.profile", "home/me/.config"),
	}
	got, err := writablePlaces(t.Context(), layers, 1001, 1002)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"etc/open", "home/me", "opaque/again", "srv", "var/tmp"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	target := filepath.Join(t.TempDir(), "0")
	if err := copyPlace(layers, "home/me", target, owners{}); err != nil {
		t.Fatal(err)
	}
	var names []string
	_ = fs.WalkDir(os.DirFS(target), ".", func(name string, _ fs.DirEntry, _ error) error { names = append(names, name); return nil })
	if want := []string{".", ".config", "sub", "sub/old"}; !slices.Equal(names, want) {
		t.Errorf("copied %q, want %q", names, want)
	}
	for name, want := range map[string]bool{".": true, "sub": true, ".config": false} {
		if info, err := os.Stat(filepath.Join(target, name)); err != nil || writable(info, 1001, 1002) != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	target = filepath.Join(t.TempDir(), "1")
	if err := copyPlace(layers, "etc/open", target, owners{}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != layers[0] {
		t.Errorf("%q, %v", b, err)
	}
}

// TestLargePlace: a place that takes long to copy for each build is left as it is.
func TestLargePlace(t *testing.T) {
	dir := layer(t, "OWN home/big")
	if err := os.Truncate(filepath.Join(dir, "home/big"), maxPlaceBytes+1); err != nil {
		t.Fatal(err)
	}
	if err := copyPlace([]string{dir}, "home", filepath.Join(t.TempDir(), "0"), owners{}); err != errTooLarge {
		t.Errorf("got %v", err)
	}
}
