package python

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function/functiontest"
)

// functionRun is bptest.Function with the tools of this machine.
func functionRun(t *testing.T, files map[string]string, file string) (serve func(text string) *bptest.Served) {
	t.Helper()
	out := &bytes.Buffer{}
	bp := pack(t, out)
	bp.Lambda = bptest.LambdaProgram(t)
	return bptest.Function(t, bptest.New(t, catalog.Python), bp, out, files, file)
}

// What is wrong with a function is told in its own words, and the process ends before it listens.
func TestFunction(t *testing.T) {
	serve := functionRun(t, map[string]string{"handler.py": "def handler(request): pass\n"}, "handler.py")
	for _, tt := range []struct{ name, source, want string }{
		{"throws at load", "raise RuntimeError('no database today')\ndef handler(request): pass\n", "RuntimeError: no database today"},
		{"a syntax error", "def handler(request):\n", "handler.py\", line 1"},
		{"not there after all", "def handler(request): pass\ndef other(x): pass\ndel handler\n", "handler.py has no function handler: it has handler, other"},
	} {
		if got := serve(tt.source).Ended(); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	s := serve("def handler(request):\n    if request.args:\n        raise ValueError('of this call')\n    return f'{request.method} {request.get_json()}'\n")
	s.Ready()
	if status, body := s.Do("POST", "/x", `{"n": 1}`, "content-type: application/json"); status != 200 || body != "POST {'n': 1}" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.Do("GET", "/?fail=1", ""); status != 500 || !s.Wrote("ValueError: of this call") {
		t.Errorf("%d %s\n%s", status, body, s.Output())
	}
}

// What serves a function is installed again where it changes and the requirements do not, though the environment of the build before is not here.
func TestFunction_Again(t *testing.T) {
	out := &bytes.Buffer{}
	bp, r := pack(t, out), bptest.New(t, catalog.Python)
	for _, value := range []string{"one", "two"} {
		if _, err := r.Build(bp, map[string]string{"func.yaml": "runtime: python\nrun: {envs: [{name: NAMED, value: " + value + "}]}\n", "func.py": "def main(context): return 'a context', 200\n"}); err != nil {
			t.Fatalf("%s\n%s", kit.Line(err), out)
		}
	}
	if !r.Reused("venv") || r.Reused("function") {
		t.Errorf("reused: the environment %v, what serves the function %v\n%s", r.Reused("venv"), r.Reused("function"), out)
	}
}

const writeOutput = "import json, time\ndef write(v):\n    with open('function_output.json', 'w') as f:\n        json.dump(v, f)\n"

// What the conformance suite of the Functions Framework asks, and what a receiver of CloudEvents owes, of the wrapper that is built.
func TestFunction_Conformance(t *testing.T) {
	serve := functionRun(t, map[string]string{"handler.py": "def handler(request): pass\n"}, "handler.py")
	s := serve(writeOutput + "def handler(request):\n    write(request.get_json())\n    time.sleep(1)\n    return 'ok'\n").Ready()
	functiontest.HTTP(t, s.URL, s.Dir)
	functiontest.Concurrent(t, s.URL, "application/json", `{"data":"hello"}`)
	s.Stop()

	serve = functionRun(t, map[string]string{"handler.py": "def handler(event): pass\n"}, "handler.py")
	s = serve(writeOutput + "def handler(event):\n    if event['type'] == 'fail':\n        raise ValueError('of this call')\n    e = {k: v for k, v in event.get_attributes().items()}\n    if e['id'] != 'a-1': del e['time']\n    write({**e, 'data': event.data})\n").Ready()
	functiontest.CloudEvents(t, s.URL, s.Dir)
	for _, tt := range []struct {
		name, method, body string
		header             []string
		status             int
		want               string
	}{
		{"a batch", "POST", "[]", []string{"content-type: application/cloudevents-batch+json; charset=utf-8"}, 415, "a batch of CloudEvents is not taken"},
		{"no event", "POST", `{"a": 1}`, []string{"content-type: application/json"}, 400, ""},
		{"no id", "POST", `{"specversion": "1.0", "type": "a", "source": "/b"}`, []string{"content-type: application/cloudevents+json"}, 400, ""},
		{"GET", "GET", "", nil, 405, ""},
		{"it throws", "POST", "", []string{"ce-specversion: 1.0", "ce-id: 1", "ce-source: /b", "ce-type: fail"}, 500, ""},
		{"an event of before CloudEvents", "POST", `{"context": {"eventId": "1147", "timestamp": "2020-04-23T07:38:57.772Z", "eventType": "google.storage.object.finalize", "resource": {"service": "storage.googleapis.com", "name": "projects/_/buckets/some-bucket/objects/folder/Test.cs", "type": "storage#object"}}, "data": {"bucket": "some-bucket"}}`, []string{"content-type: application/json"}, 200, ""},
	} {
		if status, body := s.Do(tt.method, "/", tt.body, tt.header...); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s", tt.name, status, body)
		}
	}
	if !s.Wrote("ValueError: of this call") {
		t.Errorf("what the function threw is not in the log:\n%s", s.Output())
	}
}

