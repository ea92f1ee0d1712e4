package function

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

// write lays out an app: "name: content" parts.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

type files = map[string]string

const (
	withFramework = `{"dependencies": {"@google-cloud/functions-framework": "^5.0.0"}}`
	samNode       = "Resources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties:\n      CodeUri: src/\n      Handler: app.lambdaHandler\n      Runtime: nodejs22.x\n      Environment: {Variables: {TABLE: !Ref Table}}\n"
	samPython     = "Globals: {Function: {Runtime: python3.11}}\nResources:\n  Table: {Type: AWS::DynamoDB::Table}\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties: {Handler: app.lambda_handler, CodeUri: .}\n"
)

// What each app is: contract, target, signature and evidence; "" for one that is no function.
var apps = []struct {
	name, language string
	files          files
	settings       string // of [io.gitd.function], as JSON
	want           string
}{
	{"no function", "nodejs", files{"index.js": "console.log(1)"}, "", ""},
	{"a server", "nodejs", files{"server": "x", "handler.js": "exports.handler = () => {}"}, "", ""},
	{"a server that says it is a function", "nodejs", files{"server": "x", "index.js": "exports.hello = (req, res) => {}"}, `{"target":"hello"}`,
		"functions-framework hello http by [io.gitd.function] in project.toml; index.js: exports.hello = (req, res)"},

	{"a target, of another language", "nodejs", files{"main.py": "def hello(request):\n    return 'x'\n", "requirements.txt": "functions-framework==3.*"}, `{"target":"hello"}`, ""},
	{"a target, of another language and by its file", "nodejs", files{"api/main.py": "def hello(request):\n    return 'x'\n"}, `{"target":"hello","source":"api/main.py"}`, ""},
	{"a target, of this language", "python", files{"main.py": "def hello(request):\n    return 'x'\n", "requirements.txt": "flask"}, `{"target":"hello"}`,
		"functions-framework hello http by [io.gitd.function] in project.toml; main.py: def hello(request)"},
	{"a target, in a file with another name", "nodejs", files{"hello.js": "exports.hello = (req, res) => {}"}, `{"target":"hello"}`,
		"error: there is no file with a function, though [io.gitd.function] in project.toml says that there is one: looked for index.js, index.mjs, index.cjs, index.ts; say which file has the function: [io.gitd.function] source"},

	{"framework, registered", "nodejs", files{"package.json": withFramework, "index.js": "const f = require('@google-cloud/functions-framework');\nf.cloudEvent('onEvent', (e) => {});\n"}, "",
		"functions-framework onEvent cloudevent by the framework in package.json; index.js: cloudEvent('onEvent', …)"},
	{"framework, two registered", "nodejs", files{"package.json": withFramework, "index.mjs": "import {http} from '@google-cloud/functions-framework';\nhttp('a', () => {});\nhttp('b', () => {});\n"}, "",
		"error: there are several functions: a, b; say which one it is: [io.gitd.function] target = \"a\""},
	{"framework, two registered, chosen", "nodejs", files{"package.json": withFramework, "index.mjs": "import {http} from '@google-cloud/functions-framework';\nhttp('a', () => {});\nhttp('b', () => {});\n"}, `{"target":"b"}`,
		"functions-framework b http by [io.gitd.function] in project.toml; index.mjs: http('b', …)"},
	{"framework, signature against the code", "nodejs", files{"package.json": withFramework, "index.js": "require('@google-cloud/functions-framework').http('a', () => {})\n"}, `{"target":"a","signature":"cloudevent"}`,
		"error: [io.gitd.function] signature is cloudevent, and index.js registers a as http; make signature = \"http\", or remove it"},
	{"framework, signature against the parameters", "nodejs", files{"index.js": "exports.a = (req, res) => {}\n"}, `{"target":"a","signature":"cloudevent"}`,
		"error: index.js: exports.a = (req, res) answers requests, which does not fit the signature cloudevent; have it take an event, or make signature = \"http\""},
	{"framework, signature against the parameters", "python", files{"main.py": "def a(request):\n    return 'x'\n"}, `{"target":"a","signature":"event"}`,
		"error: main.py: def a(request) answers requests, which does not fit the signature event; have it take an event, or make signature = \"http\""},
	{"framework, exported", "nodejs", files{"package.json": withFramework, "index.js": "module.exports = { hello };\nfunction hello(req, res) {}\n"}, "",
		"functions-framework hello http by the framework in package.json; index.js: module.exports = { hello }"},
	{"framework, not exported", "nodejs", files{"index.js": "exports.one = (req, res) => {};\nexports.two = async function (req) {}\n"}, `{"target":"three"}`,
		"error: index.js exports no function three; it exports one, two; say which one it is: [io.gitd.function] in project.toml"},
	{"framework, started by a script", "nodejs", files{"package.json": withFramework, "start": "functions-framework --target=hello --signature-type=cloudevent", "index.js": ""}, "",
		"functions-framework hello cloudevent by its start: functions-framework --target=hello --signature-type=cloudevent"},
	{"framework, legacy event", "nodejs", files{"fn/index.ts": "export const onFile = (data: object, context: Context): void => {}"}, `{"target":"onFile","signature":"event","source":"fn"}`,
		"functions-framework onFile event by [io.gitd.function] in project.toml; fn/index.ts: export const onFile = (data: object, context: Context): void"},

	{"knative", "nodejs", files{"func.yaml": "runtime: node\ninvoke: cloudevent\nrun:\n  envs:\n  - {name: A, value: b}\n  - {name: S, value: '{{ secret:x:y }}'}\n", "index.js": "const handle = async (context, event) => {}\nmodule.exports = { handle, init: () => {} };"}, "",
		"knative handle cloudevent by func.yaml; index.js: module.exports = { handle } env map[A:b] unset func.yaml: S"},
	{"knative by its shape", "nodejs", files{"index.mjs": "export const handle = async (context, body) => body"}, "", "knative handle http by index.mjs: export const handle = async (context, body)"},
	{"knative for another language", "nodejs", files{"func.yaml": "runtime: python\n", "index.js": "exports.handle = (context) => {}"}, "", ""},
	{"knative without a function", "nodejs", files{"func.yaml": "runtime: node\n", "index.js": "exports.other = 1\nexports.run = () => {}"}, "",
		"error: index.js exports no function handle; it exports run; say which one it is: [io.gitd.function] in project.toml"},
	{"func.yaml of another program", "nodejs", files{"func.yaml": "runtime: [node\n", "index.js": ""}, "", ""},
	{"func.yaml of another program, with other types", "nodejs", files{"func.yaml": "runtime: ours\ninvoke: grpc\nrun: ./main\nenvs: {A: b}\n", "index.js": ""}, "", ""},
	{"func.yaml that is too long", "nodejs", files{"func.yaml": "runtime: node\n#" + strings.Repeat("x", maxManifest), "index.js": ""}, "", ""},
	{"func.yaml with other types", "nodejs", files{"func.yaml": "runtime: node\nrun: ./main\n", "index.js": ""}, "", "error: func.yaml: line 2: cannot unmarshal !!str `./main`; correct it and push again"},
	{"func.yaml that is none", "nodejs", files{"func.yaml": "runtime: [node\n", "index.js": ""}, `{"contract":"knative"}`, "error: func.yaml: line 1: did not find expected ',' or ']'; correct it and push again"},
	{"template.yaml of another program", "nodejs", files{"template.yaml": "{{- range .Items }}\nname: {{ . }}\n{{- end }}\n", "index.js": ""}, "", ""},
	{"template.yaml of another program beside that of Lambda", "python", files{"template.yaml": "{{- range .Items }}\nname: {{ . }}\n{{- end }}\n", "sam.yaml": samPython, "app.py": "def lambda_handler(event, context):\n    return {}\n"}, "", "lambda app.lambda_handler by sam.yaml: Hello, Handler app.lambda_handler; app.py: def lambda_handler(event, context) at 1"},
	{"template.yaml that is none", "nodejs", files{"template.yaml": "{{- range .Items }}\n", "index.js": ""}, `{"contract":"lambda"}`, "error: template.yaml: did not find expected node content; correct it and push again"},
	{"func.yaml with another way", "nodejs", files{"func.yaml": "runtime: node\ninvoke: grpc\n"}, "", "error: func.yaml: invoke is \"grpc\"; write \"http\" or \"cloudevent\""},

	{"lambda by a setting", "nodejs", files{"app.mjs": "export const handler = async (event) => ({})"}, `{"contract":"lambda","handler":"app.handler"}`,
		"lambda app.handler by [io.gitd.function] in project.toml; app.mjs: export const handler = async (event) at 1"},
	{"lambda, not exported", "nodejs", files{"app.js": "exports.lambdaHandler = async (event) => ({})"}, `{"contract":"lambda","handler":"app.handler"}`,
		"error: app.js exports no function handler; it exports lambdaHandler; say which one it is: [io.gitd.function] in project.toml"},
	{"lambda for requests alone", "nodejs", files{"app.mjs": "export const handler = async (event) => ({})"}, `{"contract":"lambda","handler":"app.handler","signature":"http"}`,
		"lambda app.handler http by [io.gitd.function] in project.toml; app.mjs: export const handler = async (event) at 1"},
	{"bare, lambda for events of another kind", "nodejs", files{"handler.mjs": "export const handler = async (event, context) => ({statusCode: 200})"}, `{"signature":"event"}`,
		"error: a handler of AWS Lambda does not take events of before CloudEvents; make signature = \"http\" or \"cloudevent\", or remove it"},
	{"lambda, several at a time", "nodejs", files{"app.js": "exports.handler = async (event) => ({})"}, `{"contract":"lambda","concurrency":5}`,
		"error: a handler of AWS Lambda takes one request at a time, and app.js is one; remove concurrency from [io.gitd.function]"},
	{"lambda, with a callback", "nodejs", files{"app.js": "exports.handler = (event, context, callback) => callback(null, 1)"}, `{"handler":"app.handler"}`,
		"error: app.js: exports.handler = (event, context, callback) has a callback, which AWS' runtime for Node.js does not take any more; make it async, and return what it gives to the callback"},
	{"bare, lambda with a callback", "nodejs", files{"handler.mjs": "export async function handler(event, context, callback) {}"}, "",
		"error: handler.mjs: export async function handler(event, context, callback) has a callback, which AWS' runtime for Node.js does not take any more; make it async, and return what it gives to the callback"},
	{"lambda, a stream", "nodejs", files{"app.js": "exports.handler = awslambda.streamifyResponse(async (event, out, context) => {})"}, `{"handler":"app.handler"}`,
		"lambda app.handler by [io.gitd.function] in project.toml; app.js: exports.handler = awslambda.streamifyResponse(async (event, out, context) at 1"},
	{"lambda by a template", "nodejs", files{"template.yaml": samNode, "src/app.mjs": "export const lambdaHandler = async (event, context) => {}"}, "",
		"lambda src/app.lambdaHandler by template.yaml: Hello, Handler app.lambdaHandler; src/app.mjs: export const lambdaHandler = async (event, context) at 1 unset template.yaml: TABLE"},
	{"lambda by a template, with variables", "nodejs", files{"template.yaml": "Globals: {Function: {Runtime: nodejs22.x, Environment: {Variables: {STAGE: test, PORTION: 5, KEY: !Ref Key}}}}\nResources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties: {Handler: app.handler, Environment: {Variables: {STAGE: live, EMPTY: \"\", SECRET: '{{resolve:ssm:x}}'}}}\n", "app.mjs": "export const handler = async (event) => {}"}, "",
		"lambda app.handler by template.yaml: Hello, Handler app.handler; app.mjs: export const handler = async (event) at 1 env map[EMPTY: PORTION:5 STAGE:live] unset template.yaml: KEY, SECRET"},
	{"two functions in a template", "nodejs", files{"template.yaml": samNode + strings.TrimPrefix(strings.ReplaceAll(samNode, "Hello", "Bye"), "Resources:\n"), "src/app.mjs": "export const lambdaHandler = 1"}, "", ""},
	{"two contracts", "nodejs", files{"func.yaml": "runtime: node", "template.yaml": strings.ReplaceAll(samNode, "src/", "."), "index.js": "exports.handle = (context, body) => {}", "app.mjs": "export const lambdaHandler = async (event) => {}"}, "",
		"knative handle http by func.yaml; index.js: exports.handle = (context, body) also lambda by template.yaml: Hello, Handler app.lambdaHandler; app.mjs: export const lambdaHandler = async (event)"},
	{"two contracts, chosen", "nodejs", files{"func.yaml": "runtime: node", "template.yaml": strings.ReplaceAll(samNode, "src/", "."), "index.js": "exports.handle = (context, body) => {}", "app.mjs": "export const lambdaHandler = async (event) => {}"}, `{"contract":"lambda"}`,
		"lambda app.lambdaHandler by template.yaml: Hello, Handler app.lambdaHandler; app.mjs: export const lambdaHandler = async (event) at 1 also knative by func.yaml; index.js: exports.handle = (context, body) unset template.yaml: TABLE"},

	{"bare", "nodejs", files{"handler.js": "module.exports = (req, res) => { res.send('hi') }"}, "", "functions-framework default http by handler.js: module.exports = (req, res)"},
	{"bare, event", "nodejs", files{"handler.ts": "import type { X } from './x'\nexport async function handler(event: CloudEvent<string>): Promise<void> {\n}"}, "", "functions-framework handler cloudevent by handler.ts: export async function handler(event: CloudEvent<string>)"},
	{"bare, lambda", "nodejs", files{"handler.mjs": "export const handler = async (event, context) => ({statusCode: 200})"}, "", "lambda handler.handler by handler.mjs: export const handler = async (event, context) at 1"},
	{"bare, knative", "nodejs", files{"handler.cjs": "exports.handle = async (context, body) => body"}, "", "knative handle http by handler.cjs: exports.handle = async (context, body)"},
	{"bare, the only one", "nodejs", files{"handler.js": "exports.greet = (req, res) => res.send('x')"}, "", "functions-framework greet http by handler.js: exports.greet = (req, res)"},
	{"bare, none of several", "nodejs", files{"handler.js": "exports.a = () => 1\nexports.b = () => 2"}, "", ""},
	{"bare, beside a program", "nodejs", files{"handler.js": "exports.handler = () => 1", "program": ""}, "", ""},
	{"bare, beside a program, chosen", "nodejs", files{"handler.js": "exports.handler = (req, res) => 1", "program": ""}, `{"concurrency":2}`, "functions-framework handler http by handler.js: exports.handler = (req, res) at 2"},
	{"bare, in Rust", "nodejs", files{"handler.js": "exports.handler = () => 1", "Cargo.toml": ""}, "", ""},
	{"bare, none of several, chosen", "nodejs", files{"handler.js": "exports.a = () => 1\nexports.b = () => 2"}, `{"concurrency":2}`, "error: handler.js exports no function handler; it exports a, b; say which one it is: [io.gitd.function] in project.toml"},
	{"bare, in a site", "nodejs", files{"handler.js": "exports.handler = () => 1", "index.html": ""}, "", ""},
	{"bare, beside Python", "nodejs", files{"handler.js": "exports.handler = () => 1", "requirements.txt": ""}, "", ""},

	{"framework, registered", "python", files{"requirements.txt": "Functions_Framework==3.*\n", "main.py": "import functions_framework\n\n@functions_framework.cloud_event\ndef on(event):\n    pass\n"}, "",
		"functions-framework on cloudevent by the framework in requirements.txt; main.py: @functions_framework.cloud_event def on"},
	{"framework, async", "python", files{"requirements.txt": "functions-framework\n", "main.py": "import functions_framework.aio\n\n@functions_framework.aio.cloud_event\nasync def on(event):\n    pass\n"}, "",
		"functions-framework on cloudevent by the framework in requirements.txt; main.py: @functions_framework.aio.cloud_event def on"},
	{"lambda, async", "python", files{"handler.py": "async def handler(event, context):\n    return {}\n"}, "",
		"error: handler.py: async def handler(event, context) is async, which AWS' runtime for Python does not wait for; make it def handler(…), and call what is async by asyncio.run(…)"},
	{"framework, undecorated", "python", files{"pyproject.toml": "[project]\ndependencies = [\n  \"functions-framework>=3\",\n]\n", "main.py": "def hello(request):\n    return 'x'\n"}, "",
		"functions-framework hello http by the framework in pyproject.toml; main.py: def hello(request)"},
	{"framework, not defined", "python", files{"main.py": "def a(request): pass\ndef b(\n    request,\n): pass\n"}, `{"target":"c"}`, "error: main.py exports no function c; it exports a, b; say which one it is: [io.gitd.function] in project.toml"},
	{"knative, instanced", "python", files{"func.yaml": "runtime: python\n", "function/func.py": "def new():\n    return Function()\n", "function/__init__.py": "from .func import new\n"}, "", "knative new http by func.yaml; function/func.py: def new()"},
	{"knative, as it was", "python", files{"func.yaml": "runtime: python\ninvoke: http\n", "func.py": "def main(context):\n    return 'x', 200\n"}, "", "knative main http by func.yaml; func.py: def main(context)"},
	{"knative, static", "python", files{"func.py": "async def handle(scope, receive, send):\n    pass\n"}, "", "knative handle http by func.py: async def handle(scope, receive, send)"},
	{"lambda by a template", "python", files{"template.yml": samPython, "app.py": "def lambda_handler(event, context):\n    return {}\n"}, "", "lambda app.lambda_handler by template.yml: Hello, Handler app.lambda_handler; app.py: def lambda_handler(event, context) at 1"},
	{"lambda by its library", "python", files{"requirements.txt": "awslambdaric\n", "lambda_function.py": "handler = Mangum(app)\n"}, "", "lambda lambda_function.handler by the runtime's library in requirements.txt; lambda_function.py: handler = Mangum(app) at 1"},
	{"bare", "python", files{"handler.py": "import os\n\ndef handle(request):\n    return 'x'\n"}, "", "functions-framework handle http by handler.py: def handle(request)"},
	{"bare, event", "python", files{"handler.py": "def handler(cloud_event): pass\n"}, "", "functions-framework handler cloudevent by handler.py: def handler(cloud_event)"},
	{"bare, lambda", "python", files{"handler.py": "def _helper(x): pass\ndef handler(event, context): pass\n"}, "", "lambda handler.handler by handler.py: def handler(event, context) at 1"},
	{"bare, as AWS names it", "python", files{"lambda_function.py": "import json\n\ndef lambda_handler(event, context):\n    return {}\n"}, "", "lambda lambda_function.lambda_handler by lambda_function.py: def lambda_handler(event, context) at 1"},
	{"bare, a module of that name", "python", files{"lambda_function.py": "def square(x):\n    return x * x\n"}, "", ""},
	{"bare, with packages", "python", files{"handler.py": "def handler(request): pass\n", "requirements.txt": "requests\n"}, "", "functions-framework handler http by handler.py: def handler(request)"},
	{"nothing of it", "python", files{"app.js": "exports.handler = 1"}, `{"contract":"lambda","handler":"app.handler"}`, ""},
}

