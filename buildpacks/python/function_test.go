package python

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// functionRun builds a function. What it returns serves it, with other text in one of its files: a build of that would take over the layers.
func functionRun(t *testing.T, files map[string]string, file string) (serve func(text string) *bptest.Served) {
	t.Helper()
	out := &bytes.Buffer{}
	bp := pack(t, out)
	bp.Lambda = bptest.LambdaProgram(t)
	r := bptest.New(t, catalog.Python)
	built, err := r.Build(bp, files)
	if err != nil {
		t.Fatalf("%s\n%s", kit.Line(err), out)
	}
	return func(text string) *bptest.Served {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(r.App, "__pycache__")); err != nil { // it counts more than the source
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.App, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return bptest.Start(t, r, built)
	}
}

// What is wrong with a function is told in its own words, and the process ends before it listens.
func TestFunction(t *testing.T) {
	serve := functionRun(t, map[string]string{"handler.py": "def handler(request): pass\n"}, "handler.py")
	for _, tt := range []struct{ name, source, want string }{
		{"throws at load", "raise RuntimeError('no database today')\ndef handler(request): pass\n", "RuntimeError: no database today"},
		{"a syntax error", "def handler(request):\n", "handler.py\", line 1"},
		{"not there after all", "def handler(request): pass\ndef other(x): pass\ndel handler\n", "handler.py has no function handler: it has handler, other"},
	} {
		if got := serve(tt.source).Ended(); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	s := serve("def handler(request):\n    if request.args:\n        raise ValueError('of this call')\n    return f'{request.method} {request.get_json()}'\n")
	s.Ready()
	if status, body := s.Do("POST", "/x", `{"n": 1}`, "content-type: application/json"); status != 200 || body != "POST {'n': 1}" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.Do("GET", "/?fail=1", ""); status != 500 || !strings.Contains(s.Output(), "ValueError: of this call") {
		t.Errorf("%d %s\n%s", status, body, s.Output())
	}
}