// A function that is async is waited for, by the framework's server for such: one of events would be answered with 200 and never run.
func TestFunction_Async(t *testing.T) {
	serve := functionRun(t, map[string]string{"handler.py": "async def handler(event): pass\n"}, "handler.py")
	const wait = "import asyncio\nasync def handler(event):\n    await asyncio.sleep(0.001)\n    if event['type'] == 'fail': raise ValueError('of this call')\n"
	s := serve(writeOutput + wait + "    e = dict(event.get_attributes())\n    if e['id'] != 'a-1': del e['time']\n    write({**e, 'data': event.data})\n").Ready()
	functiontest.CloudEvents(t, s.URL, s.Dir)
	functiontest.Refused(t, s.URL, s.Dir)
	if status, body := s.Do("POST", "/", "", "ce-specversion: 1.0", "ce-id: 1", "ce-source: /b", "ce-type: fail"); status != 500 || !s.Wrote("ValueError: of this call") {
		t.Errorf("%d %s\n%s", status, body, s.Output())
	}
	s.Stop()

	serve = functionRun(t, map[string]string{"handler.py": "async def handler(request): pass\n"}, "handler.py")
	s = serve(writeOutput + "import asyncio\nasync def handler(request):\n    write(await request.json())\n    await asyncio.sleep(1)\n    return 'ok'\n").Ready()
	functiontest.HTTP(t, s.URL, s.Dir)
	functiontest.Concurrent(t, s.URL, "application/json", `{"data":"hello"}`)
	s.Stop()

	// Declared to the framework: as one of its module for them, or as one of events; one of requests would get another request than it was written for.
	const declared = "from functions_framework import aio, cloud_event, http\n"
	serve = functionRun(t, map[string]string{"requirements.txt": "functions-framework==3.10.2\n", "main.py": declared + "@aio.http\nasync def hello(request): pass\n"}, "main.py")
	s = serve(declared + "@aio.http\nasync def hello(request): return {'path': request.url.path}\n").Ready()
	if status, body := s.Do("GET", "/x", ""); status != 200 || body != `{"path":"/x"}` {
		t.Errorf("%d %s", status, body)
	}
	s.Stop()
	if got := serve(declared + "@http\nasync def hello(request): pass\n").Ended(); !strings.Contains(got, "hello of main.py is async: declare it by @functions_framework.aio.http") {
		t.Error(got)
	}
	serve = functionRun(t, map[string]string{"requirements.txt": "functions-framework==3.8.3\n", "main.py": declared[:len("from functions_framework import ")] + "cloud_event\n@cloud_event\ndef hello(e): pass\n"}, "main.py")
	if got := serve("from functions_framework import cloud_event\n@cloud_event\nasync def hello(e): pass\n").Ended(); !strings.Contains(got, "hello of main.py is async, which functions-framework serves from version 3.9 on") {
		t.Error(got)
	}
}

