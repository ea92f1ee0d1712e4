package golang

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/golang/signature"
	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/function"
)

// fn is the function of an app, and how the buildpack serves it.
type fn struct {
	functions.Found
	dir    string             // the folder of its package, relative to the app
	pkg    *signature.Package // of that folder
	main   string             // what the main function of the program does that is made for it; "" where the app has the program
	target target             // the program, where the app has it
	needs  []string           // packages that the made program imports, besides the function's
}

// language is what Spec.Language says of functions here.
const language = "go"

// findFunction finds the function of an app; nil for an app that is none. An error is a *kit.Error with the line where it is.
func findFunction(app string, env kit.Env, m mod) (*fn, error) {
	s, err := functions.Settings(env)
	if err != nil {
		return nil, err
	}
	f := &finder{app: app, mod: m, said: s != nil, packages: map[string]*signature.Package{}}
	if f.said {
		f.s = *s
	} else if procfile.HasWeb(app) || m.modules != nil && !m.has(".") || m.file == "" && (!hasGo(app) || otherFiles(app)) { // apps of other languages are not searched
		return nil, nil
	}
	mains, err := findMains(app, m)
	if err != nil {
		return nil, err
	}
	for _, t := range mains { // a package called main without a function of that name is no program
		p, err := f.read(path.Clean(t.dir))
		if err != nil {
			return nil, err
		}
		if p != nil && p.Main {
			f.mains = append(f.mains, t)
		}
	}
	if !f.said {
		if server, err := f.chooseWeb(); err != nil || server {
			return nil, err
		}
	}
	return f.find()
}

// finder is one app that is asked about.
type finder struct {
	app       string
	mod       mod
	s         function.Settings
	said      bool // project.toml has a table for the function
	mains     []target
	web       *target // of mains, what is built where project.toml says nothing of a function; nil where it has a table, and where none is chosen
	webStarts bool    // that starts a handler of Lambda
	packages  map[string]*signature.Package
}

