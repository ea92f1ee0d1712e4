package deno

import (
	"bytes"
	"net"
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
		name  string
		files map[string]string
		out   string
		err   string
	}{
		{"deno.json", map[string]string{"deno.json": "{}"}, "gitd-detect: Deno (deno.json, any deno)", ""},
		{"comments and commas", map[string]string{"deno.jsonc": "{\n // a \"b\"\n \"tasks\": {\"start\": \"deno run http://x\", /* c */},\n}"}, "gitd-detect: Deno (deno.jsonc, any deno)", ""},
		{"a version", map[string]string{"deno.json": "{}", ".tool-versions": "deno 2.4.1\n"}, "gitd-detect: Deno (deno.json, deno 2.4.1)", ""},
		{"code alone", map[string]string{"main.ts": "Deno.serve(() => new Response('x'))"}, "gitd-detect: Deno (main.ts, any deno)", ""},
		{"code of others", map[string]string{"main.ts": "console.log(1)"}, "gitd-looked-for: deno.json", ""},
		{"tools of an app of Node.js", map[string]string{"deno.json": "{}", "package.json": "{}", "package-lock.json": "{}"}, "gitd-looked-for: deno.json", ""},
		{"malformed", map[string]string{"deno.json": "{"}, "", "deno.json cannot be read: unexpected end of JSON input; correct it and push again"},
	}
	for _, tt := range tests {
		out := &bytes.Buffer{}
		_, err := bptest.New(t, catalog.Deno).Detect(Buildpack{Out: out}, tt.files)
		msg := ""
		if err != nil {
			msg = kit.Line(err)
		}
		if got := strings.TrimSpace(out.String()); got != tt.out || msg != tt.err {
			t.Errorf("%s: %q %q, want %q %q", tt.name, got, msg, tt.out, tt.err)
		}
	}
}

func TestStart(t *testing.T) {
	const port = `export DENO_SERVE_ADDRESS="${DENO_SERVE_ADDRESS:-tcp:0.0.0.0:${PORT:-8080}}"; exec `
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a start task", map[string]string{"deno.json": `{"tasks":{"start":"deno run --allow-net main.ts"}}`}, "deno run --allow-net main.ts"},
		{"a task of several commands", map[string]string{"deno.json": `{"tasks":{"start":{"command":"deno task a && deno run main.ts"}}}`}, "deno task start"},
		{"a task for development", map[string]string{"deno.json": `{"tasks":{"start":"deno run -A --watch=static/ dev.ts","preview":"deno run -A main.ts"}}`}, "deno run -A main.ts"},
		{"a program", map[string]string{"main.ts": "Deno.serve({port: 1}, f)"}, "deno run -A main.ts"},
		{"a program without a listener", map[string]string{"main.ts": "export default { fetch: app.fetch } satisfies Deno.ServeDefaultExport"}, "deno serve -A --host 0.0.0.0 --port ${PORT:-8080} main.ts"},
		{"what Fresh built", map[string]string{"deno.json": `{"tasks":{"build":"vite build"}}`, "_fresh/server.js": ""}, "deno serve -A --host 0.0.0.0 --port ${PORT:-8080} _fresh/server.js"},
		{"nothing", map[string]string{"deno.json": "{}"}, ""},
	}
	for _, tt := range tests {
		r := bptest.New(t, catalog.Deno)
		if _, err := r.Detect(Buildpack{Out: &bytes.Buffer{}}, tt.files); err != nil {
			t.Fatal(err)
		}
		c, err := readConfig(r.App)
		if err != nil {
			t.Fatal(err)
		}
		b := &build{app: r.App, conf: c}
		web, err := b.start()
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s: no error", tt.name)
			}
			continue
		}
		if err != nil || web == nil || web.Arguments[1] != port+tt.want {
			t.Errorf("%s: %v %v, want %s", tt.name, web, err, tt.want)
		}
	}
}

// TestBuild: the example is built with what it imports from npm, answers from a cache that cannot be written, and a changed line makes no new layer.
func TestBuild(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Fatalf("this test needs Node.js and npm: %v", err)
	}
	out := &bytes.Buffer{}
	b := Buildpack{Root: filepath.Dir(filepath.Dir(npm)), Out: out}
	r := bptest.New(t, catalog.Deno)
	for _, k := range []string{"registry", "cafile"} {
		v, err := exec.Command("npm", "config", "get", k).Output()
		if s := strings.TrimSpace(string(v)); err == nil && s != "" && s != "null" {
			r.Env["npm_config_"+k] = s
		}
	}
	files := map[string]string{"deno.json": `{"imports": {"ms": "npm:ms@2.1.3"}, "tasks": {"build": "deno eval \"Deno.writeTextFileSync('made', 'built')\""}}`,
		"main.ts": "import ms from 'ms';\nDeno.serve({ port: 1 }, () => new Response(ms('1h') + Deno.readTextFileSync('made')));\n"}
	built, err := r.Build(b, files)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	c := exec.Command("bash", built.Processes["web"].Arguments...)
	c.Env = []string{"PATH=" + filepath.Join(r.Layers, "deno/bin") + ":/usr/bin:/bin", "DENO_DIR=" + filepath.Join(r.Layers, "dependencies"), "DENO_NO_UPDATE_CHECK=1", "HOME=/tmp",
		"NPM_CONFIG_REGISTRY=" + r.Env["npm_config_registry"], "HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1"}
	get := bptest.Serve(t, r, c, port)
	if got := get("/"); got != "3600000built" {
		t.Errorf("the app says %q", got)
	}
	files["main.ts"] += "// changed\n"
	if _, err := r.Build(b, files); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !r.Reused("deno") || !r.Reused("dependencies") {
		t.Errorf("not reused:\n%s", out)
	}
}
