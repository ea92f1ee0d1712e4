package node

import (
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function/functiontest"
)

// What the Functions Framework's conformance suite asks, of functions of each type that the framework has for Node.js: registered ones of the framework of the app's package.json, and one of before CloudEvents.
func TestFunction_Framework(t *testing.T) {
	const registers = `const functions = require('@google-cloud/functions-framework');
const { writeFileSync } = require('node:fs');
const write = async (v) => {
  const text = JSON.stringify(v ?? null);
  if (/"hello"|nowhere\.com/.test(text)) await new Promise((done) => setTimeout(done, 1000));
  writeFileSync('function_output.json', text);
};
`
	bp, out := tools(t)
	const typed = "functions.typed('handle', async (v) => { await write(v); return { payload: v }; });\n"
	for _, tt := range []struct{ kind, source, settings string }{
		{"http", "functions.http('handle', async (req, res) => { await write(req.body); res.send('ok'); });\n", ""},
		{"typed", typed, ""},
		{"cloudevent", "functions.cloudEvent('handle', (event) => write(event));\n", ""},
		{"legacyevent", "exports.handle = (data, context) => write({ data, context });\n", `{"target":"handle","signature":"event"}`},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			r := bptest.New(t, catalog.NodeJS)
			client(t, r)
			if tt.settings != "" {
				r.Env[catalog.FunctionVariable] = tt.settings
			}
			version := "5.0.5"
			if tt.kind == "typed" {
				version = "3.5.1"
			}
			s := bptest.Function(t, r, bp, out, map[string]string{"package.json": `{"dependencies":{"@google-cloud/functions-framework":"` + version + `"}}`, "index.js": registers + tt.source}, "index.js")(registers + tt.source).Ready()
			defer s.Stop()
			functiontest.Framework(t, tt.kind, s.URL, s.Command())
		})
	}
	r := bptest.New(t, catalog.NodeJS)
	client(t, r)
	_, err := r.Build(bp, map[string]string{"package.json": `{"dependencies":{"@google-cloud/functions-framework":"5.0.5"}}`, "index.js": registers + typed})
	const want = "index.js registers handle as typed, which @google-cloud/functions-framework has in version 3 alone; the app gets 5.0.5; register it by http, or take version 3 of @google-cloud/functions-framework"
	if err == nil || kit.Line(err) != want {
		t.Errorf("%v", err)
	}
}
