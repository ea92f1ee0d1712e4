package static

import (
	"bytes"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// ruleLine is a line that rules become: outside of quotes, only what the code writes.
var ruleLine = regexp.MustCompile(`^ *(?:[a-zA-Z_$~^ (){};0-9.-]|"(?:[^"\\]|\\.)*")*$`)

const redirectsFile = `# where things went
/old /new
/old-page.html   /about?from=old  302
/blog/*  /news/:splat
/people/:id/posts/:post  /posts/:post/of/:id 308  # renamed
/go/*  /:splat
/away/*  https://elsewhere.example/:splat 301
/app/*  /app.html  200
/pretty /about 200
/secret/* /404.html 404
/gone /nothing 410
/forced.html /new 301!
/kept.html /new
/über/* /ueber/:splat
/quote /a"b;c{d}$e\f
/q id=:id /x 301
/nl /new 302 Country=nl
/proxy/* https://api.example/:splat 200
/bad/*/x /y
nowhere /y
/only
`

const headersFile = `/*
  X-Frame-Options: DENY
  X-Many: one
/about*
  X-Many: two
  X-Odd: a "quoted" $uri ; } \ end
  Cache-Control: no-store
/.well-known/apple-app-site-association
  Content-Type: application/json
/people/:id
  X-Person: yes
/x
  Content-Length: 7
  Bad Header
  X-Line: café
`

// TestRules: redirects and headers are those of the files, and what a file or a request holds does not get out of its place.
func TestRules(t *testing.T) {
	_, get := site(t, nil, map[string]string{"index.html": "root", "404.html": "lost", "about.html": "about", "app.html": "app", "forced.html": "there", "kept.html": "kept", "_redirects": redirectsFile, "_headers": headersFile,
		".well-known/apple-app-site-association": "{}", "assets/index-DkZ3pdU3.js": "1", "main.3f9a2b1c.css": "2", "photo-20240101.jpg": "3"})
	tests := []struct {
		path, location, body string
		status               int
	}{
		{"/old", "/new", "", 301}, {"/old/", "/new", "", 301}, {"/old?a=1&b=%0a", "/new?a=1&b=%0a", "", 301}, {"/older", "", "lost", 404},
		{"/old-page.html", "/about?from=old", "", 302}, {"/blog/a/b%20c", "/news/a/b%20c", "", 301}, {"/blog", "/news/", "", 301}, {"/blogs", "", "lost", 404},
		{"/people/7/posts/x", "/posts/x/of/7", "", 308}, {"/go//evil.example/x", "/evil.example/x", "", 301}, {"/go/%0d%0aSet-Cookie:a=1", "/%0d%0aSet-Cookie:a=1", "", 301},
		{"/away/x?y=1", "https://elsewhere.example/x?y=1", "", 301}, {"/app/orders/7", "", "app", 200}, {"/pretty", "", "about", 200}, {"/secret/x", "", "lost", 404}, {"/gone", "", "", 410},
		{"/forced.html", "/new", "", 301}, {"/kept.html", "", "kept", 200}, {"/%C3%bcber/x", "/ueber/x", "", 301}, {"/quote", "/a%22b%3Bc%7Bd%7D%24e%5Cf", "", 301},
		{"/nl", "", "lost", 404}, {"/proxy/x", "", "lost", 404}, {"/_redirects", "", "lost", 404}, {"/_headers", "", "lost", 404},
	}
	for _, tt := range tests {
		resp, body := get("GET", tt.path, nil)
		if resp.StatusCode != tt.status || resp.Header.Get("Location") != tt.location || tt.body != "" && body != tt.body {
			t.Errorf("GET %s: %d to %q, %q; want %d to %q, %q", tt.path, resp.StatusCode, resp.Header.Get("Location"), body, tt.status, tt.location, tt.body)
		}
		if resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("GET %s sets a header of the request's", tt.path)
		}
	}
	for _, tt := range []struct{ path, name, want string }{
		{"/", "X-Frame-Options", "DENY"}, {"/nothing", "X-Frame-Options", "DENY"}, {"/?a=b", "X-Many", "one"}, {"/about", "X-Many", "one, two"}, {"/about", "X-Odd", `a "quoted" $uri ; } \ end`}, {"/", "X-Odd", ""},
		{"/about", "Cache-Control", "no-store"}, {"/", "Cache-Control", ""}, {"/.well-known/apple-app-site-association", "Content-Type", "application/json"}, {"/people/7", "X-Person", "yes"}, {"/people", "X-Person", ""},
		{"/assets/index-DkZ3pdU3.js", "Cache-Control", "public, max-age=31536000, immutable"}, {"/main.3f9a2b1c.css", "Cache-Control", "public, max-age=31536000, immutable"}, {"/photo-20240101.jpg", "Cache-Control", ""},
		{"/main.00000a1c.css", "Cache-Control", ""}, {"/x", "X-Line", ""},
	} {
		resp, _ := get("GET", tt.path, nil)
		if got := strings.Join(resp.Header.Values(tt.name), "|"); got != tt.want {
			t.Errorf("GET %s: %s is %q, want %q", tt.path, tt.name, got, tt.want)
		}
	}
}

