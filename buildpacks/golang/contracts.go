package golang

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/golang/signature"
	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

const (
	table    = "[io.gitd.function] in project.toml"
	sayWhich = "say which one it is: [io.gitd.function] target"
)

// framework finds a function of the Functions Framework: one that the code registers, or the exported one that project.toml names.
func (f *finder) framework() (*fn, error) {
	if f.s.Handler != "" || f.s.Contract != "" && f.s.Contract != function.FunctionsFramework {
		return nil, nil
	}
	asked := f.s.Target != "" || f.s.Contract == function.FunctionsFramework
	g, err := f.registered(asked)
	if err != nil || g != nil || !asked {
		return g, err
	}
	dir := f.folder()
	p, err := f.read(dir)
	if err != nil {
		return nil, err
	}
	if p == nil {
		if f.elsewhere() {
			return nil, nil
		}
		return nil, kit.Errorf("say which folder has the function: [io.gitd.function] source", "project.toml says that the app is a function, and there is no Go in %s", dir)
	}
	e, err := f.chosen(dir, p)
	if err != nil {
		return nil, err
	}
	g = f.serves(dir, p, function.FunctionsFramework, table+"; "+at(dir, e)+": "+e.Text)
	s, err := signatureOf(dir, e, f.s.Signature)
	if err == nil {
		g.call(e, s)
		err = f.callable(g)
	}
	return g, err
}

// chosen is the exported function that project.toml names, or the only one.
func (f *finder) chosen(dir string, p *signature.Package) (*signature.Func, error) {
	switch {
	case f.s.Target != "":
		return exported(dir, p, f.s.Target)
	case len(p.Funcs) == 1:
		return &p.Funcs[0], nil
	}
	for _, name := range []string{"Handler", "Handle", "Function"} {
		if g := p.Func(name); g != nil {
			return g, nil
		}
	}
	return exported(dir, p, "Handler")
}

// callable says what keeps a program from calling the function.
func (f *finder) callable(g *fn) error {
	if g.pkg.Name == "main" && g.pkg.Main {
		return kit.Errorf("give the function a package of its own, or let main serve it and remove the settings", "%s is a program with a main of its own, which cannot be imported", kit.Pick(g.dir == ".", "the app's package", g.dir))
	}
	return nil
}

// registration is a function that the code gives to the framework.
type registration struct {
	signature.Registration
	dir string
	pkg *signature.Package
}

// registrations finds them, where the app has the framework.
func (f *finder) registrations() (all []registration, err error) {
	if f.mod.file != "" && !slices.Contains(f.mod.libraries, signature.Framework) {
		return nil, nil
	}
	werr := walkPackages(f.app, func(_, rel string) {
		if err != nil || !f.mod.has(moduleOf(f.app, rel)) && f.mod.file != "" {
			return
		}
		var p *signature.Package
		if p, err = f.read(rel); p == nil {
			return
		}
		for _, r := range p.Registered {
			all = append(all, registration{r, rel, p})
		}
	})
	if err == nil {
		err = werr
	}
	return all, err
}

// registered finds the function among those that the code registers; nil for none. asked says that project.toml wants one of the framework.
func (f *finder) registered(asked bool) (*fn, error) {
	all, err := f.registrations()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	if f.web != nil && f.reaches(*f.web, func(_ string, p *signature.Package) bool { return p.Framework.Line > 0 }) {
		return f.own(all)
	}
	var names []string
	for _, r := range all {
		names = append(names, r.Target)
	}
	i := slices.Index(names, f.s.Target)
	switch {
	case f.s.Target == "" && len(all) == 1:
		i = 0
	case f.s.Target == "":
		return nil, kit.Errorf(sayWhich+" = \""+names[0]+"\"", "the app registers several functions: %s", strings.Join(names[:min(len(names), 20)], ", "))
	case i < 0 && len(all) == 1 && all[0].Target == "": // its name is made when it runs
		i = 0
	case i < 0:
		return nil, nil
	}
	return f.starts(all[i])
}

// starts is a registered function with the program that starts the framework.
func (f *finder) starts(r registration) (*fn, error) {
	where := fmt.Sprintf("%s:%d", path.Join(r.dir, r.File), r.Line)
	s := function.Signature(kit.Pick(r.Signature == "typed", string(function.HTTP), r.Signature))
	if f.s.Signature != "" && f.s.Signature != s {
		return nil, kit.Errorf("make signature = \""+string(s)+"\", or remove it", "project.toml says that the signature is %s, and %s registers %s as %s", f.s.Signature, where, r.Target, r.Signature)
	}
	name := kit.Pick(r.Target == "", f.s.Target, r.Target)
	if name == "" {
		return nil, kit.Errorf(sayWhich, "%s registers a function whose name is not a constant", where)
	}
	evidence := fmt.Sprintf("%s: functions.%s(%q, …)", where, map[string]string{"http": "HTTP", "cloudevent": "CloudEvent", "typed": "Typed"}[r.Signature], r.Target)
	g := f.serves(r.dir, r.pkg, function.FunctionsFramework, evidence)
	g.Target, g.Signature = name, s
	if r.pkg.Name == "main" && r.pkg.Main { // the app starts the framework itself
		is := func(t target) bool { return path.Clean(t.dir) == r.dir }
		if len(f.mains) > 0 && !slices.ContainsFunc(f.mains, is) || f.web != nil && !is(*f.web) {
			return nil, nil
		}
		g.target, g.Own = newTarget(r.dir, f.mod), where
		return g, nil
	}
	g.needs, g.main = []string{"log", "os", signature.FrameworkServer}, startFramework
	return g, nil
}

