package node

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// TestRouted: how an app of Remix or React Router starts that names no server.
func TestRouted(t *testing.T) {
	const remix, router = `{"scripts":{"build":"remix vite:build","dev":"remix vite:dev"},"devDependencies":{"@remix-run/dev":"2"}}`, `{"scripts":{"build":"react-router build","start":"react-router dev"},"devDependencies":{"@react-router/dev":"7"}}`
	for _, tt := range []struct {
		name, pkg, config, start string
		kind                     Kind
	}{
		{"Remix", remix, "remix()", "remix-serve ./build/server/index.js", Server},
		{"Remix, pages alone", remix, "remix({ ssr: false })", "", Site},
		{"React Router", router, "// ssr: false\nreactRouter()", "react-router-serve ./build/server/index.js", Server},
		{"its own start", `{"scripts":{"build":"remix vite:build","start":"node server.js"},"devDependencies":{"@remix-run/dev":"2"}}`, "", "node server.js", Server},
	} {
		dir := bptest.Tree(t, map[string]string{"package.json": tt.pkg, "vite.config.ts": tt.config})
		p, err := ReadPackage(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.startScript(); got != tt.start || p.KindOf(dir) != tt.kind {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, got, p.KindOf(dir), tt.start, tt.kind)
		}
	}
}

// TestServerLayer: an app of Remix that is made for a platform with functions, and so lists no server, is served, without that platform's preset.
func TestServerLayer(t *testing.T) {
	files := map[string]string{
		"package.json":   `{"type":"module","scripts":{"build":"node make.js remix vite:build"},"dependencies":{"@remix-run/node":"2.17.0"},"devDependencies":{"@remix-run/dev":"npm:ms@2.1.3"}}`,
		"vite.config.ts": "import { vercelPreset } from '@vercel/remix/vite';\nexport default { presets: [vercelPreset()] }\n",
		"make.js":        "import fs from 'node:fs'; const { vercelPreset } = await import('@vercel/remix/vite'); vercelPreset(); fs.mkdirSync('build/server', {recursive: true}); fs.writeFileSync('build/server/index.js', fs.readFileSync('server.txt'))",
		"server.txt": `const route = { id: 'root', path: '' };
export const entry = { module: { default: () => new Response('hello') } };
export const routes = { root: { ...route, module: { default: () => null } } };
export const assets = { version: '1', url: '/m.js', entry: { module: '', imports: [] }, routes: { root: { ...route, module: '' } } };
export const publicPath = '/', assetsBuildDirectory = 'build/client', basename = '/', mode = 'production', isSpaMode = false, future = {};
`,
	}
	bp, out := tools(t)
	r := bptest.New(t, catalog.NodeJS)
	client(t, r)
	built, err := r.Build(bp, files)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	web := built.Processes["web"]
	if web.Command != "remix-serve" {
		t.Fatalf("starts by %s %q\n%s", web.Command, web.Arguments, out)
	}
	c := exec.Command(filepath.Join(r.Layers, "server/bin/remix-serve"), web.Arguments...)
	get := bptest.Serve(t, r, c, bptest.Port(t))
	if got := get("/"); got != "hello" {
		t.Errorf("it answers %q", got)
	}
	again, err := r.Build(bp, files)
	if err != nil || again.Processes["web"].Command != "remix-serve" || !r.Reused("server") || !r.Reused("modules") {
		t.Errorf("again: %v %v\n%s", err, again.Processes, out)
	}
	if !strings.Contains(out.String(), "Building a server for Node.js (vite.config.ts uses @vercel/remix/vite)") {
		t.Errorf("it says %s", out)
	}
}
