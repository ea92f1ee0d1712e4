package function

import (
	"path/filepath"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// LambdaHealth is the path that gitd-lambda answers without a call of the function.
const LambdaHealth = "/2018-06-01/ping"

// LambdaLayer is the layer with gitd-lambda, which serves functions of AWS Lambda: it is found by its name. program is where the build image has it.
func LambdaLayer(ctx libcnb.BuildContext, program string) (*kit.Layer, error) {
	layer, err := kit.OpenLayer(ctx, "lambda")
	if err != nil {
		return nil, err
	}
	key, err := kit.FileKey(program)
	if err != nil {
		return nil, kit.Errorf("the builder image may be broken", "gitd-lambda is missing from the builder: %v", err)
	}
	reuse, err := layer.Reuse(key)
	if err != nil || reuse {
		return layer, err
	}
	if err := layer.Reset(libcnb.LayerTypes{Launch: true}, key); err != nil {
		return nil, err
	}
	return layer, kit.CopyFile(program, filepath.Join(layer.Path, "bin", "gitd-lambda"))
}

// LambdaProcess is the process that serves a function of AWS Lambda: runtime is the program that asks for its invocations, with its arguments, and
// handler what that calls; it may be empty.
func LambdaProcess(handler string, runtime ...string) libcnb.Process {
	p := libcnb.Process{Type: "web", Command: "gitd-lambda", Direct: true, Default: true}
	if handler != "" {
		p.Arguments = append(p.Arguments, "--handler", handler)
	}
	p.Arguments = append(append(p.Arguments, "--"), runtime...)
	return p
}
