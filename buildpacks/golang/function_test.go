package golang

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
	"github.com/gitd-io/gitd/internal/function/functiontest"
)

const (
	httpFunc   = "(w http.ResponseWriter, r *http.Request) {}\n"
	importHTTP = "import \"net/http\"\n"
	eventFile  = "package f\nimport (\n\t\"context\"\n\tce \"github.com/cloudevents/sdk-go/v2\"\n)\n"
	framework  = "module example.com/hello\n\ngo 1.24\n\nrequire github.com/GoogleCloudPlatform/functions-framework-go v1.9.2\n"
	events     = "module example.com/hello\n\ngo 1.24\n\nrequire github.com/cloudevents/sdk-go/v2 v2.16.2\n"
	lambdas    = "module example.com/hello\n\ngo 1.24\n\nrequire github.com/aws/aws-lambda-go v1.55.1\n"
	plain      = "module example.com/hello\n\ngo 1.24\n"
	registers  = "package hello\nimport \"github.com/GoogleCloudPlatform/functions-framework-go/functions\"\nfunc init() {\n\tfunctions.HTTP(\"Hello\", hello)\n}\nfunc hello" + httpFunc
	startsMain = "package main\nimport \"github.com/aws/aws-lambda-go/lambda\"\nfunc main() { lambda.Start(handle) }\n"
)

// settings are [io.gitd.function], as the platform hands them over.
func settings(t *testing.T, s function.Settings) map[string]string {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{catalog.FunctionVariable: string(text)}
}

