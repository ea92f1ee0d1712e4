package golang

import (
	"fmt"
	"go/build"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/golang/signature"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// chooseWeb finds the program that is built where the app is no function, and tells whether the app is that, whatever else is in it: it answers
// requests by itself, or nothing says that it is a function.
func (f *finder) chooseWeb() (server bool, err error) {
	procs, _ := procfile.Read(f.app) // a malformed one fails in its own buildpack
	t, err := chooseWeb(f.app, f.mod, f.mains, procs)
	if err != nil {
		return false, nil // there is none, or several: the app is a function, or cannot be built
	}
	f.web = &t
	if f.mod.file == "go.mod" && !slices.Contains(f.mod.libraries, signature.Framework) && !slices.Contains(f.mod.libraries, signature.Lambda) && !kit.Exists(f.app, "func.yaml") {
		return true, nil // no contract fits an app with a program, without these: its packages need not be read
	}
	p, err := f.read(path.Clean(t.dir))
	if err != nil {
		return false, err
	}
	if f.reaches(t, func(dir string, p *signature.Package) bool {
		return p.Listens.Line > 0 || p.Runs.Line > 0 && f.imports(dir, webFrameworks)
	}) {
		return true, nil
	}
	f.webStarts = p.Starts.Line > 0
	if f.webStarts || len(p.Registered) > 0 || f.reaches(t, func(_ string, p *signature.Package) bool { return p.Framework.Line > 0 }) {
		return false, nil
	}
	// How it listens is not seen: what it imports says that it does.
	return f.reaches(t, func(dir string, _ *signature.Package) bool { return f.imports(dir, servers) }), nil
}

// webFrameworks are the servers whose own method Run or Start serves.
var webFrameworks = slices.DeleteFunc(slices.Clone(servers), func(s string) bool { return s == "net/http" || s == "google.golang.org/grpc" })

// imports tells whether a package of the app imports one of those that answer requests.
func (f *finder) imports(dir string, packages []string) bool {
	p, _ := importDir(filepath.Join(f.app, filepath.FromSlash(dir)))
	return p != nil && importsAny(p, packages)
}

func importsAny(p *build.Package, packages []string) bool {
	return slices.ContainsFunc(p.Imports, func(i string) bool {
		return slices.ContainsFunc(packages, func(s string) bool {
			return i == s || strings.HasPrefix(i, s+"/v") || s != "net/http" && strings.HasPrefix(i, s+"/")
		})
	})
}

// reaches tells whether a program, or a package of the app that it imports, is what is looked for. What cannot be read is not.
func (f *finder) reaches(t target, is func(dir string, p *signature.Package) bool) bool {
	return reach(f.app, f.mod, t, true, func(dir string, _ *build.Package) bool {
		p, err := f.read(dir)
		return err == nil && p != nil && is(dir, p)
	})
}

// reach looks at a program and at the packages of the app that it imports, the one at the root of the module among them where root is true.
func reach(app string, m mod, t target, root bool, is func(dir string, p *build.Package) bool) bool {
	seen := map[string]bool{}
	var look func(rel string) bool
	look = func(rel string) bool {
		if seen[rel] || len(seen) > 500 {
			return false
		}
		seen[rel] = true
		p, _ := importDir(filepath.Join(app, filepath.FromSlash(rel)))
		if p == nil {
			return false
		}
		return is(rel, p) || slices.ContainsFunc(p.Imports, func(i string) bool {
			if root && i == m.path {
				return look(".")
			}
			rest, ok := strings.CutPrefix(i, m.path+"/")
			return ok && m.path != "" && look(rest)
		})
	}
	return look(path.Clean(t.dir))
}

// own is the function of an app whose program starts the framework: it is built as it is. nil where the program has several functions, or paths of its
// own: which of them answers is said when it runs.
func (f *finder) own(all []registration) (*fn, error) {
	r := all[0]
	if len(all) > 1 || r.Target == "" || f.reaches(*f.web, func(_ string, p *signature.Package) bool { return p.Routes }) ||
		!f.reaches(*f.web, func(dir string, _ *signature.Package) bool { return dir == r.dir }) {
		return nil, nil
	}
	g, err := f.starts(r)
	if err != nil || g == nil {
		return nil, err
	}
	g.target, g.Own, g.main, g.needs = *f.web, fmt.Sprintf("%s:%d", path.Join(r.dir, r.File), r.Line), "", nil
	return g, nil
}
