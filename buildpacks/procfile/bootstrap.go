package procfile

import (
	"bytes"
	"io"
	"os"
	"path/filepath"

	"github.com/buildpacks/libcnb"

	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

// bootstrapFile is the program that a function of AWS Lambda is whose runtime is its own.
const bootstrapFile = "bootstrap"

// speaks are what a program has that speaks the runtime API.
var speaks = [][]byte{[]byte("AWS_LAMBDA_RUNTIME_API"), []byte("/runtime/invocation/next")}

// bootstrap finds a function of AWS Lambda that is a program or a script by itself: project.toml or a template says so, or the file speaks the runtime
// API. nil for an app that is none.
func bootstrap(app string, env kit.Env) (*functions.Found, error) {
	if !kit.IsFile(app, bootstrapFile) {
		return nil, nil
	}
	s, err := functions.Settings(env)
	if err != nil {
		return nil, err
	}
	f := &functions.Found{Spec: function.Spec{Contract: function.Lambda, Language: "custom", Target: bootstrapFile, Concurrency: 1, Health: functions.LambdaHealth}, Source: bootstrapFile}
	switch {
	case s != nil && s.Contract == function.Lambda:
		f.Evidence = "[io.gitd.function] in project.toml; " + bootstrapFile
		f.Signature, err = functions.LambdaSignature(s.Signature)
		return f, err
	case s != nil:
		return nil, nil
	}
	t, err := functions.ReadTemplate(app, "go", false) // runtimes for programs
	if err != nil {
		return nil, err
	}
	if t != nil {
		f.Evidence = t.File + ": " + t.Name + ", Handler " + t.Handler
		return f, nil
	}
	if !mentions(filepath.Join(app, bootstrapFile), speaks) {
		return nil, nil
	}
	f.Evidence = bootstrapFile + ", which speaks the runtime API"
	return f, nil
}

// mentions tells whether a file has one of the texts.
func mentions(file string, texts [][]byte) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	kept := 0
	for {
		n, err := io.ReadFull(f, buf[kept:])
		for _, t := range texts {
			if bytes.Contains(buf[:kept+n], t) {
				return true
			}
		}
		if err != nil {
			return false
		}
		kept = copy(buf, buf[len(buf)-64:]) // a text may lie across
	}
}

// serveBootstrap builds such a function.
func (b Buildpack) serveBootstrap(ctx libcnb.BuildContext, f *functions.Found) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	f.Tell(b.Out, ctx.Application.Path)
	if err := checkProgram(ctx.Application.Path, "./"+bootstrapFile); err != nil {
		return result, err
	}
	text, err := f.Text()
	if err != nil {
		return result, err
	}
	layer, err := functions.LambdaLayer(ctx, b.Lambda)
	if err != nil {
		return result, err
	}
	result.Layers = append(result.Layers, layer)
	result.Labels = append(result.Labels, libcnb.Label{Key: function.Label, Value: text})
	result.Processes = append(result.Processes, functions.LambdaProcess(f.Target, f.Signature, "./"+bootstrapFile))
	return result, nil
}
