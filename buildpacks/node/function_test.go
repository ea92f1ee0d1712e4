package node

import (
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
	bp, out := tools(t)
	bp.Lambda = bptest.LambdaProgram(t)
	r := bptest.New(t, catalog.NodeJS)
	client(t, r)
	built, err := r.Build(bp, files)
	if err != nil {
		t.Fatalf("%s\n%s", kit.Line(err), out)
	}
	return func(text string) *bptest.Served {
		t.Helper()
		if err := os.WriteFile(filepath.Join(r.App, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return bptest.Start(t, r, built)
	}
}

// What is wrong with a function is told in its own words, and the process ends before it listens.
func TestFunction(t *testing.T) {
	serve := functionRun(t, map[string]string{"handler.mjs": "export const handler = (request) => 1;"}, "handler.mjs")
	for _, tt := range []struct{ name, source, want string }{
		{"throws at load", "throw new Error('no database today');", "handler.mjs cannot be loaded:\nError: no database today\n    at file:///"},
		{"a syntax error", "export function handler(request) {", "SyntaxError: Unexpected end of input"},
		{"imports what is not there", "import 'nowhere'; export const handler = (request) => 1;", "Cannot find package 'nowhere'"},
		{"not exported", "export const notIt = () => 1;", "handler.mjs has no function handler: it exports notIt"},
		{"no function", "export const handler = 7;", "handler.mjs has no function handler: it exports no function"},
	} {
		if got := serve(tt.source).Ended(); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	s := serve("export const handler = (req, res) => { if (req.query.fail) throw new Error('of this call'); res.send(`${req.method} ${req.body?.n}`) };")
	s.Ready()
	if status, body := s.Do("POST", "/x", `{"n": 1}`, "content-type: application/json"); status != 200 || body != "POST 1" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.Do("GET", "/?fail=1", ""); status != 500 || !strings.Contains(s.Output(), "Error: of this call\n    at handler") {
		t.Errorf("%d %s\n%s", status, body, s.Output())
	}
}