// knative finds a function of Knative: func.yaml says so, or what the package at the root exports.
func (f *finder) knative() (*fn, error) {
	if f.s.Handler != "" || f.s.Contract == "" && f.s.Target != "" || f.s.Contract != "" && f.s.Contract != function.Knative {
		return nil, nil
	}
	manifest, err := functions.ReadManifest(f.app, language, f.said)
	if err != nil {
		return nil, err
	}
	evidence := kit.Pick(manifest != nil, "func.yaml", kit.Pick(f.s.Contract != "", table, ""))
	dir := f.folder()
	p, err := f.read(dir)
	if err != nil || evidence == "" && (p == nil || p.Name == "main" || len(f.mains) > 0) {
		return nil, err
	}
	if p == nil && manifest == nil && f.elsewhere() {
		return nil, nil
	}
	if p == nil {
		return nil, kit.Errorf("put the function into the folder of func.yaml", "%s says that the app is a function of Knative, and there is no Go in %s", evidence, dir)
	}
	want := f.s.Signature
	if manifest != nil && want == "" {
		want = function.Signature(manifest.Signature)
	}
	g, err := f.handle(dir, p, evidence, want)
	if g != nil && manifest != nil {
		g.Env = manifest.Env
	}
	return g, err
}

// handle finds Handle, or New whose result has it. Without other evidence both must have a signature that says what they are.
func (f *finder) handle(dir string, p *signature.Package, evidence string, want function.Signature) (*fn, error) {
	static, instanced := p.Func(kit.Pick(f.s.Target == "", "Handle", f.s.Target)), p.Func("New")
	if f.s.Target == "New" {
		static = nil
	}
	of := ""
	if instanced != nil {
		of = p.Results["New"]
	}
	method := p.Method(of, "Handle")
	switch {
	case evidence == "" && (static == nil || !static.HTTP() && !static.HTTPContext() && !static.TakesEvent()) && (method == nil || !method.HTTP() && !method.TakesEvent()):
		return nil, nil
	case static != nil && instanced != nil && (method != nil || evidence != ""):
		return nil, kit.Errorf("keep one of them", "the function has both forms: %s: %s, and %s: %s", at(dir, static), static.Text, at(dir, instanced), instanced.Text)
	case static != nil:
		g := f.serves(dir, p, function.Knative, strings.TrimPrefix(evidence+"; "+at(dir, static)+": "+static.Text, "; "))
		s, err := signatureOf(dir, static, want)
		if err != nil {
			return nil, err
		}
		if s == function.Event {
			return nil, kit.Errorf("make it "+forms[function.HTTP]+", or "+forms[function.CloudEvent], "%s: %s is not the signature of a function of Knative", at(dir, static), static.Text)
		}
		g.call(static, s)
		return g, f.callable(g)
	case instanced != nil:
		return f.instance(dir, p, instanced, of, evidence, want)
	}
	_, err := exported(dir, p, "Handle")
	return nil, err
}

// hooks are the methods of an instance that are called beside Handle, by their signatures.
var hooks = map[string][2]string{
	"Start": {"context.Context, map[string]string", "error"}, "Stop": {"context.Context", "error"},
	"Ready": {"context.Context", "bool, error"}, "Alive": {"context.Context", "bool, error"},
}

// instance finds the function in what New returns.
func (f *finder) instance(dir string, p *signature.Package, made *signature.Func, of, evidence string, want function.Signature) (*fn, error) {
	if len(made.Params) > 0 || made.Generic || of == "" {
		return nil, kit.Errorf("make it func New() *T, with a type T of the package", "%s: %s is not how a function is made", at(dir, made), made.Text)
	}
	method := p.Method(of, "Handle")
	if method == nil {
		return nil, kit.Errorf("give it one: func (f *"+of+") Handle(http.ResponseWriter, *http.Request)", "%s: %s returns what has no method Handle", at(dir, made), made.Text)
	}
	s, err := signatureOf(dir, method, want)
	if err != nil {
		return nil, err
	}
	for name, form := range hooks {
		if h := p.Method(of, name); h != nil && (strings.Join(h.Params, ", ") != form[0] || strings.Join(h.Results, ", ") != form[1]) {
			return nil, kit.Errorf(fmt.Sprintf("make it %s(%s) (%s)", name, form[0], form[1]), "%s: %s would not be called", at(dir, h), h.Text)
		}
	}
	g := f.serves(dir, p, function.Knative, strings.TrimPrefix(evidence+"; "+at(dir, method)+": "+method.Text, "; "))
	g.call(method, s)
	g.Target = "New"
	switch {
	case s == function.CloudEvent:
		g.event(method, "f.Handle", "f")
	case method.HTTPContext():
		g.main = "serve.HTTP(func(w http.ResponseWriter, r *http.Request) { f.Handle(r.Context(), w, r) }, f)"
	default:
		g.main = "serve.HTTP(f.Handle, f)"
	}
	g.main = "f := " + g.name("New") + "()\n\t" + g.main
	return g, f.callable(g)
}