// TestIgnored: what is not followed is told.
func TestIgnored(t *testing.T) {
	var r rules
	r.parseRedirects(redirectsFile)
	if err := r.parseHeaders(headersFile); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(r.ignored, "\n")
	for _, want := range []string{`line 16 of _redirects is not followed: "/x" is no status`, `line 17 of _redirects is not followed: conditions such as "Country=nl" are not known`, "line 18 of _redirects is not followed: requests are not passed on to other servers",
		"line 19 of _redirects is not followed: * stands at the end", `line 20 of _redirects is not followed: "nowhere" is no path`, "line 21 of _redirects is not followed: it names no target",
		"line 13 of _headers is not followed: Content-Length belongs to the server", "line 14 of _headers is not followed: it is not of the form", "line 15 of _headers is not followed: it is no header of HTTP"} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %s:\n%s", want, got)
		}
	}
	if err := new(rules).parseHeaders("/*\n  Basic-Auth: a:b\n"); err == nil || !strings.Contains(kit.Line(err), "the site would be open") {
		t.Errorf("a password: %v", err)
	}
}

// TestSettings: what the files of other platforms say is done.
func TestSettings(t *testing.T) {
	_, get := site(t, nil, map[string]string{"Staticfile": "root: web # here\npushstate: enabled\nforce_https: true\nhost_dot_files: true\nhttp_strict_transport_security: true\nlocation_include: x\n", "web/index.html": "app", "web/.env": "dot", "web/.git/config": "secret"})
	for path, want := range map[string]string{"/": "app", "/orders/7": "app", "/.env": "dot"} {
		if resp, body := get("GET", path, nil); body != want || resp.Header.Get("Strict-Transport-Security") != "max-age=31536000" {
			t.Errorf("GET %s: %q, %v", path, body, resp.Header)
		}
	}
	if resp, _ := get("GET", "/.git/config", nil); resp.StatusCode != 404 {
		t.Errorf("GET /.git/config: %d", resp.StatusCode)
	}
	if resp, _ := get("GET", "/a", http.Header{"X-Forwarded-Proto": {"http"}}); resp.StatusCode != 301 || !strings.HasPrefix(resp.Header.Get("Location"), "https://") {
		t.Errorf("http: %d %v", resp.StatusCode, resp.Header)
	}
	_, get = site(t, nil, map[string]string{"Staticfile": "", "Staticfile.auth": "bob:$apr1$DuUQEQp8$ZccZCHQElNSjrg.erwSFC0\n", "index.html": "closed"})
	if resp, _ := get("GET", "/", nil); resp.StatusCode != 401 {
		t.Errorf("without a password: %d", resp.StatusCode)
	}
	_, get = site(t, nil, map[string]string{"static.json": `{"root":"dist/","routes":{"/api/**":"api.html","/**":"index.html"},"redirects":{"/old":{"url":"/new","status":302}},"headers":{"/**":{"X-A":"1"}}}`, "dist/index.html": "spa", "dist/api.html": "api"})
	for path, want := range map[string]string{"/x": "spa", "/api/x": "api"} {
		if resp, body := get("GET", path, nil); body != want || resp.Header.Get("X-A") != "1" {
			t.Errorf("GET %s: %q %v", path, body, resp.Header)
		}
	}
	if resp, _ := get("GET", "/old", nil); resp.StatusCode != 302 {
		t.Errorf("GET /old: %d", resp.StatusCode)
	}
}

// TestRoots: a folder by its name, and one that leads out.
func TestRoots(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		err   string
	}{
		"docs":    {map[string]string{"docs/index.html": "", "README.md": ""}, ""},
		"outside": {map[string]string{"Staticfile": "root: ../x", "index.html": ""}, "the root of the site is ../x, which is outside of the app; name a folder of the app"},
		"missing": {map[string]string{"static.json": "{}", "index.html": ""}, "the root of the site is public_html, which is not there; name a folder of the app"},
	} {
		out := &bytes.Buffer{}
		r := bptest.New(t, catalog.Static)
		_, err := r.Build(New(out), tt.files)
		got := ""
		if err != nil {
			got = kit.Line(err)
		}
		if got != tt.err {
			t.Errorf("%s: %q, want %q", name, got, tt.err)
		}
		if tt.err == "" && !strings.Contains(kit.Text(r.Layers, "config/nginx.conf"), "root "+filepath.Join(r.App, name)) {
			t.Errorf("%s is not the root", name)
		}
	}
}

// FuzzRules: no input gets out of its word: each line of what is made is of the forms that render makes.
func FuzzRules(f *testing.F) {
	f.Add(redirectsFile, headersFile)
	f.Add("/a\" /b\";}", "/\"\n  a: b\"; }\n")
	f.Fuzz(func(t *testing.T, redirects, headers string) {
		var r rules
		r.parseRedirects(redirects)
		if r.parseHeaders(headers) != nil {
			return
		}
		m, s, c := r.headerLines("$kept")
		text := r.redirectLines("/nowhere", true, "") + r.redirectLines("/nowhere", false, "") + m + s + c
		for line := range strings.Lines(text) {
			if !ruleLine.MatchString(strings.TrimSuffix(line, "\n")) {
				t.Errorf("%q", line)
			}
		}
	})
}