func TestFindFunction(t *testing.T) {
	type files = map[string]string
	for _, tt := range []struct {
		name  string
		files files
		s     *function.Settings
		want  string // contract, target, signature, health, evidence; or the error
	}{
		{"an app", files{"go.mod": plain, "main.go": "package main\nfunc main() {}\n"}, nil, ""},
		{"a library", files{"go.mod": plain, "a.go": "package a\nfunc Do() {}\n"}, nil, ""},
		{"registered", files{"go.mod": framework, "f.go": registers}, nil, "functions-framework Hello http  f.go:4: functions.HTTP(\"Hello\", …)"},
		{"with a program for developers", files{"go.mod": framework, "f.go": registers, "cmd/main.go": "package main\nfunc main() {}\n"}, nil, "functions-framework Hello http  f.go:4: functions.HTTP(\"Hello\", …)"},
		{"a Procfile counts more", files{"go.mod": framework, "f.go": registers, "cmd/main.go": "package main\nfunc main() {}\n", "Procfile": "web: cmd\n"}, nil, ""},
		{"its program starts the framework", files{"go.mod": framework, "main.go": strings.Replace(registers, "package hello", "package main", 1) + "func main() {}\n"}, nil, "functions-framework Hello http  main.go:4: functions.HTTP(\"Hello\", …)"},
		{"in a folder alone, without go.mod", files{"f/f.go": registers}, nil, ""},
		{"several", files{"go.mod": framework, "f.go": strings.Replace(registers, "}\n", "\tfunctions.CloudEvent(\"Event\", nil)\n}\n", 1)}, nil, "the app registers several functions: Hello, Event; say which one it is: [io.gitd.function] target = \"Hello\""},
		{"one of several", files{"go.mod": framework, "f.go": strings.Replace(registers, "}\n", "\tfunctions.CloudEvent(\"Event\", nil)\n}\n", 1)}, &function.Settings{Target: "Event"}, "functions-framework Event cloudevent  f.go:5: functions.CloudEvent(\"Event\", …)"},
		{"another signature than registered", files{"go.mod": framework, "f.go": registers}, &function.Settings{Target: "Hello", Signature: function.CloudEvent}, "project.toml says that the signature is cloudevent, and f.go:4 registers Hello as http; make signature = \"http\", or remove it"},
		{"in a folder", files{"go.mod": framework, "internal/f/f.go": registers}, nil, "functions-framework Hello http  internal/f/f.go:4: functions.HTTP(\"Hello\", …)"},
		{"exported, named by project.toml", files{"go.mod": plain, "f.go": "package f\n" + importHTTP + "func Hello" + httpFunc}, &function.Settings{Target: "Hello"}, "functions-framework Hello http /health/readiness [io.gitd.function] in project.toml; f.go:3: func Hello(w http.ResponseWriter, r *http.Request)"},
		{"not exported", files{"go.mod": plain, "f.go": "package f\n" + importHTTP + "func hello" + httpFunc}, &function.Settings{Target: "Hello"}, "f.go:3: hello is not exported, and so no program can call it; write its name with a capital letter"},
		{"not there", files{"go.mod": plain, "f.go": "package f\n" + importHTTP + "func Hello" + httpFunc}, &function.Settings{Target: "Bye"}, "the app's package (package f) has no function Bye; it has Hello; say which one it is: [io.gitd.function] target, and source for its folder"},
		{"a signature that does not fit", files{"go.mod": plain, "f.go": "package f\n" + importHTTP + "func Hello" + httpFunc}, &function.Settings{Target: "Hello", Signature: function.CloudEvent}, "f.go:3: func Hello(w http.ResponseWriter, r *http.Request) does not fit the signature cloudevent; make it func([context.Context], event.Event) ([*event.Event], [error]), with the event of github.com/cloudevents/sdk-go/v2, or change the signature"},
		{"no signature", files{"go.mod": plain, "f.go": "package f\nfunc Hello(n int) int { return n }\n"}, &function.Settings{Target: "Hello"}, "f.go:2: func Hello(n int) int is not the signature of a function; make it func(http.ResponseWriter, *http.Request), or func([context.Context], event.Event) ([*event.Event], [error]), with the event of github.com/cloudevents/sdk-go/v2"},
		{"of before CloudEvents", files{"go.mod": plain, "f.go": "package f\nimport \"context\"\nfunc Hello(ctx context.Context, m map[string]any) error { return nil }\n"}, &function.Settings{Target: "Hello", Signature: function.Event}, "functions-framework Hello event  [io.gitd.function] in project.toml; f.go:3: func Hello(ctx context.Context, m map[string]any) error"},
		{"in a program", files{"go.mod": plain, "f.go": "package main\n" + importHTTP + "func main() {}\nfunc Hello" + httpFunc}, &function.Settings{Target: "Hello"}, "the app's package is a program with a main of its own, which cannot be imported; give the function a package of its own, or let main serve it and remove the settings"},

		{"Knative's, by its name", files{"go.mod": plain, "handle.go": "package function\n" + importHTTP + "func Handle" + httpFunc}, nil, "knative Handle http /health/readiness handle.go:3: func Handle(w http.ResponseWriter, r *http.Request)"},
		{"Knative's, by func.yaml", files{"go.mod": events, "func.yaml": "runtime: go\ninvoke: cloudevent\n", "handle.go": eventFile + "func Handle(ctx context.Context, e ce.Event) (*ce.Event, error) { return nil, nil }\n"}, nil, "knative Handle cloudevent /health/readiness func.yaml; handle.go:6: func Handle(ctx context.Context, e ce.Event) (*ce.Event, error)"},
		{"invoke does not fit", files{"go.mod": plain, "func.yaml": "runtime: go\ninvoke: cloudevent\n", "handle.go": "package f\n" + importHTTP + "func Handle" + httpFunc}, nil, "handle.go:3: func Handle(w http.ResponseWriter, r *http.Request) does not fit the signature cloudevent; make it func([context.Context], event.Event) ([*event.Event], [error]), with the event of github.com/cloudevents/sdk-go/v2, or change the signature"},
		{"an instance", files{"go.mod": plain, "f.go": "package f\n" + importHTTP + "type F struct{}\nfunc New() *F { return &F{} }\nfunc (*F) Handle" + httpFunc}, nil, "knative New http /health/readiness f.go:5: func (*F) Handle(w http.ResponseWriter, r *http.Request)"},
		{"both", files{"go.mod": plain, "f.go": "package f\n" + importHTTP + "type F struct{}\nfunc New() *F { return &F{} }\nfunc (*F) Handle" + httpFunc + "func Handle" + httpFunc}, nil, "the function has both forms: f.go:6: func Handle(w http.ResponseWriter, r *http.Request), and f.go:4: func New() *F; keep one of them"},
		{"a hook that would not be called", files{"go.mod": plain, "f.go": "package f\n" + importHTTP + "type F struct{}\nfunc New() *F { return &F{} }\nfunc (*F) Handle" + httpFunc + "func (f *F) Start() error { return nil }\n"}, nil, "f.go:6: func (f *F) Start() error would not be called; make it Start(context.Context, map[string]string) (error)"},
		{"func.yaml without a function", files{"go.mod": plain, "func.yaml": "runtime: go\n", "f.go": "package f\nfunc Run() {}\n"}, nil, "the app's package (package f) has no function Handle; it has Run; say which one it is: [io.gitd.function] target, and source for its folder"},
		{"func.yaml of another language", files{"go.mod": plain, "func.yaml": "runtime: node\n", "main.go": "package main\nfunc main() {}\n"}, nil, ""},
		{"Knative's, with the context first", files{"go.mod": plain, "func.yaml": "runtime: go\n", "f.go": "package f\nimport (\n\"context\"\n\"net/http\"\n)\nfunc Handle(ctx context.Context, w http.ResponseWriter, r *http.Request) {}\n"}, nil, "knative Handle http /health/readiness func.yaml; f.go:6: func Handle(ctx context.Context, w http.ResponseWriter, r *http.Request)"},

		{"Lambda's", files{"go.mod": lambdas, "main.go": startsMain}, nil, "lambda bootstrap  /2018-06-01/ping main.go:3: lambda.Start"},
		{"Lambda's, by a template", files{"go.mod": lambdas, "hello/main.go": startsMain, "bye/main.go": startsMain, "template.yaml": "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {CodeUri: hello/, Handler: bootstrap, Runtime: provided.al2023}\n"}, nil, "lambda bootstrap  /2018-06-01/ping template.yaml: F, Handler bootstrap; hello/main.go:3: lambda.Start"},
		{"Lambda's, for events alone", files{"go.mod": lambdas, "main.go": startsMain}, &function.Settings{Contract: function.Lambda, Signature: function.CloudEvent}, "lambda bootstrap cloudevent /2018-06-01/ping [io.gitd.function] in project.toml; main.go:3: lambda.Start"},
		{"several of Lambda's", files{"go.mod": lambdas, "hello/main.go": startsMain, "bye/main.go": startsMain}, nil, "the app has several functions of AWS Lambda: bye, hello; say which one it is: [io.gitd.function] handler = \"bootstrap\", source = \"bye\""},
		{"an exported handler", files{"go.mod": plain, "app.go": "package app\nfunc Handle(in map[string]any) (string, error) { return \"\", nil }\n"}, &function.Settings{Contract: function.Lambda, Handler: "app.Handle"}, "lambda app.Handle  /2018-06-01/ping [io.gitd.function] in project.toml; app.go:2: func Handle(in map[string]any) (string, error)"},
		{"a handler that is none", files{"go.mod": plain, "app.go": "package app\nfunc Handle(a, b, c int) {}\n"}, &function.Settings{Contract: function.Lambda, Handler: "app.Handle"}, "app.go:2: func Handle(a, b, c int) is not the signature of a handler of AWS Lambda; make it func([context.Context], [T]) ([T], [error])"},
		{"a handler in a file that is not there", files{"go.mod": plain, "app.go": "package app\nfunc Handle() {}\n"}, &function.Settings{Contract: function.Lambda, Handler: "web.Handle"}, "there is no Go file web.go, and no folder web; write the file or the folder, and the function: handler = \"handler.Handle\""},

		{"a bare file", files{"handler.go": "package anything\n" + importHTTP + "func Whatever" + httpFunc}, nil, "functions-framework Whatever http /health/readiness handler.go:3: func Whatever(w http.ResponseWriter, r *http.Request)"},
		{"a bare file called main", files{"handler.go": "package main\n" + importHTTP + "func Handler" + httpFunc}, nil, "functions-framework Handler http /health/readiness handler.go:3: func Handler(w http.ResponseWriter, r *http.Request)"},
		{"a bare file of events", files{"handler.go": eventFile + "func Handler(e ce.Event) { _ = context.TODO }\n"}, nil, "functions-framework Handler cloudevent /health/readiness handler.go:6: func Handler(e ce.Event)"},
		{"a bare file of Lambda", files{"handler.go": "package f\nfunc Handler(in map[string]any) (any, error) { return in, nil }\n"}, nil, "lambda handler.Handler  /2018-06-01/ping handler.go:2: func Handler(in map[string]any) (any, error)"},
		{"a bare file that exports nothing", files{"handler.go": "package f\n" + importHTTP + "func handler" + httpFunc}, nil, "handler.go:3: handler is not exported, and so no program can call it; write its name with a capital letter"},
		{"a bare file that exports several", files{"handler.go": "package f\n" + importHTTP + "func A" + httpFunc + "func B" + httpFunc}, nil, "handler.go exports several functions: A, B; call the function Handler, or say which one it is: [io.gitd.function] target"},
		{"a program", files{"handler.go": "package main\nfunc main() {}\n"}, nil, ""},
		{"beside another language", files{"handler.go": "package f\n" + importHTTP + "func Handler" + httpFunc, "package.json": "{}"}, nil, ""},
		{"of another language", files{"src/handler.py": ""}, &function.Settings{Target: "handler", Source: "src/handler.py"}, ""},
		{"Knative's of another language", files{"func.py": ""}, &function.Settings{Contract: function.Knative}, ""},
		{"not even a handler of Lambda", files{"handler.go": "package f\n" + importHTTP + "func Handler(w http.ResponseWriter) {}\n"}, nil, "handler.go:3: func Handler(w http.ResponseWriter) is not the signature of a function; make it func(http.ResponseWriter, *http.Request), or func([context.Context], event.Event) ([*event.Event], [error]), with the event of github.com/cloudevents/sdk-go/v2"},
		{"two contracts", files{"go.mod": framework, "f.go": registers, "handle.go": "package hello\nfunc Handle" + httpFunc}, nil, "functions-framework Hello http  f.go:4: functions.HTTP(\"Hello\", …) also knative by handle.go:2: func Handle(w http.ResponseWriter, r *http.Request)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := bptest.Tree(t, tt.files)
			m, err := readModule(app)
			if err != nil && tt.files["go.mod"] != "" {
				t.Fatal(err)
			}
			env := kit.Env{}
			if tt.s != nil {
				env = settings(t, *tt.s)
			}
			f, err := findFunction(app, env, m)
			got := ""
			switch {
			case err != nil:
				got = kit.Line(err)
			case f != nil:
				got = strings.Join([]string{string(f.Contract), f.Target, string(f.Signature), f.Health, f.Evidence}, " ")
				for _, o := range f.Also {
					got += " also " + string(o.Contract) + " by " + o.Evidence
				}
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// writes is the body of a function that writes what it got, as package functiontest asks for it.
const (
	writesBody  = "(w http.ResponseWriter, r *http.Request) {\n\tbody, _ := io.ReadAll(r.Body)\n\tif r.URL.Path == \"/panic\" {\n\t\tpanic(\"oh no\")\n\t}\n\tif err := os.WriteFile(\"function_output.json\", body, 0o644); err != nil {\n\t\tpanic(err)\n\t}\n}\n"
	writesEvent = "{\n\ttext, err := e.MarshalJSON()\n\tif err != nil {\n\t\treturn err\n\t}\n\treturn os.WriteFile(\"function_output.json\", text, 0o644)\n}\n"
	writesData  = "{\n\ttext, err := json.Marshal(data)\n\tif err != nil {\n\t\treturn err\n\t}\n\treturn os.WriteFile(\"function_output.json\", text, 0o644)\n}\n"
	importsHTTP = "import (\n\t\"io\"\n\t\"net/http\"\n\t\"os\"\n)\n"
	importsData = "import (\n\t\"context\"\n\t\"encoding/json\"\n\t\"os\"\n)\n"
	importsCE   = "import (\n\t\"context\"\n\t\"os\"\n\n\tcloudevents \"github.com/cloudevents/sdk-go/v2\"\n)\n"
)

// Functions of every contract, built and called. The app's cache stays, so that each module is fetched once.
func TestBuildFunction(t *testing.T) {
	b, out := toolchain(t)
	b.Lambda = bptest.LambdaProgram(t)
	r := bptest.New(t, catalog.Go)
	for _, tt := range []struct {
		name  string
		files map[string]string
		s     *function.Settings
		log   string
		label string
		check func(t *testing.T, url string)
	}{
		{"a bare file", map[string]string{"handler.go": "package anything\n\n" + importsHTTP + "\nfunc Handler" + writesBody}, nil,
			"Function Handler (Functions Framework, http), by handler.go:9: func Handler(w http.ResponseWriter, r *http.Request)\n", `{"contract":"functions-framework","language":"go","target":"Handler","signature":"http","health":"/health/readiness"}`,
			func(t *testing.T, url string) {
				functiontest.HTTP(t, url, r.App)
				if got := get(t, url+"/health/liveness"); got != "200 ALIVE" {
					t.Error(got)
				}
				if got := get(t, url+"/panic"); !strings.HasPrefix(got, "500 ") {
					t.Error(got)
				}
			}},
		{"a bare file called main, of events", map[string]string{"handler.go": "package main\n\n" + importsCE + "\nfunc Handler(_ context.Context, e cloudevents.Event) error " + writesEvent}, nil,
			"There is no go.mod: the build takes github.com/cloudevents/sdk-go/v2 v2.16.2", "",
			func(t *testing.T, url string) {
				functiontest.CloudEvents(t, url, r.App)
				functiontest.Refused(t, url, r.App)
			}},
		{"the framework, without its server's modules", map[string]string{"go.mod": framework + "\nrequire github.com/cloudevents/sdk-go/v2 v2.15.2 // indirect\n", "go.sum": sumsOf("functions-framework-go"),
			"internal/f/f.go": "package f\n\n" + strings.Replace(importsHTTP, ")", "\n\t\"github.com/GoogleCloudPlatform/functions-framework-go/functions\"\n)", 1) + "\nfunc init() { functions.HTTP(\"Hello\", hello) }\n\nfunc hello" + writesBody,
			"hello.go":        "package hello\n\nimport _ \"example.com/hello/internal/f\"\n"}, nil,
			"", `{"contract":"functions-framework","language":"go","target":"Hello","signature":"http"}`,
			func(t *testing.T, url string) { functiontest.HTTP(t, url, r.App) }},
		{"the framework, started by the app's own program", map[string]string{"go.mod": framework,
			"hello.go":    "package hello\n\n" + strings.Replace(importsHTTP, ")", "\n\t\"github.com/GoogleCloudPlatform/functions-framework-go/functions\"\n)", 1) + "\nfunc init() { functions.HTTP(\"Hi\", hello) }\n\nfunc hello" + writesBody,
			"cmd/main.go": "package main\n\nimport (\n\t\"os\"\n\n\t_ \"example.com/hello\"\n\t\"github.com/GoogleCloudPlatform/functions-framework-go/funcframework\"\n)\n\nfunc main() {\n\tprintln(\"mine\")\n\tif err := funcframework.Start(os.Getenv(\"PORT\")); err != nil {\n\t\tpanic(err)\n\t}\n}\n"}, nil,
			"Function Hi (Functions Framework, http), by hello.go:", `{"contract":"functions-framework","language":"go","target":"Hi","signature":"http"}`,
			func(t *testing.T, url string) { functiontest.HTTP(t, url, r.App) }},
		{"the framework, events", map[string]string{"f.go": "package hello\n\n" + strings.Replace(importsCE, ")", "\n\t\"github.com/GoogleCloudPlatform/functions-framework-go/functions\"\n)", 1) + "\nfunc init() { functions.CloudEvent(\"Hello\", hello) }\n\nfunc hello(_ context.Context, e cloudevents.Event) error " + writesEvent},
			&function.Settings{Target: "Hello"}, "", "",
			func(t *testing.T, url string) {
				functiontest.CloudEvents(t, url, r.App)
				functiontest.Refused(t, url, r.App, "a batch")
			}},
		{"an event of before CloudEvents, without the framework", map[string]string{"go.mod": plain, "f.go": "package hello\n\n" + importsData + "\nfunc Hello(_ context.Context, data map[string]any) error " + writesData},
			&function.Settings{Target: "Hello", Signature: function.Event}, "go.mod does not name github.com/GoogleCloudPlatform/functions-framework-go: the build takes v1.9.2", "",
			func(t *testing.T, url string) {
				resp, err := http.Post(url, "application/json", strings.NewReader(`{"context":{"eventId":"7","timestamp":"2026-11-26T10:42:27Z","eventType":"com.example.changed","resource":"things/7"},"data":{"name":"seven"}}`))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if got := kit.Text(r.App, functiontest.Output); resp.StatusCode != http.StatusOK || got != `{"name":"seven"}` {
					t.Errorf("status %d, the function got %s", resp.StatusCode, got)
				}
			}},
		{"Knative's instance", map[string]string{"go.mod": plain, "func.yaml": "runtime: go\nrun:\n  envs: [{name: GREETING, value: hi}]\n", "f.go": "package f\n\nimport (\n\t\"context\"\n\t\"io\"\n\t\"net/http\"\n\t\"os\"\n)\n\ntype F struct{ ready bool }\n\nfunc New() *F { return &F{} }\n\nfunc (f *F) Start(_ context.Context, env map[string]string) error {\n\tf.ready = env[\"GREETING\"] == \"hi\"\n\treturn nil\n}\n\nfunc (f *F) Ready(context.Context) (bool, error) { return f.ready, nil }\n\nfunc (*F) Handle" + writesBody}, nil,
			"", `{"contract":"knative","language":"go","target":"New","signature":"http","health":"/health/readiness"}`,
			func(t *testing.T, url string) {
				functiontest.HTTP(t, url, r.App)
				for i := 0; get(t, url+"/health/readiness") != "200 READY"; i++ {
					if i == 100 {
						t.Fatal("it is not ready")
					}
					time.Sleep(10 * time.Millisecond)
				}
			}},
		{"in a module of its own", map[string]string{"project.toml": "", "README.md": "two parts", "functions/hello/go.mod": plain, "functions/hello/web/f.go": "package web\n\n" + importsHTTP + "\nfunc Hello" + writesBody},
			&function.Settings{Target: "Hello", Source: "functions/hello/web"}, "Function Hello (Functions Framework, http), by [io.gitd.function] in project.toml; web/f.go:9", `{"contract":"functions-framework","language":"go","target":"Hello","signature":"http","health":"/health/readiness"}`,
			func(t *testing.T, url string) { functiontest.HTTP(t, url, r.App) }},
		{"in a module of its own within another", map[string]string{"go.mod": "module example.com/site\n\ngo 1.24\n", "main.go": "package main\n\nfunc main() {}\n", "hello/go.mod": plain, "hello/f.go": "package hello\n\n" + importsHTTP + "\nfunc Hello" + writesBody},
			&function.Settings{Target: "Hello", Source: "hello/f.go"}, "", "",
			func(t *testing.T, url string) { functiontest.HTTP(t, url, r.App) }},
		{"Lambda's", map[string]string{"handler.go": "package f\n\nimport \"context\"\n\nfunc Handler(_ context.Context, in map[string]any) (any, error) { return in[\"rawPath\"], nil }\n"}, nil,
			"the build takes github.com/aws/aws-lambda-go v1.55.1", `{"contract":"lambda","language":"go","target":"handler.Handler","concurrency":1,"health":"/2018-06-01/ping"}`,
			func(t *testing.T, url string) {
				if got := get(t, url+"/some/path"); got != "200 /some/path" {
					t.Error(got)
				}
				if got := get(t, url+"/2018-06-01/ping"); got != "200 pong" {
					t.Error(got)
				}
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out.Reset()
			delete(r.Env, catalog.FunctionVariable)
			if tt.s != nil {
				maps.Copy(r.Env, settings(t, *tt.s))
			}
			built, err := r.Build(b, tt.files)
			if err != nil {
				t.Fatalf("%s\n%s", kit.Line(err), out)
			}
			if !strings.Contains(out.String(), tt.log) {
				t.Errorf("the log lacks %q: %s", tt.log, out)
			}
			if got := label(t, r); tt.label != "" && got != tt.label {
				t.Errorf("label %s, want %s", got, tt.label)
			}
			if entries, _ := os.ReadDir(filepath.Join(r.App, madeFolder)); entries != nil {
				t.Errorf("left in the app: %v", entries)
			}
			p := built.Processes["web"]
			cmd := exec.Command(lookIn(r, p.Command), p.Arguments...)
			cmd.Env = r.LaunchEnv()
			port := bptest.Port(t)
			bptest.Serve(t, r, cmd, port)
			tt.check(t, "http://127.0.0.1:"+port)
		})
	}
}

// What the made program needs of the app's module: versions that are named stay, others come with their sums, and vendor/ is used as far as it goes.
func TestRequire(t *testing.T) {
	const sdk = "vendor/github.com/cloudevents/sdk-go/v2/"
	for _, tt := range []struct {
		name  string
		files map[string]string
		needs string
		mod   bool   // modules are fetched
		has   string // go.mod has it
	}{
		{"nothing", map[string]string{"go.mod": plain}, servePackage, false, ""},
		{"another package of a library that is named", map[string]string{"go.mod": events, "go.sum": "a v1 h1:x="}, "github.com/cloudevents/sdk-go/v2", true, "sdk-go/v2 v2.16.2"},
		{"an older version", map[string]string{"go.mod": strings.Replace(events, "v2.16.2", "v2.14.0", 1)}, "github.com/cloudevents/sdk-go/v2", true, "sdk-go/v2 v2.14.0"},
		{"a library that is not named", map[string]string{"go.mod": plain}, "github.com/aws/aws-lambda-go/lambda", true, "aws-lambda-go v1.55.1"},
		{"vendored", map[string]string{"go.mod": events, sdk + "alias.go": ""}, "github.com/cloudevents/sdk-go/v2", false, ""},
		{"vendored in part", map[string]string{"go.mod": events, sdk + "event/event.go": ""}, "github.com/cloudevents/sdk-go/v2", true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := bptest.Tree(t, tt.files)
			m, err := readModule(app)
			if err != nil {
				t.Fatal(err)
			}
			env := kit.Env{"GOFLAGS": "-buildvcs=false"}
			if err := (Buildpack{Out: io.Discard}).require(app, m, &fn{needs: []string{tt.needs}}, env); err != nil {
				t.Fatal(err)
			}
			if got := strings.HasSuffix(env["GOFLAGS"], " -mod=mod"); got != tt.mod {
				t.Errorf("flags %q", env["GOFLAGS"])
			}
			if got := kit.Text(app, "go.mod"); !strings.Contains(got, tt.has) {
				t.Error(got)
			}
			sums := kit.Text(app, "go.sum")
			if tt.mod && (!strings.Contains(sums, "github.com/cloudevents/sdk-go/v2 v2.16.2 h1:")) {
				t.Error(sums)
			}
		})
	}
}

// lookIn finds a program of a layer's.
func lookIn(r *bptest.Run, name string) string {
	for _, layer := range []string{"bin", "lambda"} {
		if p := filepath.Join(r.Layers, layer, "bin", name); kit.Exists(p) {
			return p
		}
	}
	return name
}

// label is what the last build says of the function.
func label(t *testing.T, r *bptest.Run) string {
	t.Helper()
	var launch libcnb.LaunchTOML
	if _, err := toml.DecodeFile(filepath.Join(r.Layers, "launch.toml"), &launch); err != nil {
		t.Fatal(err)
	}
	for _, l := range launch.Labels {
		if l.Key == function.Label {
			return l.Value
		}
	}
	return ""
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, body)
}

// sumsOf is the part of a go.sum that "go mod tidy" writes where nothing imports the framework's server.
func sumsOf(module string) string {
	var b strings.Builder
	for line := range strings.Lines(pinnedSums) {
		if strings.Contains(line, module) {
			b.WriteString(line)
		}
	}
	return b.String()
}
