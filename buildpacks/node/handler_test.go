package node

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

const honoApp = "import { Hono } from 'hono'\nimport { words } from './words'\nconst app = new Hono()\napp.get('/', (c) => c.text(words as string))\n\nexport default app\n"

// TestHandler: an app that only exports a handler of requests, as it is written for platforms that serve it, is served; its second build installs nothing.
func TestHandler(t *testing.T) {
	files := map[string]string{"package.json": `{"type":"module","dependencies":{"hono":"4.9.6"},"devDependencies":{"typescript":"5.8.3"}}`, "src/index.ts": honoApp, "src/words.ts": "export const words: string = 'hello'"}
	bp, out := tools(t)
	r := bptest.New(t, catalog.NodeJS)
	client(t, r)
	built, err := r.Build(bp, files)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	web := built.Processes["web"]
	if web.Command != "node" || !slices.Contains(web.Arguments, "--prod") {
		t.Fatalf("starts by %s %q", web.Command, web.Arguments)
	}
	get := bptest.Serve(t, r, exec.Command(filepath.Join(bp.Root, "bin/node"), web.Arguments...), bptest.Port(t))
	if got := get("/"); got != "hello" {
		t.Errorf("it answers %q", got)
	}
	if _, err := r.Build(bp, files); err != nil || !r.Reused("handler") {
		t.Errorf("again: %v, %s", err, out)
	}
}

// TestHandlerFile: what is a handler alone, and what is not.
func TestHandlerFile(t *testing.T) {
	const pkg = `{"dependencies":{"hono":"4"}}`
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"Hono", map[string]string{"package.json": pkg, "src/index.ts": honoApp}, "src/index.ts"},
		{"main", map[string]string{"package.json": `{"main":"lib/web.js","dependencies":{"hono":"4"}}`, "lib/web.js": honoApp}, "lib/web.js"},
		{"an object with fetch", map[string]string{"package.json": `{}`, "server.mjs": "export default {\n  fetch(request) { return new Response('x') },\n}\n"}, "server.mjs"},
		{"it serves itself", map[string]string{"package.json": pkg, "index.ts": strings.Replace(honoApp, "export", "serve({ fetch: app.fetch })\nexport", 1)}, ""},
		{"a start script", map[string]string{"package.json": `{"scripts":{"start":"tsx src/index.ts"},"dependencies":{"hono":"4"}}`, "src/index.ts": honoApp}, ""},
		{"for Cloudflare", map[string]string{"package.json": pkg, "src/index.ts": honoApp, "wrangler.toml": ""}, ""},
		{"a module", map[string]string{"package.json": `{}`, "index.js": "const x = 1\nexport default x\n"}, ""},
	} {
		dir := bptest.Tree(t, tt.files)
		p, err := ReadPackage(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.handlerFile(dir); got != tt.want || tt.want != "" && p.KindOf(dir) != Server {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
