package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/internal/function/functiontest"
)

// functionRun is bptest.Function with the tools of this machine.
func functionRun(t *testing.T, files map[string]string, file string) (serve func(text string) *bptest.Served) {
	t.Helper()
	bp, out := tools(t)
	bp.Lambda = bptest.LambdaProgram(t)
	r := bptest.New(t, catalog.NodeJS)
	client(t, r)
	return bptest.Function(t, r, bp, out, files, file)
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
	if status, body := s.Do("GET", "/?fail=1", ""); status != 500 || !s.Wrote("Error: of this call\n    at handler") {
		t.Errorf("%d %s\n%s", status, body, s.Output())
	}
}

const writeOutput = "const { writeFileSync } = require('node:fs');\n"

// What the conformance suite of the Functions Framework asks, and what a receiver of CloudEvents owes, of the wrapper that is built.
func TestFunction_Conformance(t *testing.T) {
	serve := functionRun(t, map[string]string{"handler.cjs": "exports.handler = (req, res) => res.send('')"}, "handler.cjs")
	s := serve(writeOutput + "exports.handler = (req, res) => { writeFileSync('function_output.json', JSON.stringify(req.body)); setTimeout(() => res.send('ok'), 1000); }").Ready()
	functiontest.HTTP(t, s.URL, s.Dir)
	functiontest.Concurrent(t, s.URL, "application/json", `{"data":"hello"}`)
	s.Stop()

	serve = functionRun(t, map[string]string{"handler.cjs": "exports.handler = (event) => {}"}, "handler.cjs")
	s = serve(writeOutput + "exports.handler = async (event) => { if (event.type === 'fail') throw new Error('of this call'); writeFileSync('function_output.json', JSON.stringify(event)); }").Ready()
	functiontest.CloudEvents(t, s.URL, s.Dir)
	receiver(t, s)
	if status, body := s.Do("POST", "/", "\x00\xff", "ce-specversion: 1.0", "ce-id: 1", "ce-source: /b", "ce-type: bytes", "content-type: application/octet-stream"); status >= 300 {
		t.Errorf("%d %s", status, body)
	}
	if got, err := os.ReadFile(filepath.Join(s.Dir, functiontest.Output)); err != nil || !strings.Contains(string(got), `"data":{"type":"Buffer","data":[0,255]}`) {
		t.Errorf("%s, %v", got, err)
	}
	answers(t, serve("exports.handler = async (e) => {"+answering+"}").Ready())
	// An event of before CloudEvents becomes one.
	if status, body := s.Do("POST", "/", legacy, "content-type: application/json"); status >= 300 {
		t.Errorf("%d %s", status, body)
	}
	if got, err := os.ReadFile(filepath.Join(s.Dir, functiontest.Output)); err != nil || !strings.Contains(string(got), "google.cloud.storage.object.v1.finalized") {
		t.Errorf("%s, %v", got, err)
	}
}

// legacy is an event as Google's services sent them before CloudEvents.
const legacy = `{"context": {"eventId": "1147", "timestamp": "2020-04-23T07:38:57.772Z", "eventType": "google.storage.object.finalize", "resource": {"service": "storage.googleapis.com", "name": "projects/_/buckets/some-bucket/objects/folder/Test.cs", "type": "storage#object"}}, "data": {"bucket": "some-bucket"}}`

// receiver checks what a function of events answers to what is none, or none that it takes.
func receiver(t *testing.T, s *bptest.Served) {
	t.Helper()
	const structured = "content-type: application/cloudevents+json"
	for _, tt := range []struct {
		name, method, body string
		header             []string
		status             int
		want               string
	}{
		{"a batch", "POST", "[]", []string{"content-type: application/cloudevents-batch+json; charset=utf-8"}, 415, "a batch of CloudEvents is not taken"},
		{"no event", "POST", `{"a": 1}`, []string{"content-type: application/json"}, 400, ""},
		{"no body", "POST", "", nil, 400, ""},
		{"no id", "POST", `{"specversion": "1.0", "type": "a", "source": "/b"}`, []string{structured}, 400, ""},
		{"no JSON", "POST", `{`, []string{structured}, 400, ""},
		{"GET", "GET", "", nil, 405, ""},
		{"it throws", "POST", "", []string{"ce-specversion: 1.0", "ce-id: 1", "ce-source: /b", "ce-type: fail"}, 500, ""},
	} {
		if status, body := s.Do(tt.method, "/", tt.body, tt.header...); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s", tt.name, status, body)
		}
	}
	if !s.Wrote("of this call") {
		t.Errorf("what the function threw is not in the log:\n%s", s.Output())
	}
}

// A function of Knative, and a handler of AWS Lambda, each by its own library.
func TestFunction_Contracts(t *testing.T) {
	serve := functionRun(t, map[string]string{"func.yaml": "runtime: node\ninvoke: cloudevent\nrun: {envs: [{name: NAMED, value: by func.yaml}]}\n", "index.js": "exports.handle = (context, event) => {}"}, "index.js")
	s := serve(writeOutput + "module.exports = { handle: async (context, event) => { if (event?.type === 'fail' || !event) throw new Error('of this call'); const e = { ...event }; if (e.id !== 'a-1') delete e.time; writeFileSync('function_output.json', JSON.stringify(e)); return ''; }, init: () => console.log('init', process.env.NAMED) };").Ready()
	functiontest.CloudEvents(t, s.URL, s.Dir)
	if status, _ := s.Do("GET", "/health/readiness", ""); status != 200 || !s.Wrote("init by func.yaml") {
		t.Errorf("readiness: %d %s", status, s.Output())
	}
	for kind, want := range map[string]int{"application/cloudevents-batch+json": 415, "application/cloudevents+json": 400} {
		if status, body := s.Do("POST", "/", `{"specversion": "1.0"}`, "content-type: "+kind); status != want {
			t.Errorf("%s: %d %s", kind, status, body)
		}
	}
	if status, body := s.Do("POST", "/", "", "ce-specversion: 1.0", "ce-id: 1", "ce-source: /b", "ce-type: fail"); status != 500 || !s.Wrote("Error: of this call\n    at ") {
		t.Errorf("%d %s\n%s", status, body, s.Output())
	}
	s.Stop()
	answers(t, serve("exports.handle = async (context, e) => {"+answering+"}").Ready())
	serve("")

	serve = functionRun(t, map[string]string{"app.mjs": "export const handler = async (event) => {}", "template.yaml": "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Handler: app.handler, Runtime: nodejs22.x}}}\n"}, "app.mjs")
	s = serve("export const handler = async (event) => { if (event.rawPath === '/fail') throw new TypeError('of this call'); return { statusCode: 201, body: event.requestContext.http.method + event.rawPath } }").Ready()
	if status, body := s.Do("POST", "/x", "{}"); status != 201 || body != "POST/x" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.Do("GET", "/fail", ""); status < 500 || !s.Wrote("TypeError") || !s.Wrote("app.mjs:1") {
		t.Errorf("%d %s\n%s", status, body, s.Output())
	}
	s.Stop()
	if got := serve("throw new Error('no database today')").Ended(); !strings.Contains(got, "no database today") {
		t.Error(got)
	}
}
