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

const expressApp = "import express from 'express'\nconst app = express()\napp.get('/', (q, r) => { r.send('hello') })\n\nexport default app\n"

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
	const pkg, express = `{"dependencies":{"hono":"4"}}`, `{"dependencies":{"express":"5"}}`
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
		{"Express", map[string]string{"package.json": express, "src/index.ts": expressApp}, "src/index.ts"},
		{"Express by require", map[string]string{"package.json": express, "index.js": "const express = require('express');\nconst app = express();\nmodule.exports = app;\n"}, "index.js"},
		{"Express, with a server beside it", map[string]string{"package.json": express, "app.js": expressApp, "server.js": "import app from './app.js'\napp.listen(3000)\n"}, ""},
		{"Express, with a program that nodemon runs", map[string]string{"package.json": `{"scripts":{"dev":"nodemon server/run.js"},"dependencies":{"express":"5"}}`, "app.js": expressApp, "server/run.js": "require('http').createServer(require('../app')).listen(3000)\n"}, ""},
		{"Vercel's folder", map[string]string{"package.json": `{"dependencies":{"fastify":"4"}}`, "api/index.js": "export default async function handler(req, reply) {\n  reply.end('x')\n}\n"}, "api/index.js"},
		{"Vercel's folder, CommonJS", map[string]string{"package.json": `{}`, "api/index.js": "module.exports = (req, res) => {\n  res.end('x')\n}\n"}, "api/index.js"},
		{"Vercel's folder beside pages", map[string]string{"package.json": `{}`, "index.html": "x", "api/index.js": "module.exports = (req, res) => {\n  res.end('x')\n}\n"}, ""},
		{"a middleware", map[string]string{"package.json": `{}`, "index.js": "module.exports = function (options, next) {\n}\n"}, ""},
	} {
		dir := bptest.Tree(t, tt.files)
		p, err := ReadPackage(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := p.handlerFile(dir); got != tt.want || tt.want != "" && p.KindOf(dir) != Server {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
