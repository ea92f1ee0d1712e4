package node

import (
	"testing"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// stripping24 is a build with a Node.js that takes types away, which that of this machine may be too old for.
func stripping24(t *testing.T) *build {
	t.Helper()
	bp, out := tools(t)
	r := bptest.New(t, catalog.NodeJS)
	client(t, r)
	env := kit.NewEnv(r.Env)
	b := &build{Buildpack: bp, env: env, app: t.TempDir(), pkg: &Package{}}
	b.cache = kit.OpenCache(libcnb.BuildContext{Layers: libcnb.Layers{Path: t.TempDir()}}, env)
	w, err := wantedVersion(b.app, &Package{Engines: []byte(`{"node":"24.x"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if b.node, err = b.findNode(w); err != nil {
		t.Fatalf("%s\n%s", kit.Line(err), out)
	}
	return b
}

// Whether Node.js can run a source in TypeScript, what it imports included, or the app's own build has made a program of it.
func TestScriptSource(t *testing.T) {
	made := stripping24(t)
	const lib = "export type Words = string[];\nexport const words: Words = [];\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  string // what needsBundle says
		made  string // what madeOf says
	}{
		"types alone":                     {map[string]string{"lib.ts": lib, "handler.ts": "import { words, type Words } from './lib.ts';\nexport const handler = (r: unknown): Words => words;"}, "", ""},
		"a type that does not say so":     {map[string]string{"handler.ts": "import { Context, other as used } from 'faas-js-runtime';\n/** {Context} is told here alone. */\nexport const handle = async (c: Context): Promise<Context> => used(c);"}, "it imports Context, which is used as a type alone, without saying so", ""},
		"a whole module of types":         {map[string]string{"handler.ts": "import * as express from 'express';\nimport http from 'node:http';\nexport const handler = (r: express.Request) => http;"}, "it imports express, which is used as a type alone, without saying so", ""},
		"no ending":                       {map[string]string{"lib.ts": lib, "handler.ts": "import { words } from './lib';\nexport const handler = () => words;"}, "it imports ./lib without the ending of that file", ""},
		"syntax that is more":             {map[string]string{"handler.ts": "export enum Color { Red }\nexport const handler = () => Color.Red;"}, "it has syntax that is more than types", ""},
		"syntax that is more, in another": {map[string]string{"lib/color.ts": "export enum Color { Red }", "lib/index.ts": "export { Color } from './color.ts';", "handler.ts": "import { Color } from './lib/index.ts';\nexport const handler = () => Color.Red;"}, "lib/color.ts has syntax that is more than types", ""},
		"in a circle":                     {map[string]string{"lib.ts": "import { handler } from './handler.ts';\nexport const call = () => handler;", "handler.ts": "import { call } from './lib.ts';\nexport const handler = () => call;"}, "", ""},
		"made by the compiler":            {map[string]string{"handler.ts": "export const handler = 1", "tsconfig.json": "{\"compilerOptions\": {\n\"outDir\": \"./build\" /* here */}}", "build/handler.js": "", "package.json": `{"scripts":{"build":"tsc"}}`}, "", "build/handler.js"},
		"made elsewhere":                  {map[string]string{"handler.ts": "export const handler = 1", "build/handler.js": "", "package.json": `{"scripts":{"build":"tsc"}}`}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			app := bptest.Tree(t, tt.files)
			p, err := ReadPackage(app)
			if err != nil { // it has none
				p = &Package{}
			}
			b := &build{Buildpack: made.Buildpack, app: app, env: made.env, pkg: p, node: made.node}
			if got := b.needsBundle(&functions.Found{Source: "handler.ts"}); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if got := b.madeOf("handler.ts"); got != tt.made {
				t.Errorf("%q, want %q", got, tt.made)
			}
		})
	}
	app := bptest.Tree(t, map[string]string{"tsconfig.json": "{\"compilerOptions\": {\"outDir\": \"build\"}}", "build/index.js": ""})
	if got := (&build{app: app, pkg: &Package{Scripts: map[string]string{"build": "tsc"}}}).madeOf("src/index.ts"); got != "build/index.js" {
		t.Errorf("%q", got)
	}
}
