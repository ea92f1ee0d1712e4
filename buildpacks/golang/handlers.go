package golang

import (
	"path"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/golang/signature"
	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

// bootstrap is how the program of a function of Lambda is called.
const bootstrap = "bootstrap"

// lambda finds a function of AWS Lambda: a program that starts its handler, or an exported handler that project.toml or a template names.
func (f *finder) lambda() (*fn, error) {
	if f.s.Target != "" && f.s.Contract != function.Lambda || f.s.Contract != "" && f.s.Contract != function.Lambda {
		return nil, nil
	}
	if f.web != nil && !f.webStarts {
		return nil, nil // the app has another program
	}
	handler, folder, evidence := f.s.Handler, f.folder(), kit.Pick(f.said && f.s.Contract == function.Lambda, table, "")
	if handler == "" && f.s.Target != "" {
		handler = path.Join(folder, f.s.Target)
	}
	if evidence == "" {
		t, err := functions.ReadTemplate(f.app, language, f.said)
		if err != nil {
			return nil, err
		}
		if t != nil && kit.IsDir(f.app, t.Source) {
			handler, folder, evidence = t.Handler, path.Clean(t.Source), t.File+": "+t.Name+", Handler "+t.Handler
		}
	}
	// The name of a file or a folder, and of a function in it. A handler without a dot is the name of a program, as the template has it.
	if where, name, ok := strings.Cut(path.Base(handler), "."); ok && name != "" {
		return f.handler(path.Join(folder, path.Dir(handler), where), name, evidence)
	}
	return f.started(folder, evidence)
}

// started finds the program that starts its handler itself.
func (f *finder) started(folder, evidence string) (*fn, error) {
	if f.mod.file != "" && !slices.Contains(f.mod.libraries, signature.Lambda) && evidence == "" {
		return nil, nil
	}
	var found []*fn
	for _, t := range f.mains {
		dir := path.Clean(t.dir)
		if evidence != "" && folder != "." && dir != folder {
			continue
		}
		p, err := f.read(dir)
		if err != nil {
			return nil, err
		}
		if p == nil || p.Starts.Line == 0 {
			continue
		}
		g := f.serves(dir, p, function.Lambda, strings.TrimPrefix(evidence+"; "+at(dir, &p.Starts)+": "+p.Starts.Text, "; "))
		g.target, g.Target = target{dir: t.dir, name: bootstrap}, bootstrap
		found = append(found, g)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1 && evidence == "" && len(found) < len(f.mains):
		// Some of the app's programs: it is the one that would be built, or which of all is meant is said otherwise.
		if i := slices.IndexFunc(found, func(g *fn) bool { return f.web != nil && g.target.dir == f.web.dir }); i >= 0 {
			return found[i], nil
		}
		return nil, nil
	case len(found) > 1:
		var dirs []string
		for _, g := range found {
			dirs = append(dirs, g.dir)
		}
		return nil, kit.Errorf("say which one it is: [io.gitd.function] handler = \"bootstrap\", source = \""+dirs[0]+"\"", "the app has several functions of AWS Lambda: %s", strings.Join(dirs, ", "))
	case f.s.Contract == function.Lambda && f.mod.file != "" && !kit.IsFile(f.app, "bootstrap"):
		return nil, kit.Errorf("call lambda.Start in main, or name an exported handler: [io.gitd.function] handler = \"handler.Handle\"", "no program of the app calls lambda.Start")
	}
	return nil, nil
}

// handler finds the exported handler of a name: where is its folder, or its file without the ending.
func (f *finder) handler(where, name, evidence string) (*fn, error) {
	dir := where
	if !kit.IsDir(f.app, dir) || kit.IsFile(f.app, where+".go") {
		dir = path.Dir(where)
	}
	p, err := f.read(dir)
	if err != nil {
		return nil, err
	}
	if p == nil || dir != where && !kit.IsFile(f.app, where+".go") && p.Name != path.Base(where) {
		if f.mod.file == "" {
			return nil, nil // an app in another language
		}
		return nil, kit.Errorf("write the file or the folder, and the function: handler = \"handler.Handle\"", "there is no Go file %s.go, and no folder %s", where, where)
	}
	e, err := exported(dir, p, name)
	if err != nil {
		return nil, err
	}
	g, err := f.handles(dir, p, e)
	if err != nil {
		return nil, err
	}
	g.Evidence = strings.TrimPrefix(evidence+"; "+g.Evidence, "; ")
	return g, f.callable(g)
}

// handles is an exported handler, with the program that starts it.
func (f *finder) handles(dir string, p *signature.Package, e *signature.Func) (*fn, error) {
	if !e.Lambda() {
		return nil, kit.Errorf("make it func([context.Context], [T]) ([T], [error])", "%s: %s is not the signature of a handler of AWS Lambda", at(dir, e), e.Text)
	}
	g := f.serves(dir, p, function.Lambda, at(dir, e)+": "+e.Text)
	g.Target = path.Join(dir, strings.TrimSuffix(e.File, ".go")) + "." + e.Name
	g.needs, g.main = []string{signature.Lambda + "/lambda"}, "lambda.Start("+g.name(e.Name)+")"
	return g, nil
}

// bareFile is the file that is a function by its name.
const bareFile = "handler.go"

// bare finds the function of a file handler.go: Handler, Handle, or the only one that is exported.
func (f *finder) bare() (*fn, error) {
	if f.s.Handler != "" || f.s.Target != "" || f.s.Source != "" || f.s.Contract != "" && f.s.Contract != function.Lambda {
		return nil, nil
	}
	if !kit.IsFile(f.app, bareFile) || !f.said && (len(f.mains) > 0 || f.mod.file == "" && otherFiles(f.app)) {
		return nil, nil
	}
	p, err := f.read(".")
	if err != nil || p == nil {
		return nil, err
	}
	e, err := bareFunc(p)
	if err != nil && f.mod.file != "" && !f.said {
		return nil, nil // a library that has a file of that name
	}
	if err != nil {
		return nil, err
	}
	if !e.HTTP() && !e.HTTPContext() && !e.TakesEvent() && e.Lambda() {
		return f.handles(".", p, e)
	}
	s, err := signatureOf(".", e, f.s.Signature)
	if err != nil {
		return nil, err
	}
	g := f.serves(".", p, function.FunctionsFramework, at(".", e)+": "+e.Text)
	g.call(e, s)
	return g, f.callable(g)
}

// bareFunc is the function of handler.go.
func bareFunc(p *signature.Package) (*signature.Func, error) {
	var names []string
	var only *signature.Func
	for _, name := range []string{"Handler", "Handle"} {
		if g := p.Func(name); g != nil && g.File == bareFile {
			return g, nil
		}
	}
	for i, g := range p.Funcs {
		if g.File == bareFile {
			only, names = &p.Funcs[i], append(names, g.Name)
		}
	}
	if len(names) == 1 {
		return only, nil
	}
	if len(names) > 1 {
		return nil, kit.Errorf("call the function Handler, or "+sayWhich, "%s exports several functions: %s", bareFile, strings.Join(names[:min(len(names), 20)], ", "))
	}
	return exported(".", p, "Handler")
}

// otherFiles tells whether the app has files that say that it is of another language.
func otherFiles(app string) bool {
	return slices.ContainsFunc([]string{"package.json", "requirements.txt", "pyproject.toml", "Cargo.toml", "pom.xml", "Gemfile", "composer.json", "mix.exs", "index.html"}, func(f string) bool { return kit.Exists(app, f) })
}