func TestFind(t *testing.T) {
	server := func(app string) string { return kit.Pick(kit.Exists(app, "server"), "a server", "") }
	program := func(app string) string { return kit.Pick(kit.Exists(app, "program"), "a program", "") }
	starts := func(app string) string { return kit.Text(app, "start") }
	for _, a := range apps {
		t.Run(a.language+"/"+a.name, func(t *testing.T) {
			l := map[string]func(server, program, starts func(string) string) Language{"nodejs": NodeJS, "python": Python}[a.language](server, program, starts)
			app := write(t, a.files)
			f, err := Find(app, kit.Env{catalog.FunctionVariable: a.settings}, l)
			got := ""
			switch {
			case err != nil:
				got = "error: " + kit.Line(err)
			case f != nil:
				got = strings.ReplaceAll(fmt.Sprintf("%s %s %s by %s", f.Contract, f.Target, f.Signature, f.Evidence), "  ", " ")
				if f.Concurrency > 0 {
					got += fmt.Sprintf(" at %d", f.Concurrency)
				}
				for _, o := range f.Also {
					got += fmt.Sprintf(" also %s by %s", o.Contract, o.Evidence)
				}
				if len(f.Env) > 0 {
					got += fmt.Sprintf(" env %v", f.Env)
				}
				if file, names := f.unresolved(app); len(names) > 0 {
					got += " unset " + file + ": " + strings.Join(names, ", ")
				}
			}
			if got != a.want {
				t.Errorf("\ngot  %s\nwant %s", got, a.want)
			}
		})
	}
}

// gitd-lambda is told what requests become.
func TestLambdaProcess(t *testing.T) {
	for want, p := range map[string][]string{
		"--handler a.b --signature http -- run it": LambdaProcess("a.b", function.HTTP, "run", "it").Arguments,
		"-- run": LambdaProcess("", "", "run").Arguments,
	} {
		if got := strings.Join(p, " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// What is parsed is not trusted: nothing may make the parsers panic or take long.
func FuzzExports(f *testing.F) {
	for _, a := range apps {
		for _, text := range a.files {
			f.Add(text)
		}
	}
	f.Add("module.exports = {" + strings.Repeat("{", 1000))
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		for _, name := range []string{"index.js", "main.py", "func.yaml", "template.yaml", "package.json"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		none := func(string) string { return "" }
		for _, l := range []Language{NodeJS(none, none, none), Python(none, none, none)} {
			_, _ = Find(dir, kit.Env{}, l)
		}
	})
}
