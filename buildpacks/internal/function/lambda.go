package function

import (
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
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
	if reused, err := layer.Renew(key); err != nil || reused {
		return layer, err
	}
	return layer, kit.CopyFile(program, filepath.Join(layer.Path, "bin", "gitd-lambda"))
}

// LambdaSignature checks what project.toml says of the requests that a function of AWS Lambda takes; "" for requests and events.
func LambdaSignature(s function.Signature) (function.Signature, error) {
	if s == function.Event {
		return "", kit.Errorf("make signature = \"http\" or \"cloudevent\", or remove it", "a handler of AWS Lambda does not take events of before CloudEvents")
	}
	return s, nil
}

// LambdaProcess is the process that serves a function of AWS Lambda: runtime is the program that asks for its invocations, with its arguments, handler
// what that calls, which may be empty, and signature what requests become.
func LambdaProcess(handler string, signature function.Signature, runtime ...string) libcnb.Process {
	p := libcnb.Process{Type: "web", Command: "gitd-lambda", Direct: true, Default: true}
	if handler != "" {
		p.Arguments = append(p.Arguments, "--handler", handler)
	}
	if signature != "" {
		p.Arguments = append(p.Arguments, "--signature", string(signature))
	}
	p.Arguments = append(append(p.Arguments, "--"), runtime...)
	return p
}

// runs refuses a handler that the runtime of AWS Lambda would not call, or not wait for: what it says itself comes after a whole build.
func (q *question) runs(f *Found) error {
	e, ok := q.export(f.Source, f.Target[strings.LastIndexByte(f.Target, '.')+1:])
	switch {
	case !ok:
	case q.l.Name == "python" && strings.HasPrefix(e.Line, "async "):
		return kit.Errorf("make it def "+e.Name+"(…), and call what is async by asyncio.run(…)", "%s: %s is async, which AWS' runtime for Python does not wait for", f.Source, e.Line)
	case q.l.Name == "nodejs" && e.Known && len(e.Params) > 2 && !strings.Contains(e.Line, "streamifyResponse"):
		return kit.Errorf("make it async, and return what it gives to the callback", "%s: %s has a callback, which AWS' runtime for Node.js does not take any more", f.Source, e.Line)
	}
	return nil
}
