package static

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

func TestDetect(t *testing.T) {
	tests := []struct {
		name   string
		files  map[string]string
		root   string
		passed bool
		out    string
		err    string
	}{
		{"root", map[string]string{"index.html": "", "public/index.html": ""}, "", true, "Static site (index.html)", ""},
		{"public", map[string]string{"public/index.html": ""}, "", true, "Static site (public/index.html)", ""},
		{"asked", map[string]string{"docs/a.html": ""}, "docs", true, "Static site (docs)", ""},
		{"asked for nothing", map[string]string{"index.html": ""}, "docs", false, "", "BP_STATIC_ROOT is docs, which is not a folder of the app; name a folder of the app"},
		{"asked for outside", map[string]string{"index.html": ""}, "../x", false, "", "BP_STATIC_ROOT is ../x, which is outside of the app; name a folder of the app"},
		{"build script", map[string]string{"package.json": `{"scripts":{"build":"vite build"}}`, "index.html": ""}, "", true, "Static site (output of the build script)", ""},
		{"server", map[string]string{"package.json": `{"scripts":{"start":"node a.js"}}`, "public/index.html": ""}, "", false, looksFor, ""},
		{"what MkDocs makes", map[string]string{"mkdocs.yml": "site_name: x\n", "docs/index.md": "", "requirements.txt": "mkdocs\n"}, "", true, "Static site (output of its generator)", ""},
		{"an app in Python with pages of documentation", map[string]string{"requirements.txt": "flask\n", "app.py": "app = Flask(__name__)\n", "docs/index.html": ""}, "", false, looksFor, ""},
		{"pages with tools in Python", map[string]string{"requirements.txt": "pre-commit\n", "docs/index.html": ""}, "", true, "Static site (docs/index.html)", ""},
		{"one page of another name", map[string]string{"resume.html": "", "style.css": "", "README.md": ""}, "", true, "Static site (resume.html)", ""},
		{"a name of Windows", map[string]string{"Index.htm": "", "about.htm": ""}, "", true, "Static site (Index.htm)", ""},
		{"home", map[string]string{"home.html": "", "about.html": ""}, "", true, "Static site (home.html)", ""},
		{"pages", map[string]string{"a.html": "", "b.html": ""}, "", false, looksFor, ""},
		{"all of it in a folder", map[string]string{"src/index.html": "", "src/css/a.css": "", "README.md": ""}, "", true, "Static site (src/index.html)", ""},
		{"in two", map[string]string{"one/index.html": "", "two/index.html": ""}, "", false, looksFor, ""},
		{"a folder beside another app's", map[string]string{"web/index.html": "", "api/go.mod": ""}, "", false, looksFor, ""},
		{"a page beside a program", map[string]string{"home.html": "", "main.c": ""}, "", false, looksFor, ""},
		{"nothing", map[string]string{"a.txt": ""}, "", false, looksFor, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := &bytes.Buffer{}
			r := bptest.New(t, catalog.Static)
			if tt.root != "" {
				r.Env["BP_STATIC_ROOT"] = tt.root
			}
			passed, err := r.Detect(Buildpack{Out: out}, tt.files)
			got, msg := strings.TrimSpace(out.String()), ""
			got = strings.TrimPrefix(strings.TrimPrefix(got, "gitd-detect: "), "gitd-looked-for: ")
			if err != nil {
				msg = kit.Line(err)
			}
			if passed != tt.passed || got != tt.out || msg != tt.err {
				t.Errorf("got %v %q %q, want %v %q %q", passed, got, msg, tt.passed, tt.out, tt.err)
			}
		})
	}
}

