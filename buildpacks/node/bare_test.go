package node

import (
	"cmp"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// A file handler.js counts where there is no other program, or project.toml says so.
func TestFindFunction_Bare(t *testing.T) {
	const bare = "exports.handler = (req, res) => res.send('')\n"
	find := func(app string, env kit.Env) (bool, error) {
		f, err := findFunction(app, env)
		return f != nil, err
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  bool
	}{
		{"alone", map[string]string{}, true},
		{"with packages", map[string]string{"package.json": `{"dependencies": {"a": "1"}}`}, true},
		{"with a module", map[string]string{"db.js": ""}, true},
		{"main is the function", map[string]string{"package.json": `{"main": "./handler.js"}`}, true},
		{"with a step of the release", map[string]string{"Procfile": "release: node db.js\n"}, true},
		{"index.js", map[string]string{"package.json": `{}`, "index.js": "require('./lib').start()"}, false},
		{"server.js", map[string]string{"server.js": "require('./lib').start()"}, false},
		{"app.mjs", map[string]string{"package.json": `{}`, "app.mjs": ""}, false},
		{"main", map[string]string{"package.json": `{"main": "src/run.js"}`, "src/run.js": ""}, false},
		{"main without the ending", map[string]string{"package.json": `{"main": "src/run"}`, "src/run.js": ""}, false},
		{"main is a folder", map[string]string{"package.json": `{"main": "src"}`, "src/index.js": ""}, false},
		{"a worker", map[string]string{"package.json": `{}`, "Procfile": "worker: node work.js\n"}, false},
		{"bun", map[string]string{"package.json": `{}`, "bun.lock": "", "index.ts": "start()"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.files["handler.js"] = cmp.Or(tt.files["handler.js"], bare)
			bptest.FindBare(t, bptest.Tree(t, tt.files), "handler.js", tt.want, find)
		})
	}
}

// A file as AWS' console makes one is started as a program, which ends at once: the log says what it may be.
func TestPerhapsFunction(t *testing.T) {
	for text, want := range map[string]string{
		"export const handler = async (event) => ({ statusCode: 200 });":                                                         "index.mjs exports handler, and seems to start no server; if it is a function of AWS Lambda, write into project.toml: [io.gitd.function] handler = \"index.handler\"",
		"import http from 'node:http';\nexport const handler = (req, res) => res.end();\nhttp.createServer(handler).listen(80);": "",
		"export const app = express();": "",
		"console.log(1)":                "",
	} {
		if got := perhapsFunction(bptest.Tree(t, map[string]string{"index.mjs": text}), "index.mjs"); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
