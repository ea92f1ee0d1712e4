package static

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/fetch"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// bookServer has the sources of a version of mdBook's, and their digest.
func bookServer(t *testing.T) (address, sum string) {
	t.Helper()
	dir := t.TempDir()
	at := filepath.Join(dir, "mdbook-0.0.1", "src", "front-end", "js")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, bookScript), []byte("its own"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-czf", filepath.Join(dir, "mdbook-0.0.1.crate"), "-C", dir, "mdbook-0.0.1").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	sum, err := kit.FileKey(filepath.Join(dir, "mdbook-0.0.1.crate"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	return s.URL + "/mdbook-", sum
}

// TestCompleteBook: the script that Debian's mdBook leaves out is put beside the pages that name it, from the theme or from mdBook's sources; a book
// whose script cannot be had is pushed all the same, with a warning.
func TestCompleteBook(t *testing.T) {
	server, sum := bookServer(t)
	bookDigests["0.0.1"] = sum
	bookDigests["0.0.2"] = strings.Repeat("0", 64)
	defer delete(bookDigests, "0.0.1")
	defer delete(bookDigests, "0.0.2")
	const page, named = siteFolder + "/index.html", `<script src="book.js"></script>`
	for _, c := range []struct {
		name, version, server string
		files                 map[string]string
		want, says            string
	}{
		{"from the sources", "0.0.1", server, map[string]string{page: named}, "its own", ""},
		{"from the theme", "0.0.1", "http://127.0.0.1:1/", map[string]string{page: named, "theme/book.js": "the theme's"}, "the theme's", ""},
		{"from a theme by another name", "0.0.1", server, map[string]string{page: named, "look/book.js": "looks", "book.toml": "[output.html]\ntheme = 'look'\n"}, "looks", ""},
		{"there already", "0.0.1", server, map[string]string{page: named, siteFolder + "/book.js": "there"}, "there", ""},
		{"not named", "0.0.1", server, map[string]string{page: "<p>"}, "", ""},
		{"no server", "0.0.1", "http://127.0.0.1:1/", map[string]string{page: named}, "", "Warning: the book has no book.js, which Debian's mdBook leaves out"},
		{"another version", "0.0.9", server, map[string]string{page: named}, "", "the digest of the sources of mdBook 0.0.9 is not known"},
		{"not on the server", "0.0.2", server, map[string]string{page: named}, "", "Push again later, or commit theme/book.js"},
	} {
		t.Run(c.name, func(t *testing.T) {
			app, store, out := t.TempDir(), t.TempDir(), bytes.Buffer{}
			for f, text := range c.files {
				if err := os.MkdirAll(filepath.Join(app, filepath.Dir(f)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(app, f), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			env := kit.Env{"PATH": os.Getenv("PATH")}
			get := func(version, file string) error {
				return fetch.New(env).File(c.server+version+".crate", bookDigests[version], file, 1<<25)
			}
			if err := New(&out).completeBook(app, c.version, env, store, get); err != nil {
				t.Fatal(err)
			}
			if got := kit.Text(app, siteFolder, bookScript); got != c.want {
				t.Errorf("the script is %q, want %q", got, c.want)
			}
			if !strings.Contains(out.String(), c.says) || c.says == "" && strings.Contains(out.String(), "Warning") {
				t.Errorf("it says %q", out.String())
			}
		})
	}
}