// TestGenerated: of a site that a program in Python made, the pages alone are served.
func TestGenerated(t *testing.T) {
	r, ask := site(t, nil, map[string]string{"mkdocs.yml": "site_name: x\n", "docs/index.md": "# source", ".gitd-site/index.html": "made", ".gitd-site/more/index.html": "more"})
	for path, want := range map[string]string{"/": "made", "/more/": "more"} {
		if _, got := ask("GET", path, nil); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if kit.Exists(r.App, "mkdocs.yml") || kit.Exists(r.App, "docs") {
		t.Error("the sources are in the image")
	}
}

// site builds the files and starts nginx on them, just as an instance would.
func site(t *testing.T, env, files map[string]string) (*bptest.Run, func(method, path string, header http.Header) (*http.Response, string)) {
	t.Helper()
	out := &bytes.Buffer{}
	r := bptest.New(t, catalog.Static)
	for k, v := range env {
		r.Env[k] = v
	}
	b := New(out)
	if !kit.IsFile(b.Nginx) {
		t.Fatalf("these tests need nginx: apt-get install nginx")
	}
	built, err := r.Build(b, files)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	web := built.Processes["web"]
	if !web.Direct || !web.Default {
		t.Errorf("web is %+v", web)
	}
	// An instance has a /tmp of its own: here nginx gets another place for what it writes.
	tmp := t.TempDir()
	args := append([]string{}, web.Arguments...)
	args[1] = strings.ReplaceAll(args[1], "/tmp/nginx-listen", tmp+"/nginx-listen")
	conf := filepath.Join(r.Layers, "config/nginx.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(tmp, "nginx.conf")
	if err := os.WriteFile(other, bytes.ReplaceAll(text, []byte("/tmp/nginx"), []byte(tmp+"/nginx")), 0o644); err != nil {
		t.Fatal(err)
	}
	args[1] = strings.ReplaceAll(args[1], conf, other)
	makeReadable(t, r.App)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	cmd := exec.Command(web.Command, args...)
	cmd.Env = []string{"PATH=" + filepath.Join(r.Layers, "nginx/bin") + ":/bin"}
	bptest.Serve(t, r, cmd, port)
	client := &http.Client{Transport: &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(client.CloseIdleConnections)
	return r, func(method, path string, header http.Header) (*http.Response, string) {
		t.Helper()
		return request(t, client, method, "http://127.0.0.1:"+port+path, header)
	}
}

// makeReadable lets every user read a folder and the ones above: nginx, started by root, drops to another user.
func makeReadable(t *testing.T, dir string) {
	t.Helper()
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err == nil && fi.Mode()&0o005 != 0o005 {
			if err := os.Chmod(dir, fi.Mode()|0o055); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// request returns a response and its body.
func request(t *testing.T, client *http.Client, method, url string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// types are those that browsers insist on: they run no module, and install no app, of another type.
var types = map[string]string{"a.mjs": "text/javascript", "a.js": "application/javascript; charset=utf-8", "a.wasm": "application/wasm", "a.webmanifest": "application/manifest+json",
	"a.woff2": "font/woff2", "a.svg": "image/svg+xml", "a.json": "application/json", "a.avif": "image/avif"}

// TestServe: what the server answers, on all that was promised.
func TestServe(t *testing.T) {
	big := strings.Repeat("body { color: red }\n", 100)
	files := map[string]string{}
	for name := range types {
		files["types/"+name] = "x"
	}
	maps.Copy(files, map[string]string{"index.html": "<h1>root", "404.html": "gone", "mail.php": "<?php $password = 1;", "style.css": big, "about.html": "about", "docs/index.html": "docs",
		"empty/a.txt": "a", ".env": "SECRET=1", ".git/config": "x", ".well-known/security.txt": "contact", "Procfile.txt": "x"})
	_, get := site(t, nil, files)
	tests := []struct {
		path   string
		status int
		body   string
	}{
		{"/", 200, "<h1>root"}, {"/style.css", 200, big}, {"/about", 200, "about"}, {"/docs/", 200, "docs"}, {"/nothing", 404, "gone"},
		{"/empty/", 404, "gone"}, {"/.env", 404, "gone"}, {"/.git/config", 404, "gone"}, {"/docs/../.env", 404, "gone"}, {"/.well-known/security.txt", 200, "contact"},
		{"/%2e%65nv", 404, "gone"}, {"/mail.php", 404, "gone"},
	}
	for _, tt := range tests {
		resp, body := get("GET", tt.path, nil)
		if resp.StatusCode != tt.status || body != tt.body {
			t.Errorf("GET %s: %d %q, want %d %q", tt.path, resp.StatusCode, body, tt.status, tt.body)
		}
	}
	for name, want := range types {
		if resp, _ := get("GET", "/types/"+name, nil); resp.Header.Get("Content-Type") != want {
			t.Errorf("%s is %q, want %q", name, resp.Header.Get("Content-Type"), want)
		}
	}
	resp, _ := get("GET", "/docs", nil)
	if resp.StatusCode != 301 || resp.Header.Get("Location") != "/docs/" {
		t.Errorf("GET /docs: %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	resp, _ = get("HEAD", "/", nil)
	etag := resp.Header.Get("ETag")
	if etag == "" || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || resp.Header.Get("Last-Modified") != "" {
		t.Errorf("HEAD /: %v", resp.Header)
	}
	if resp, _ := get("GET", "/", http.Header{"If-None-Match": {etag}}); resp.StatusCode != 304 {
		t.Errorf("If-None-Match: %d", resp.StatusCode)
	}
	if resp, _ := get("GET", "/", http.Header{"If-None-Match": {`W/"other"`}}); resp.StatusCode != 200 {
		t.Errorf("another If-None-Match: %d", resp.StatusCode)
	}
	if resp, _ := get("POST", "/", nil); resp.StatusCode != 405 {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	resp, body := get("GET", "/style.css", http.Header{"Accept-Encoding": {"gzip"}})
	if resp.Header.Get("Content-Encoding") != "gzip" || resp.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("gzip: %v", resp.Header)
	} else if z, err := gzip.NewReader(strings.NewReader(body)); err != nil {
		t.Error(err)
	} else if plain, err := io.ReadAll(z); err != nil || string(plain) != big {
		t.Errorf("unzipped %d bytes, %v", len(plain), err)
	}
	if resp, body := get("GET", "/style.css", http.Header{"Range": {"bytes=0-3"}}); resp.StatusCode != 206 || body != "body" {
		t.Errorf("range: %d %q", resp.StatusCode, body)
	}
}

// TestFirstPage: a site whose first page has another name.
func TestFirstPage(t *testing.T) {
	_, get := site(t, nil, map[string]string{"Home.html": "home", "about.html": "about", "style.css": ""})
	if resp, body := get("GET", "/", nil); resp.StatusCode != 200 || body != "home" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

// TestSinglePage: paths without a file get index.html, and only when it was asked for.
func TestSinglePage(t *testing.T) {
	_, get := site(t, map[string]string{"BP_STATIC_SPA": "true"}, map[string]string{"index.html": "app"})
	if resp, body := get("GET", "/orders/7", nil); resp.StatusCode != 200 || body != "app" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if resp, _ := get("GET", "/.env", nil); resp.StatusCode != 404 {
		t.Errorf("hidden file: %d", resp.StatusCode)
	}
}

// TestOutputOfBuild: only the output is kept, and unchanged files leave the layers alone.
func TestOutputOfBuild(t *testing.T) {
	out := &bytes.Buffer{}
	r := bptest.New(t, catalog.Static)
	files := map[string]string{"package.json": `{"scripts":{"build":"x"}}`, "index.html": "source", "src/a.js": "", "dist/shop/browser/index.html": "built",
		"dist/shop/3rdpartylicenses.txt": ""}
	for range 2 {
		if _, err := r.Build(New(out), files); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if !r.Reused("nginx") || !r.Reused("config") {
		t.Error("the second build made new layers")
	}
	for name, want := range map[string]bool{"src": false, "index.html": false, "package.json": false, "dist/shop/3rdpartylicenses.txt": false, "dist/shop/browser/index.html": true} {
		if kit.Exists(r.App, name) != want {
			t.Errorf("%s is there: %v, want %v", name, !want, want)
		}
	}
	delete(files, "dist/shop/browser/index.html")
	_, err := r.Build(New(out), files)
	if err == nil || !strings.HasPrefix(kit.Line(err), "the build script has left no index.html in dist, build") {
		t.Errorf("error %v", err)
	}
}
