package node

import (
	"bytes"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// TestDeveloped: an app that nothing says how to start is started by what its script for development runs, without what watches files.
func TestDeveloped(t *testing.T) {
	const express, hono = `"dependencies":{"express":"4"}`, `"dependencies":{"hono":"4"}`
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
		kind  Kind
	}{
		"nodemon":                        {map[string]string{"package.json": `{"main":"index.js","scripts":{"dev":"nodemon src/app.js"},` + express + `}`, "src/app.js": "app.listen(1)"}, "node src/app.js", Server},
		"a script that it calls":         {map[string]string{"package.json": `{"scripts":{"dev":"npm run server","server":"nodemon server/index"},` + express + `}`, "server/index.js": "app.listen(1)"}, "node server/index", Server},
		"a translator":                   {map[string]string{"package.json": `{"scripts":{"dev":"tsx watch src/index.ts"},` + hono + `}`, "src/index.ts": "serve(app)"}, "tsx src/index.ts", Server},
		"beside a build":                 {map[string]string{"package.json": `{"scripts":{"build":"tsc","dev":"tsx src/server.ts"},` + express + `}`, "src/server.ts": "app.listen(1)"}, "tsx src/server.ts", Server},
		"of what the build makes":        {map[string]string{"package.json": `{"scripts":{"build":"babel src -d dist","dev":"nodemon src/index.js","serve":"node dist/index.js"},` + express + `}`, "src/index.js": "app.listen(1)"}, "node dist/index.js", Server},
		"no script at all":               {map[string]string{"package.json": `{"main":"index.js",` + express + `}`, "src/server.js": "app.listen(1)"}, "node src/server.js", Server},
		"Express' generator":             {map[string]string{"package.json": `{` + express + `}`, "bin/www": "#!/usr/bin/env node"}, "node bin/www", Server},
		"a member of a workspace":        {map[string]string{"package.json": `{"workspaces":["apps/*"],"scripts":{"dev":"turbo run dev"}}`, "apps/api/package.json": `{"scripts":{"dev":"nodemon src/app.js"},` + express + `}`, "apps/api/src/app.js": "app.listen(1)"}, "", Server},
		"a start script":                 {map[string]string{"package.json": `{"scripts":{"start":"node a.js","dev":"nodemon src/app.js"},` + express + `}`, "src/app.js": ""}, "node a.js", Server},
		"a file that node starts":        {map[string]string{"package.json": `{"scripts":{"dev":"nodemon src/app.js"},` + express + `}`, "server.js": "", "src/app.js": ""}, "", Server},
		"a site":                         {map[string]string{"package.json": `{"scripts":{"build":"node build.mjs","dev":"node tools/dev.mjs"}}`, "tools/dev.mjs": "createServer()"}, "", Site},
		"a development server of a tool": {map[string]string{"package.json": `{"scripts":{"build":"vite build","dev":"vite"}}`}, "", Site},
		"tools beside Django":            {map[string]string{"manage.py": "", "package.json": `{"scripts":{"dev":"node watch.mjs"},` + express + `}`, "watch.mjs": "app.listen(1)"}, "", Neither},
		"pages":                          {map[string]string{"package.json": `{"scripts":{"dev":"node dev.mjs"}}`, "dev.mjs": "createServer(f)", "index.html": ""}, "", Neither},
		"a tool":                         {map[string]string{"package.json": `{"scripts":{"dev":"node watch.mjs"}}`, "watch.mjs": "watch()"}, "", Neither},
		"node:http":                      {map[string]string{"package.json": `{"scripts":{"dev":"node --watch src/web.mjs"}}`, "src/web.mjs": "createServer(f)"}, "node src/web.mjs", Server},
		"one that builds first":          {map[string]string{"package.json": `{"scripts":{"build":"cd client && npm install && npm run build","server":"node server/index.js","start":"npm run build && npm run server"}}`}, "npm run server", Server},
		"one that migrates first":        {map[string]string{"package.json": `{"scripts":{"build":"tsc","migrate":"x","start":"npm run migrate && node server.js"}}`}, "npm run migrate && node server.js", Server},
		"a library":                      {map[string]string{"package.json": `{"scripts":{"test":"node --test"}}`, "src/index.js": "export const a = 1"}, "", Neither},
		"a file that is not there":       {map[string]string{"package.json": `{"scripts":{"dev":"nodemon src/app.js"},` + express + `}`}, "", Neither},
		"for Cloudflare":                 {map[string]string{"package.json": `{"scripts":{"dev":"tsx src/index.ts"},` + hono + `}`, "src/index.ts": "serve(app)", "wrangler.toml": ""}, "", Neither},
	} {
		app := bptest.Tree(t, tt.files)
		p, err := ReadPackage(app)
		if err != nil {
			t.Fatal(err)
		}
		if got, kind := p.startScript(), p.KindOf(app); got != tt.want || kind != tt.kind {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, kind, tt.want, tt.kind)
		}
	}
}

// TestDevelopedStart: what the compiler of TypeScript has made runs in place of the sources.
func TestDevelopedStart(t *testing.T) {
	app := bptest.Tree(t, map[string]string{"tsconfig.json": `{"compilerOptions":{"outDir":"./dist"}}`, "dist/server.js": "", "dist/src/other.js": ""})
	var said bytes.Buffer
	b := &build{app: app, pkg: &Package{}}
	b.Out = &said
	for line, want := range map[string]string{"tsx src/server.ts": "node dist/server.js", "ts-node ./src/other.ts": "node dist/src/other.js", "tsx src/none.ts": "tsx src/none.ts", "node src/a.js": "node src/a.js"} {
		b.pkg.dev = line
		if got := b.developedStart(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	if want := "package.json has no start script: the app is started by "; !bytes.Contains(said.Bytes(), []byte(want)) {
		t.Errorf("said %q", said.String())
	}
}
