package golang

import (
	"maps"
	"os/exec"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

// A function of AWS Lambda as its own tool lays one out: the template at the root, the module in a folder, variables in the template.
func TestBuildFunction_Template(t *testing.T) {
	b, out := toolchain(t)
	b.Lambda = bptest.LambdaProgram(t)
	r := bptest.New(t, catalog.Go)
	built, err := r.Build(b, map[string]string{
		"template.yaml": "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {CodeUri: hello/, Handler: bootstrap, Runtime: provided.al2023, Environment: {Variables: {GREETING: hi}}}\n",
		"hello/go.mod":  lambdas,
		"hello/main.go": "package main\n\nimport (\n\t\"os\"\n\n\t\"github.com/aws/aws-lambda-go/lambda\"\n)\n\nfunc main() { lambda.Start(func() (string, error) { return os.Getenv(\"GREETING\"), nil }) }\n",
	})
	if err != nil {
		t.Fatalf("%s\n%s", kit.Line(err), out)
	}
	if want := "Function bootstrap (AWS Lambda), by main.go:9: lambda.Start\n"; !strings.Contains(out.String(), want) {
		t.Errorf("the log lacks %q: %s", want, out)
	}
	if got := label(t, r); got != `{"contract":"lambda","language":"go","target":"bootstrap","concurrency":1,"health":"/2018-06-01/ping"}` {
		t.Error(got)
	}
	p := built.Processes["web"]
	cmd := exec.Command(lookIn(r, p.Command), p.Arguments...)
	cmd.Env = r.LaunchEnv()
	port := bptest.Port(t)
	bptest.Serve(t, r, cmd, port)
	if got := get(t, "http://127.0.0.1:"+port+"/"); got != "200 hi" {
		t.Error(got)
	}
}

// Where the module is that has the function, and where the function is in it.
func TestFunctionModule(t *testing.T) {
	const template = "Resources: {F: {Type: AWS::Serverless::Function, Properties: {CodeUri: hello, Handler: bootstrap, Runtime: provided.al2023}}}\n"
	inHello := map[string]string{"hello/go.mod": plain, "hello/f/f.go": "package f\n"}
	for name, tt := range map[string]struct {
		files map[string]string
		s     *function.Settings
		in    string
		want  function.Settings
	}{
		"nothing said":         {inHello, nil, "", function.Settings{}},
		"at the root":          {inHello, &function.Settings{Target: "F"}, "", function.Settings{Target: "F"}},
		"a folder":             {inHello, &function.Settings{Target: "F", Source: "hello/f"}, "hello", function.Settings{Target: "F", Source: "f"}},
		"the module's folder":  {inHello, &function.Settings{Target: "F", Source: "./hello/"}, "hello", function.Settings{Target: "F", Source: "."}},
		"a file":               {inHello, &function.Settings{Target: "F", Source: "hello/f/f.go"}, "hello", function.Settings{Target: "F", Source: "f/f.go"}},
		"outside":              {inHello, &function.Settings{Target: "F", Source: "../hello"}, "", function.Settings{Target: "F", Source: "../hello"}},
		"a folder without one": {map[string]string{"hello/f.go": ""}, &function.Settings{Target: "F", Source: "hello"}, "", function.Settings{Target: "F", Source: "hello"}},
		"in a workspace":       {map[string]string{"go.work": "go 1.24\n\nuse ./hello\n", "hello/go.mod": plain}, &function.Settings{Target: "F", Source: "hello"}, "", function.Settings{Target: "F", Source: "hello"}},
		"a template":           {map[string]string{"hello/go.mod": plain, "template.yaml": template}, nil, "hello", function.Settings{}},
		"a template, of an app that has another program": {map[string]string{"hello/go.mod": plain, "template.yaml": template, "Procfile": "web: x\n"}, nil, "", function.Settings{}},
	} {
		t.Run(name, func(t *testing.T) {
			app, env := bptest.Tree(t, tt.files), kit.Env{}
			if tt.s != nil {
				maps.Copy(env, settings(t, *tt.s))
			}
			in, got := functionModule(app, env)
			want := kit.Env{}
			if tt.want != (function.Settings{}) {
				maps.Copy(want, settings(t, tt.want))
			}
			if in != join(app, tt.in) || !maps.Equal(got, want) {
				t.Errorf("%s %v, want %s %v", in, got, tt.in, want)
			}
		})
	}
}

func join(app, folder string) string {
	if folder == "" {
		return app
	}
	return app + "/" + folder
}