// Functions of Knative of both kinds, and a handler of AWS Lambda, each by its own library.
func TestFunction_Contracts(t *testing.T) {
	const instance = "def new(): return F()\nclass F:\n    def start(self, cfg): print('started', flush=True)\n    def ready(self): return True, 'so ready'\n    async def handle(self, scope, receive, send):\n"
	serve := functionRun(t, map[string]string{"func.yaml": "runtime: python\ninvoke: cloudevent\n", "function/func.py": instance + "        pass\n", "function/__init__.py": "from .func import new\n"}, "function/func.py")
	s := serve(writeOutput + instance + "        e = scope['event']\n        if e.get_type() == 'fail': raise ValueError('of this call')\n        a = {k: (v.isoformat() if hasattr(v, 'isoformat') else v) for k, v in e.get_attributes().items()}\n        if a['id'] != 'a-1': a.pop('time', None)\n        write({**a, 'data': e.get_data()})\n        await send.http({'type': 'http.response.start', 'status': 204, 'headers': []})\n        await send.http({'type': 'http.response.body', 'body': b''})\n").Ready()
	functiontest.CloudEvents(t, s.URL, s.Dir)
	if status, body := s.Do("GET", "/health/readiness", ""); status != 200 || body != "so ready" || !s.Wrote("started") {
		t.Errorf("readiness: %d %s\n%s", status, body, s.Output())
	}
	for kind, want := range map[string]int{"application/cloudevents-batch+json": 415, "application/cloudevents+json": 400, "application/json": 400} {
		if status, body := s.Do("POST", "/", `{"specversion": "1.0"}`, "content-type: "+kind); status != want {
			t.Errorf("%s: %d %s", kind, status, body)
		}
	}
	if status, body := s.Do("POST", "/", strings.Repeat("x", 10<<20+1), "ce-specversion: 1.0", "ce-id: 1", "ce-source: /b", "ce-type: a"); status != 413 {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.Do("POST", "/", "", "ce-specversion: 1.0", "ce-id: 1", "ce-source: /b", "ce-type: fail"); status != 500 || !s.Wrote("ValueError: of this call") {
		t.Errorf("%d %s\n%s", status, body, s.Output())
	}
	s.Stop()

	serve = functionRun(t, map[string]string{"func.yaml": "runtime: python\nrun: {envs: [{name: NAMED, value: by func.yaml}]}\n", "func.py": "def main(context): pass\n"}, "func.py")
	s = serve("import os\ndef main(context):\n    if context.cloud_event: return context.cloud_event['id'], 200\n    return context.request.args.get('a', '') + os.environ['NAMED'], 201\n").Ready()
	if status, body := s.Do("GET", "/?a=b", ""); status != 201 || body != "bby func.yaml" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.Do("POST", "/", "", "ce-specversion: 1.0", "ce-id: e-1", "ce-source: /b", "ce-type: c"); status != 200 || body != "e-1" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.Do("POST", "/", "", "ce-specversion: 1.0", "ce-id: e-1", "ce-source: /b", "ce-type: c", "prefer: reply"); status != 204 || body != "" || !s.Wrote("the function's answer to an event is dropped") {
		t.Errorf("%d %s\n%s", status, body, s.Output())
	}
	s.Stop()
	serve("")

	serve = functionRun(t, map[string]string{"src/app.py": "def handler(event, context): pass\n", "template.yaml": "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Handler: app.handler, CodeUri: src, Runtime: python3.11}}}\n"}, "src/app.py")
	s = serve("def handler(event, context):\n    if event['rawPath'] == '/fail': raise TypeError('of this call')\n    return {'statusCode': 201, 'body': event['requestContext']['http']['method'] + event['rawPath']}\n").Ready()
	if status, body := s.Do("POST", "/x", "{}"); status != 201 || body != "POST/x" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := s.Do("GET", "/fail", ""); status < 500 || !s.Wrote("TypeError") || !s.Wrote("app.py") {
		t.Errorf("%d %s\n%s", status, body, s.Output())
	}
	s.Stop()
	if got := serve("raise RuntimeError('no database today')\n").Ended(); !strings.Contains(got, "no database today") {
		t.Error(got)
	}
}
