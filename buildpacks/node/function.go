package node

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/function"
	"github.com/gitd-io/gitd/internal/pattern"
)

// library is what serves a contract: the program that starts it, the folder with its packages, and the package that the app may have itself.
type library struct{ program, packages, name string }

var functionLibraries = map[function.Contract]library{
	function.FunctionsFramework: {"framework.mjs", "framework", functions.FrameworkPackage},
	function.Knative:            {"knative.mjs", "knative", functions.KnativePackage},
	function.Lambda:             {"lambda.mjs", "lambda", functions.LambdaPackage},
}

// findFunction finds the function of the app; nil for an app that is none.
func findFunction(app string, env kit.Env) (*functions.Found, error) {
	return functions.Find(app, env, functions.NodeJS(serverOf, otherProgram, startsFunction))
}

var (
	functionRunner = pattern.New(`(?:^|[\s/])(?:functions-framework|functions-framework-nodejs|faas-js-runtime)(?:\s|$)`)
	listens        = pattern.New(`\.listen\s*\(|\bcreateServer\s*\(|\b(?:Bun|Deno)\.serve\s*\(|\bserve\s*\(`)
)

// startsFunction is the line by which the app starts a library of functions: of its Procfile, or its start script.
func startsFunction(app string) string {
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	for _, p := range procs {
		if p.Type == "web" {
			return kit.Pick(functionRunner.MatchString(p.Command), p.Command, "")
		}
	}
	p, err := ReadPackage(app)
	if err != nil {
		return ""
	}
	if s := p.follow(p.startScript()); functionRunner.MatchString(s) {
		return s
	}
	return ""
}

// serverOf says what makes an app a server, and so no function; "" for nothing.
func serverOf(app string) string {
	if startsFunction(app) != "" {
		return ""
	}
	if procfile.HasWeb(app) {
		return procfile.Name
	}
	p, err := ReadPackage(app)
	if err != nil {
		p = &Package{}
	}
	if p.startScript() != "" {
		return "the start script"
	}
	if _, s := p.memberStart(app); s != "" || p.impliedBuild() != "" || ownServer(app) != nil {
		return "its framework"
	}
	files := serverFiles
	if main := p.mainProgram(); main != "" {
		files = append([]string{main}, files...)
	}
	for _, f := range files {
		if listens.MatchString(kit.Text(app, f)) {
			return f
		}
	}
	return ""
}

// otherProgram is what is started of an app that has a file handler.js or its kin besides; "" for nothing.
func otherProgram(app string) string {
	if procfile.Runs(app) {
		return procfile.Name
	}
	files := serverFiles
	if p, err := ReadPackage(app); err == nil {
		if main := p.mainProgram(); main != "" && !strings.HasPrefix(filepath.Clean(main), "handler.") {
			files = append([]string{main, main + ".js", filepath.Join(main, "index.js")}, files...)
		}
		if f := p.bunFile(app); f != "" && p.usesBun(app) && !strings.HasPrefix(filepath.Clean(f), "handler.") {
			return f
		}
	}
	for _, f := range files {
		if kit.IsFile(app, f) {
			return f
		}
	}
	return ""
}

// perhapsFunction says how a file that is started, exports a handler and does not listen is made a function; "" for any other.
func perhapsFunction(app, file string) string {
	if listens.MatchString(kit.Text(app, file)) {
		return ""
	}
	none := func(string) string { return "" }
	for _, e := range functions.NodeJS(none, none, none).Exports(app, file) {
		if slices.Contains([]string{"handler", "lambdaHandler"}, e.Name) && (!e.Known || len(e.Params) < 3) {
			return fmt.Sprintf("%s exports %s, and seems to start no server; if it is a function of AWS Lambda, write into project.toml: [io.gitd.function] handler = %q", file, e.Name, strings.TrimSuffix(file, filepath.Ext(file))+"."+e.Name)
		}
	}
	return ""
}

// describeFunction is what detection says of a function.
func (b Buildpack) describeFunction(f *functions.Found, w wanted) libcnb.DetectResult {
	return kit.Detected(b.Out, "Node.js (%s by %s, %s)", functions.Title(f.Contract), f.Evidence, w.describe())
}

// checkTyped refuses a function that takes and returns a value where the framework has no such functions: those for Node.js have them in version 3 alone.
func (b *build) checkTyped(f *functions.Found, l library) error {
	if !f.Typed {
		return nil
	}
	asked := cmp.Or(b.pkg.Dependencies[l.name], b.pkg.DevDependencies[l.name]) // what is installed may be in the registry alone
	if major := firstNumber.FindString(asked); major == "3" || asked != "" && major == "" {
		return nil
	}
	return kit.Errorf("register it by http, or take version 3 of "+l.name, "%s registers %s as typed, which %s has in version 3 alone; the app gets %s", f.Source, f.Target, l.name, kit.Pick(asked != "", asked, "a newer one"))
}

var firstNumber = pattern.New(`\d+`)

// functionProcess is how the function starts; nil where the app starts it by itself. The layers get those with what starts it.
func (b *build) functionProcess(layers *[]libcnb.LayerContributor) (*libcnb.Process, error) {
	f := b.function
	f.Tell(b.Out, b.app)
	if f.Own != "" {
		return nil, nil
	}
	var err error
	if f.Source, err = b.scriptSource(f); err != nil {
		return nil, err
	}
	l := functionLibraries[f.Contract]
	if err := b.checkTyped(f, l); err != nil {
		return nil, err
	}
	layer, err := b.functionLayer(l)
	if err != nil {
		return nil, err
	}
	*layers = append(*layers, layer)
	args := append(typeScriptFlags(f.Source), filepath.Join(layer.Path, l.program))
	if f.Contract == function.Lambda {
		program, err := functions.LambdaLayer(b.ctx, b.Lambda)
		if err != nil {
			return nil, err
		}
		*layers = append(*layers, program)
		handler := strings.TrimSuffix(f.Source, filepath.Ext(f.Source)) + f.Target[strings.LastIndexByte(f.Target, '.'):]
		p := functions.LambdaProcess(handler, f.Signature, append([]string{"node"}, args...)...)
		return &p, nil
	}
	args = append(args, "--source="+f.Source, "--target="+f.Target, "--signature="+string(f.Signature))
	return &libcnb.Process{Type: "web", Command: "node", Arguments: args, Direct: true}, nil
}
