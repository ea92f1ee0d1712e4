package python

import (
	"bytes"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// TestFunctionFile: an app that is written for Vercel alone is started, and pages that it answers behind stay the app.
func TestFunctionFile(t *testing.T) {
	const made = "from flask import Flask\napp = Flask(__name__)\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"alone":          {map[string]string{"requirements.txt": "flask", "api/index.py": made}, "api.index:app"},
		"behind pages":   {map[string]string{"requirements.txt": "flask", "api/index.py": made, "package.json": `{"scripts":{"build":"next build","start":"next start"},"dependencies":{"next":"15"}}`}, ""},
		"beside another": {map[string]string{"requirements.txt": "flask", "api/index.py": "from flask import Flask\napi = Flask(__name__)\n", "app.py": made}, "app:app"},
	} {
		b := &build{app: bptest.Tree(t, tt.files)}
		if o := b.findApp(); o.name != tt.want {
			t.Errorf("%s: %q, want %q", name, o.name, tt.want)
		}
	}
}

// TestFunctionFile_Alone: an app may be nothing else, without a list of packages.
func TestFunctionFile_Alone(t *testing.T) {
	const handler = "from http.server import BaseHTTPRequestHandler\n\nclass handler(BaseHTTPRequestHandler):\n    def do_GET(self):\n        pass\n"
	for name, tt := range map[string]struct {
		files        map[string]string
		kind, object string
		speaks       protocol
		packages     int
	}{
		"an app object":    {map[string]string{"README.md": "", "vercel.json": "{}", "api/index.py": "from flask import Flask\napp = Flask(__name__)\n"}, "api/index.py", "api.index:app", wsgi, 1},
		"a class":          {map[string]string{"api/index.py": handler}, "api/index.py", "api.index:handler", requestHandler, 0},
		"with a list":      {map[string]string{"requirements.txt": "", "api/index.py": handler}, "requirements.txt", "api.index:handler", requestHandler, 0},
		"a program":        {map[string]string{"main.py": "print(1)\n", "api/index.py": handler}, "main.py", "api.index:handler", requestHandler, 0},
		"nothing in it":    {map[string]string{"api/index.py": "print(1)\n"}, "", "", "", 0},
		"behind pages":     {map[string]string{"index.html": "", "api/index.py": handler}, "", "api.index:handler", requestHandler, 0},
		"of another's app": {map[string]string{"package.json": "{}", "api/index.py": handler}, "", "", "", 0},
	} {
		app := bptest.Tree(t, tt.files)
		s, err := findSource(app)
		if err != nil || s.kind != tt.kind {
			t.Errorf("%s: found by %q (%v), want %q", name, s.kind, err, tt.kind)
		}
		b := &build{app: app, source: s}
		if o := b.findApp(); o.name != tt.object || o.protocol != tt.speaks || len(b.unlisted()) != tt.packages {
			t.Errorf("%s: %+v, packages %q", name, o, b.unlisted())
		}
	}
}

// TestFunctionFile_Serves: a class for the standard library's server answers.
func TestFunctionFile_Serves(t *testing.T) {
	out := &bytes.Buffer{}
	r := bptest.New(t, catalog.Python)
	built, err := r.Build(pack(t, out), map[string]string{"api/greeting.py": "WORD = 'hello'\n", "api/index.py": `from http.server import BaseHTTPRequestHandler
from greeting import WORD

class handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write((WORD + ' ' + self.path).encode())
`})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := bptest.Start(t, r, built).Ready()
	defer s.Stop()
	if status, got := s.Do("GET", "/a?b=c", ""); status != 200 || got != "hello /a?b=c" {
		t.Errorf("%d %q", status, got)
	}
}
