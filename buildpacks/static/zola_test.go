package static

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// standIn stands for Zola: it writes down its arguments as the site.
const standIn = `#!/bin/sh
if grep -q fails content/a.md; then
	printf 'ERROR Failed to build the site\nERROR Failed to render page '"'$PWD/content/a.md'"'\nERROR Reason: Failed to render page.html\nERROR Reason: Variable x not found\n'
	exit 1
fi
if grep -q strange content/a.md; then
	printf 'ERROR Failed to build the site\nERROR TOML parse error at line 2, column 1\n  |\n2 | highlight_code = false\n  | ^^^^^^^^^^^^^^\nunknown field \140highlight_code\140, expected one of \140highlighting\140\n'
	exit 1
fi
mkdir -p .gitd-site && echo "$*" >.gitd-site/index.html
`

// zolaServer has the releases 0.20.0, which is right, 0.18.0, without a digest, and 0.17.0, which is damaged.
func zolaServer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "zola"), []byte(standIn), 0o755); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "zola.tar.gz")
	if out, err := exec.Command("tar", "-czf", archive, "-C", dir, "zola").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	sum, err := kit.FileKey(archive)
	if err != nil {
		t.Fatal(err)
	}
	digests := map[string]string{"0.20.0": "sha256:" + sum, "0.18.0": "", "0.17.0": "sha256:" + strings.Repeat("0", 64)}
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		version := strings.TrimPrefix(r.URL.Path, "/v")
		digest, there := digests[version]
		switch {
		case r.URL.Path == "/archive":
			http.ServeFile(w, r, archive)
		case there:
			machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
			fmt.Fprintf(w, `{"assets": [{"name": "zola-v%s-%s-unknown-linux-gnu.tar.gz", "digest": %q, "browser_download_url": %q}]}`, version, machine, digest, s.URL+"/archive")
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL + "/"
}

// TestZola: which version makes the site, with which address, and what is said where it cannot be had.
func TestZola(t *testing.T) {
	server := zolaServer(t)
	for _, c := range []struct {
		name   string
		files  map[string]string
		env    map[string]string
		server string
		want   string // the site
		err    string // a part of it
	}{
		{"by .tool-versions", map[string]string{".tool-versions": "zola 0.20.0\n"}, nil, server, "build --base-url / --output-dir .gitd-site --force", ""},
		{"by mise.toml, with an address", map[string]string{"mise.toml": "[tools]\nzola = \"v0.20.0\"\n"}, map[string]string{"ZOLA_BASE_URL": "https://example.org"}, server, "build --base-url https://example.org --output-dir .gitd-site --force", ""},
		{"no such version", nil, map[string]string{"ZOLA_VERSION": "0.99.0"}, server, "", "ZOLA_VERSION asks for Zola 0.99.0, which does not exist; ask for one that the package registry has: 0.22.0, 0.21.0, 0.19.2"},
		{"no digest", nil, map[string]string{"ZOLA_VERSION": "0.18.0"}, server, "", "its project has no archive for this machine whose digest is known"},
		{"damaged", nil, map[string]string{"ZOLA_VERSION": "0.17.0"}, server, "", "does not have the digest that its index says"},
		{"no version", nil, map[string]string{"ZOLA_VERSION": "new"}, server, "", `ZOLA_VERSION asks for Zola "new", which is not a version`},
		{"no server", nil, map[string]string{"ZOLA_VERSION": "0.20.0"}, "http://127.0.0.1:1/", "", "Zola 0.20.0 (ZOLA_VERSION) cannot be had: 127.0.0.1 cannot be reached"},
		{"an error", map[string]string{".tool-versions": "zola 0.20.0\n", "content/a.md": "fails"}, nil, server, "", "Zola failed: Failed to render page 'content/a.md': Variable x not found"},
		{"by netlify.toml", map[string]string{"netlify.toml": "[build]\npublish = \"public\"\n[build.environment]\nZOLA_VERSION = \"0.20.0\"\n"}, nil, server, "build --base-url / --output-dir .gitd-site --force", ""},
		{"by vercel.json", map[string]string{"vercel.json": `{"env": {"ZOLA_VERSION": "0.20.0"}}`}, nil, server, "build --base-url / --output-dir .gitd-site --force", ""},
		{"a setting of another version", map[string]string{".tool-versions": "zola 0.20.0\n", "content/a.md": "strange"}, nil, server, "",
			"Zola failed: TOML parse error at line 2, column 1: unknown field `highlight_code`; say which Zola the site is made for: ZOLA_VERSION, or zola in .tool-versions; the package registry has 0.22.0, 0.21.0, 0.19.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			r := bptest.New(t, catalog.Static)
			files := map[string]string{"config.toml": "base_url = \"https://example.org\"\n", "content/a.md": "x", "templates/index.html": "x"}
			for f, text := range c.files {
				files[f] = text
			}
			for name, value := range c.env {
				r.Env[name] = value
			}
			bp := New(&out)
			bp.zolaArchives = c.server
			if passed, err := r.Detect(bp, files); err != nil || !passed || !strings.Contains(out.String(), "Static site (Zola, config.toml)") {
				t.Fatalf("detection: %v %v %s", passed, err, out.String())
			}
			for range 2 { // the second time from the cache
				_, err := r.Build(bp, files)
				if c.err != "" {
					if err == nil || !strings.Contains(kit.Line(err), c.err) {
						t.Errorf("%v, want %s", err, c.err)
					}
					return
				}
				if err != nil {
					t.Fatalf("%v\n%s", err, out.String())
				}
			}
			if got := kit.Text(r.App, siteFolder, "index.html"); got != c.want || kit.Exists(r.App, "content") {
				t.Errorf("%s, want %s", got, c.want)
			}
			if strings.Count(out.String(), "Fetching") != 1 {
				t.Errorf("it says %s", out.String())
			}
		})
	}
}

// TestZolaVersion: a patch that the package registry lacks is met by a later one of its line.
func TestZolaVersion(t *testing.T) {
	for asked, want := range map[string]string{"": "0.22.0", "0.19.1": "0.19.2", "0.19.2": "0.19.2", "v0.22.1": "0.22.1", "0.20.0": "0.20.0", "0.21.0": "0.21.0"} {
		if got, _, err := zolaVersion(t.TempDir(), kit.Env{"ZOLA_VERSION": asked}); err != nil || got != want {
			t.Errorf("%q: %s %v, want %s", asked, got, err, want)
		}
	}
}