// find asks the contracts in their order. The first that fits is taken; those that fit as well are told.
func (f *finder) find() (*fn, error) {
	var found *fn
	for _, c := range []struct {
		contract function.Contract
		fits     func() (*fn, error)
	}{{function.FunctionsFramework, f.framework}, {function.Knative, f.knative}, {function.Lambda, f.lambda}, {"", f.bare}} {
		if found != nil && c.contract == "" {
			break
		}
		g, err := c.fits()
		if err != nil && f.web != nil && !f.webStarts {
			continue // what is no function by the rules is the program that the app has
		}
		switch {
		case err != nil && found == nil && (f.s.Contract == "" || f.s.Contract == c.contract):
			return nil, err
		case err != nil || g == nil:
		case found == nil && (f.s.Contract == "" || f.s.Contract == g.Contract):
			found = g
		case found == nil || found.Contract != g.Contract:
			if found != nil {
				found.Also = append(found.Also, functions.Other{Contract: g.Contract, Evidence: g.Evidence})
			}
		}
	}
	if found == nil {
		if f.said && f.s.Contract != function.Lambda && !f.elsewhere() {
			return nil, kit.Errorf("say which one it is: [io.gitd.function] target, and source for its folder", "project.toml says that the app is a function, and none was found in %s", f.folder())
		}
		return nil, nil
	}
	found.Language = language
	if found.Concurrency = f.s.Concurrency; found.Contract == function.Lambda {
		if f.s.Concurrency > 1 {
			return nil, kit.Errorf("remove concurrency from [io.gitd.function]", "a handler of AWS Lambda takes one request at a time")
		}
		found.Concurrency, found.Health = 1, functions.LambdaHealth
		var err error
		if found.Signature, err = functions.LambdaSignature(f.s.Signature); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// elsewhere tells whether what project.toml says may be of an app in another language: there is no go.mod, and no file in Go is named.
func (f *finder) elsewhere() bool { return f.mod.file == "" && !strings.HasSuffix(f.s.Source, ".go") }

// folder is the folder that has the function, as project.toml says it, or the root.
func (f *finder) folder() string {
	switch {
	case f.s.Source == "":
		return "."
	case strings.HasSuffix(f.s.Source, ".go"):
		return path.Dir(f.s.Source)
	}
	return path.Clean(f.s.Source)
}

// read reads the package of a folder; nil for one without Go.
func (f *finder) read(dir string) (*signature.Package, error) {
	if p, ok := f.packages[dir]; ok {
		return p, nil
	}
	p, err := signature.Read(filepath.Join(f.app, filepath.FromSlash(dir)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f.packages[dir] = p
	return p, nil
}

// serves is the function as a program that is made for it.
func (f *finder) serves(dir string, p *signature.Package, c function.Contract, evidence string) *fn {
	return &fn{Found: functions.Found{Spec: function.Spec{Contract: c}, Source: dir, Evidence: evidence}, dir: dir, pkg: p}
}

// at is where a function is, for people: "store/handler.go:12".
func at(dir string, g *signature.Func) string {
	return fmt.Sprintf("%s:%d", path.Join(dir, g.File), g.Line)
}

// exported finds the exported function of a name, or says why there is none.
func exported(dir string, p *signature.Package, name string) (*signature.Func, error) {
	if g := p.Func(name); g != nil {
		return g, nil
	}
	for _, g := range p.Unexported {
		if strings.EqualFold(g.Name, name) {
			return nil, kit.Errorf("write its name with a capital letter", "%s: %s is not exported, and so no program can call it", at(dir, &g), g.Name)
		}
	}
	var names []string
	for _, g := range p.Funcs {
		names = append(names, g.Name)
	}
	where := kit.Pick(dir == ".", "the app's package", dir)
	if len(names) == 0 {
		return nil, kit.Errorf("say which one it is: [io.gitd.function] target, and source for its folder", "%s (package %s) has no function %s, and exports none", where, p.Name, name)
	}
	return nil, kit.Errorf("say which one it is: [io.gitd.function] target, and source for its folder", "%s (package %s) has no function %s; it has %s", where, p.Name, name, strings.Join(names[:min(len(names), 20)], ", "))
}

// forms are what functions of a signature look like.
var forms = map[function.Signature]string{
	function.HTTP:       "func(http.ResponseWriter, *http.Request)",
	function.CloudEvent: "func([context.Context], event.Event) ([*event.Event], [error]), with the event of github.com/cloudevents/sdk-go/v2",
	function.Event:      "func(context.Context, T) error",
}

// signatureOf is what a function takes. want is what was asked for, "" for what fits.
func signatureOf(dir string, g *signature.Func, want function.Signature) (function.Signature, error) {
	_, event := g.CloudEvent()
	fits := map[function.Signature]bool{function.HTTP: g.HTTP() || g.HTTPContext(), function.CloudEvent: g.TakesEvent() || event && want == function.CloudEvent, function.Event: g.Background()}
	if want != "" {
		if !fits[want] {
			return "", kit.Errorf("make it "+forms[want]+", or change the signature", "%s: %s does not fit the signature %s", at(dir, g), g.Text, want)
		}
		return want, nil
	}
	for _, s := range []function.Signature{function.HTTP, function.CloudEvent, function.Event} {
		if fits[s] {
			return s, nil
		}
	}
	return "", kit.Errorf("make it "+forms[function.HTTP]+", or "+forms[function.CloudEvent], "%s: %s is not the signature of a function", at(dir, g), g.Text)
}

// call makes f the program that calls an exported function, by what that takes.
func (f *fn) call(g *signature.Func, s function.Signature) {
	f.Target, f.Signature = g.Name, s
	name := f.name(g.Name)
	switch {
	case s == function.Event:
		f.needs = []string{"context", "log", "os", signature.FrameworkServer}
		f.main = "if err := funcframework.RegisterEventFunctionContext(context.Background(), \"/\", " + name + "); err != nil {\n\t\tlog.Fatal(err)\n\t}\n\t" + startFramework
	case s == function.CloudEvent:
		f.event(g, name, "nil")
	case g.HTTPContext():
		f.needs, f.main, f.Health = []string{"net/http", servePackage}, "serve.HTTP(func(w http.ResponseWriter, r *http.Request) { "+name+"(r.Context(), w, r) }, nil)", health
	default:
		f.needs, f.main, f.Health = []string{servePackage}, "serve.HTTP("+name+", nil)", health
	}
}

// health is the path that package serve answers without a call of the function.
const health = "/health/readiness"

// startFramework starts the Functions Framework.
const startFramework = `port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	log.Fatal(funcframework.Start(port))`

// name is how the made program names something of the function's package.
func (f *fn) name(of string) string { return kit.Pick(f.pkg.Name == "main", of, "fn."+of) }

// event makes f the program that calls a function of CloudEvents, whichever of the forms it has.
func (f *fn) event(g *signature.Func, name, instance string) {
	c, _ := g.CloudEvent()
	var args []string
	for arg, has := range map[string]bool{"ctx": c.Context, "e": c.Event} {
		if has {
			args = append(args, arg)
		}
	}
	slices.Sort(args)
	call := name + "(" + strings.Join(args, ", ") + ")"
	body := map[[2]bool]string{
		{false, false}: call + "; return nil, nil", {false, true}: "return nil, " + call, {true, false}: "return " + call + ", nil", {true, true}: "return " + call,
	}[[2]bool{c.Reply, c.Error}]
	f.Health, f.needs = health, []string{"context", signature.CloudEvents, servePackage}
	f.main = "serve.CloudEvent(func(ctx context.Context, e cloudevents.Event) (*cloudevents.Event, error) { " + body + " }, " + instance + ")"
}

// moduleAndFunction reads the app's module, or makes one, and finds the app's function; nil for an app that is none.
func (b Buildpack) moduleAndFunction(app string, env kit.Env, cache *kit.Cache) (mod, *fn, error) {
	m, err := readModule(app)
	bare := errors.Is(err, fs.ErrNotExist)
	if err != nil && !bare {
		return m, nil, err
	}
	var f *fn
	if len(env.Words("BP_GO_TARGETS")) == 0 {
		if f, err = findFunction(app, env, m); err != nil {
			return m, nil, err
		}
	}
	if f != nil && bare {
		if err := b.pin(app, f); err != nil {
			return m, nil, err
		}
	}
	m, err = b.module(app, env, cache)
	return m, f, err
}

// targets are the programs to build: the one that serves the function first, and those that the Procfile names. root is the app, app the module's folder in it.
func (b Buildpack) targets(root, app string, m mod, f *fn, env kit.Env, procs []procfile.Process) ([]target, error) {
	if f == nil {
		return chooseTargets(app, m, env.Words("BP_GO_TARGETS"), procs)
	}
	if t, err := functions.ReadTemplate(root, language, false); err == nil && t != nil && f.Contract == function.Lambda {
		f.Env = t.Env
	}
	f.Tell(b.Out, root)
	mains, err := findMains(app, m) // before there is one more
	if err != nil {
		return nil, err
	}
	t, err := b.scaffold(app, m, f, env)
	if err != nil {
		return nil, err
	}
	targets := []target{t}
	for _, o := range mains {
		run := slices.ContainsFunc(goRuns(procs), func(r goRun) bool { return r.dir == path.Clean(o.dir) })
		if o.dir != t.dir && o.name != t.name && (run || inProcfile(procs, o.name)) {
			targets = append(targets, o)
		}
	}
	return targets, nil
}

// launch adds to a build what serves a function: for AWS Lambda gitd-lambda, and what the image says of it.
func (b Buildpack) launch(ctx libcnb.BuildContext, f *fn, result *libcnb.BuildResult) error {
	if f.Contract == function.Lambda {
		layer, err := functions.LambdaLayer(ctx, b.Lambda)
		if err != nil {
			return err
		}
		result.Layers = append(result.Layers, layer)
		result.Processes[0] = functions.LambdaProcess(f.Target, f.Signature, bootstrap)
	}
	return f.launch(ctx, result)
}

// launch is what the image says of the function: its label, the variables by which frameworks know it, and those of func.yaml.
func (f *fn) launch(ctx libcnb.BuildContext, result *libcnb.BuildResult) error {
	text, err := f.Text()
	if err != nil {
		return err
	}
	result.Labels = append(result.Labels, libcnb.Label{Key: function.Label, Value: text})
	env := maps.Clone(f.Env)
	if env == nil {
		env = map[string]string{}
	}
	if f.Contract == function.FunctionsFramework {
		env["FUNCTION_TARGET"], env["FUNCTION_SIGNATURE_TYPE"] = f.Target, string(f.Signature)
	}
	if len(env) == 0 {
		return nil
	}
	layer, err := kit.OpenLayer(ctx, "function")
	if err != nil {
		return err
	}
	result.Layers = append(result.Layers, layer)
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		parts = append(parts, name, env[name])
	}
	reuse, err := layer.Reuse(kit.Key(parts...))
	if err != nil || reuse {
		return err
	}
	if err := layer.Reset(libcnb.LayerTypes{Launch: true}, kit.Key(parts...)); err != nil {
		return err
	}
	layer.SetLaunch(env)
	return nil
}
