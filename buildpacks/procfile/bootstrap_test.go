package procfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

func TestBootstrap(t *testing.T) {
	const runtime = "#!/bin/sh\ncurl http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next\n"
	for _, tt := range []struct {
		name  string
		files map[string]string
		said  string
		want  string // evidence
	}{
		{"a script that speaks the API", map[string]string{"bootstrap": runtime}, "", "bootstrap, which speaks the runtime API"},
		{"across a block", map[string]string{"bootstrap": strings.Repeat("x", 64<<10-5) + "/runtime/invocation/next"}, "", "bootstrap, which speaks the runtime API"},
		{"one that does not", map[string]string{"bootstrap": "#!/bin/sh\n./configure\n"}, "", ""},
		{"project.toml says so", map[string]string{"bootstrap": "x"}, `{"contract":"lambda","handler":"bootstrap"}`, "[io.gitd.function] in project.toml; bootstrap"},
		{"another contract", map[string]string{"bootstrap": runtime}, `{"contract":"knative"}`, ""},
		{"a template", map[string]string{"bootstrap": "x", "template.yaml": "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {Handler: bootstrap, Runtime: provided.al2023}\n"}, "", "template.yaml: F, Handler bootstrap"},
		{"nothing", map[string]string{"a": ""}, `{"contract":"lambda"}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := bootstrap(bptest.Tree(t, tt.files), kit.Env{catalog.FunctionVariable: tt.said})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if f != nil {
				got = f.Evidence
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	lambda := filepath.Join(t.TempDir(), "gitd-lambda")
	if err := os.WriteFile(lambda, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	b := Buildpack{Lambda: lambda, Out: &out}
	r := bptest.New(t, catalog.Procfile)
	if _, err := r.Build(b, map[string]string{"bootstrap": runtime}); err == nil || kit.Line(err) != "bootstrap is not executable; git update-index --chmod=+x bootstrap, commit and push again" {
		t.Errorf("not executable: %v", err)
	}
	if f, err := bootstrap(bptest.Tree(t, map[string]string{"bootstrap": runtime}), kit.Env{catalog.FunctionVariable: `{"contract":"lambda","signature":"http"}`}); err != nil || f.Signature != function.HTTP {
		t.Errorf("the signature is lost: %+v, %v", f, err)
	}
	dir := bptest.Tree(t, map[string]string{"bootstrap": runtime})
	if err := os.Chmod(filepath.Join(dir, "bootstrap"), 0o755); err != nil {
		t.Fatal(err)
	}
	built, err := r.BuildDir(b, dir)
	if err != nil {
		t.Fatal(err)
	}
	if p := built.Processes["web"]; p.Command != "gitd-lambda" || strings.Join(p.Arguments, " ") != "--handler bootstrap -- ./bootstrap" || !p.Default || !kit.Exists(r.Layers, "lambda", "bin", "gitd-lambda") {
		t.Errorf("%+v", p)
	}
	if !strings.Contains(out.String(), "Function bootstrap (AWS Lambda), by bootstrap, which speaks the runtime API\n") {
		t.Error(out.String())
	}
}
