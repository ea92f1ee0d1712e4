package golang

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

// Without [io.gitd.function] an app with a program that answers requests is that program, as it is: whatever of a function is beside it, or in it.
func TestFindFunction_Servers(t *testing.T) {
	type files = map[string]string
	const (
		server   = "package main\n" + importHTTP + "func main() { http.ListenAndServe(\":8080\", nil) }\n"
		either   = "package main\nimport (\n\"os\"\n\"net/http\"\n\"github.com/aws/aws-lambda-go/lambda\"\n)\nfunc main() {\nif os.Getenv(\"AWS_LAMBDA_FUNCTION_NAME\") != \"\" { lambda.Start(h) } else { http.ListenAndServe(\":8080\", nil) }\n}\n"
		both     = framework + "require github.com/aws/aws-lambda-go v1.55.1\n"
		ff       = "\"github.com/GoogleCloudPlatform/functions-framework-go/funcframework\"\n"
		starts   = "package main\nimport (\n_ \"example.com/hello\"\n" + ff + ")\nfunc main() { funcframework.Start(\"8080\") }\n"
		nothing  = "package main\nfunc main() {}\n"
		ranges   = "{{- range .Items }}\nname: {{ . }}\n{{- end }}\n"
		gin      = "package main\nimport (\n\"github.com/gin-gonic/gin\"\n\"github.com/aws/aws-lambda-go/lambda\"\n)\nfunc main() {\nr := gin.Default()\nif onLambda { lambda.Start(h) }\nRUN\n}\n"
		template = "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {CodeUri: cmd/lambda/, Handler: bootstrap, Runtime: provided.al2023}\n"
	)
	several := strings.Replace(registers, "}\n", "\tfunctions.HTTP(\"Bye\", hello)\n}\n", 1)
	for _, tt := range []struct {
		name  string
		files files
		want  string // contract, target, and the program where the app has it; "" for an app
	}{
		{"cmd/web and cmd/lambda", files{"go.mod": lambdas, "cmd/web/main.go": server, "cmd/lambda/main.go": startsMain}, ""},
		{"and a template of the other", files{"go.mod": lambdas, "cmd/web/main.go": server, "cmd/lambda/main.go": startsMain, "template.yaml": template}, ""},
		{"and the server is not called so", files{"go.mod": lambdas, "cmd/shop/main.go": server, "cmd/lambda/main.go": startsMain}, ""},
		{"cmd/lambda beside a tool", files{"go.mod": lambdas, "cmd/tool/main.go": nothing, "cmd/lambda/main.go": startsMain}, "lambda bootstrap ./cmd/lambda"},
		{"several of Lambda's and a tool", files{"go.mod": lambdas, "cmd/tool/main.go": nothing, "cmd/web/main.go": startsMain, "cmd/lambda/main.go": startsMain}, "lambda bootstrap ./cmd/web"},
		{"a server at the root, cmd/lambda", files{"go.mod": lambdas, "main.go": server, "cmd/lambda/main.go": startsMain}, ""},
		{"a function of Lambda or a server", files{"go.mod": lambdas, "main.go": either}, ""},
		{"its server in a package", files{"go.mod": lambdas, "main.go": strings.Replace(startsMain, "import ", "import _ \"example.com/hello/internal/web\"\nimport ", 1), "internal/web/web.go": "package web\n" + importHTTP + "func Run() { s := &http.Server{}; s.Serve(nil) }\n"}, ""},
		{"a framework's server", files{"go.mod": lambdas, "main.go": strings.Replace(gin, "RUN", "r.Run()", 1)}, ""},
		{"a framework's routes alone", files{"go.mod": lambdas, "main.go": strings.Replace(gin, "RUN", "", 1)}, "lambda bootstrap ."},
		{"a function of Lambda with a status", files{"go.mod": lambdas, "main.go": "package main\nimport (\n\"net/http\"\n\"github.com/aws/aws-lambda-go/lambda\"\n)\nvar ok = http.StatusOK\nfunc main() { lambda.Start(h) }\n"}, "lambda bootstrap ."},

		{"several functions, cmd/main.go starts them", files{"go.mod": framework, "f.go": several, "cmd/main.go": starts}, ""},
		{"several functions, the root starts them", files{"go.mod": framework, "main.go": strings.NewReplacer("package hello\n", "package main\nimport "+ff).Replace(several) + "func main() { funcframework.Start(\"8080\") }\n"}, ""},
		{"several functions, a program that starts nothing", files{"go.mod": framework, "f.go": several, "cmd/main.go": nothing}, ""},
		{"one function, cmd/main.go starts it", files{"go.mod": framework, "f.go": registers, "cmd/main.go": starts}, "functions-framework Hello ./cmd"},
		{"and a program beside it", files{"go.mod": framework, "f.go": registers, "cmd/web/main.go": starts, "cmd/tool/main.go": nothing}, "functions-framework Hello ./cmd/web"},
		{"one function, cmd/main.go has paths of its own", files{"go.mod": framework, "f.go": registers, "cmd/main.go": strings.Replace(starts, "{ ", "{ funcframework.RegisterHTTPFunction(\"/x\", nil); ", 1)}, ""},
		{"one function, cmd/main.go has a server of its own", files{"go.mod": framework, "f.go": registers, "cmd/main.go": server}, ""},
		{"one function, cmd/main.go starts another", files{"go.mod": framework, "f/f.go": registers, "cmd/main.go": strings.Replace(starts, "_ \"example.com/hello\"", "", 1)}, ""},
		{"one function of the root's program", files{"go.mod": framework, "main.go": strings.NewReplacer("package hello\n", "package main\nimport "+ff).Replace(registers) + "func main() { funcframework.Start(\"8080\") }\n"}, "functions-framework Hello ."},
		{"a function beside a server at the root", files{"go.mod": framework, "main.go": server, "f/f.go": registers}, ""},
		{"a function beside a server by a package", files{"go.mod": framework, "cmd/main.go": "package main\nimport \"github.com/pocketbase/pocketbase\"\nfunc main() { run(pocketbase.New()) }\n", "f/f.go": registers}, ""},

		{"a template of texts", files{"go.mod": plain, "main.go": server, "template.yaml": ranges}, ""},
		{"a template of texts beside a function", files{"go.mod": lambdas, "main.go": startsMain, "template.yaml": ranges}, "lambda bootstrap ."},
		{"func.yaml of a program of its own", files{"go.mod": plain, "main.go": server, "func.yaml": "runtime: go\nrun: ./main\n"}, ""},
		{"func.yaml with variables of another form", files{"go.mod": plain, "main.go": nothing, "func.yaml": "runtime: go\nenvs: {A: b}\n"}, ""},
		{"func.yaml, and a program for developers", files{"go.mod": plain, "f.go": "package f\n" + importHTTP + "func Handle" + httpFunc, "cmd/local/main.go": nothing, "func.yaml": "runtime: go\n"}, "knative Handle"},
		{"func.yaml, and a server", files{"go.mod": plain, "f.go": "package f\n" + importHTTP + "func Handle" + httpFunc, "cmd/local/main.go": server, "func.yaml": "runtime: go\n"}, ""},
		{"of another language", files{"handle.go": "package f\n" + importHTTP + "func Handle" + httpFunc, "package.json": "{}"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := bptest.Tree(t, tt.files)
			m, err := readModule(app)
			if err != nil && tt.files["go.mod"] != "" {
				t.Fatal(err)
			}
			f, err := findFunction(app, kit.Env{}, m)
			got := ""
			switch {
			case err != nil:
				got = kit.Line(err)
			case f != nil:
				got = strings.TrimSpace(strings.Join([]string{string(f.Contract), f.Target, f.target.dir}, " "))
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// The table counts more than a server.
func TestFindFunction_ServerSaid(t *testing.T) {
	app := bptest.Tree(t, map[string]string{"go.mod": lambdas, "cmd/web/main.go": "package main\n" + importHTTP + "func main() { http.ListenAndServe(\":8080\", nil) }\n", "cmd/lambda/main.go": startsMain})
	m, err := readModule(app)
	if err != nil {
		t.Fatal(err)
	}
	f, err := findFunction(app, settings(t, function.Settings{Contract: function.Lambda}), m)
	if err != nil || f == nil || f.target.dir != "./cmd/lambda" {
		t.Error(f, err)
	}
}
