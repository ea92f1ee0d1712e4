package golang

import (
	"errors"
	"go/build"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// target is a main package.
type target struct {
	dir  string // as the go command takes it: ".", "./cmd/web"
	name string // of the binary
}

// chooseTargets finds the main packages to build, the one for the web first: those that were asked for, else the package at
// the root, else the only one below cmd, else the only one anywhere, else the one that is called web, server or as the module, else the only one that
// answers requests.
// Further commands are built when the Procfile names them.
func chooseTargets(app string, m mod, asked []string, procs []procfile.Process) ([]target, error) {
	if len(asked) > 0 {
		return askedTargets(app, m, asked)
	}
	mains, err := findMains(app, m)
	if err != nil {
		return nil, err
	}
	if len(mains) == 0 {
		return nil, kit.Errorf("add one, or name its folder in BP_GO_TARGETS", "there is no main package in the app")
	}
	web, err := chooseWeb(app, m, mains, procs)
	if err != nil {
		return nil, err
	}
	targets := []target{web}
	runs := goRuns(procs)
	for _, t := range mains {
		run := slices.ContainsFunc(runs, func(r goRun) bool { return r.dir == path.Clean(t.dir) })
		if t != web && (run || inProcfile(procs, t.name)) && !slices.ContainsFunc(targets, func(o target) bool { return o.name == t.name }) {
			targets = append(targets, t)
		}
	}
	return targets, nil
}

func chooseWeb(app string, m mod, mains []target, procs []procfile.Process) (target, error) {
	if t, ok := runsTarget(goRuns(procs), mains, "web"); ok {
		return t, nil
	}
	for _, t := range mains {
		if t.dir == "." {
			return t, nil
		}
	}
	var inCmd []target
	for _, t := range mains {
		if path.Dir(t.dir) == "cmd" || path.Dir(t.dir) == "./cmd" {
			inCmd = append(inCmd, t)
		}
	}
	for _, group := range [][]target{inCmd, mains} {
		if len(group) == 1 {
			return group[0], nil
		}
		// What the Procfile starts for the web is asked for as plainly as BP_GO_TARGETS.
		for _, p := range procs {
			if p.Type != "web" {
				continue
			}
			for _, t := range group {
				if p.Names(t.name) {
					return t, nil
				}
			}
		}
		for _, name := range []string{"web", "server", m.name(), "api", "app"} {
			for _, t := range group {
				if t.name == name {
					return t, nil
				}
			}
		}
		serving := slices.DeleteFunc(slices.Clone(group), func(t target) bool { return !serves(app, m, t) })
		if len(serving) == 1 {
			return serving[0], nil
		}
	}
	var names []string
	for _, t := range mains {
		names = append(names, t.dir)
	}
	return target{}, kit.Errorf("set BP_GO_TARGETS to the one that serves the web, or call it ./cmd/web",
		"the app has several main packages, and gitd cannot tell which one to start: %s", strings.Join(names, ", "))
}

func inProcfile(procs []procfile.Process, name string) bool {
	return slices.ContainsFunc(procs, func(p procfile.Process) bool { return p.Names(name) })
}

func askedTargets(app string, m mod, asked []string) ([]target, error) {
	var targets []target
	for _, a := range asked {
		dir := path.Clean(filepath.ToSlash(a))
		if path.IsAbs(dir) || dir == ".." || strings.HasPrefix(dir, "../") {
			return nil, kit.Errorf("", "BP_GO_TARGETS names %s, which is outside of the app", a)
		}
		if !kit.IsDir(app, dir) {
			return nil, kit.Errorf("name folders of the app, such as ./cmd/web", "BP_GO_TARGETS names %s, which is not a folder of the app", a)
		}
		t := newTarget(dir, m)
		if i := slices.IndexFunc(targets, func(o target) bool { return o.name == t.name }); i >= 0 {
			return nil, kit.Errorf("", "BP_GO_TARGETS names %s and %s, whose binaries have the same name", targets[i].dir, t.dir)
		}
		targets = append(targets, t)
	}
	return targets, nil
}

func newTarget(dir string, m mod) target {
	if dir == "." {
		return target{dir: ".", name: m.name()}
	}
	return target{dir: "./" + dir, name: path.Base(dir)}
}

// maxDepth bounds the search for main packages.
const maxDepth = 6

// importDir reads a folder's package by the rules of the go command: file names, build constraints.
func importDir(dir string) (*build.Package, error) {
	ctx := build.Default
	ctx.GOOS, ctx.CgoEnabled = "linux", false
	return ctx.ImportDir(dir, 0)
}

// isMain tells whether a folder has a program.
func isMain(dir string) bool {
	p, err := importDir(dir)
	var multiple *build.MultiplePackageError
	if errors.As(err, &multiple) {
		// The go command says what is wrong here, and better.
		return slices.Contains(multiple.Packages, "main")
	}
	return p != nil && p.Name == "main" && (err == nil || len(p.GoFiles) > 0)
}

// walkPackages calls f for the folders of the app that may have packages of it, as deep as maxDepth.
func walkPackages(app string, f func(dir, rel string)) error {
	return filepath.WalkDir(app, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(app, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if rel != "." {
			switch name := d.Name(); {
			case strings.HasPrefix(name, "."), strings.HasPrefix(name, "_"), name == "testdata", name == "node_modules", rel == "vendor":
				return fs.SkipDir
			case strings.Count(rel, "/") >= maxDepth:
				return fs.SkipDir
			}
		}
		f(file, rel)
		return nil
	})
}

// findMains looks for main packages, without the time that go list takes.
func findMains(app string, m mod) ([]target, error) {
	// The root is what is started: the commands beside it matter only to a Procfile.
	if isMain(app) && m.has(".") && !kit.Exists(app, "Procfile") {
		return []target{newTarget(".", m)}, nil
	}
	var mains []target
	err := walkPackages(app, func(dir, rel string) {
		if m.has(moduleOf(app, rel)) && isMain(dir) {
			mains = append(mains, newTarget(rel, m))
		}
	})
	return mains, err
}

// moduleOf is the folder of the module that a folder belongs to.
func moduleOf(app, rel string) string {
	for ; rel != "."; rel = path.Dir(rel) {
		if kit.IsFile(app, rel, "go.mod") {
			return rel
		}
	}
	return "."
}

// servers are packages that a program imports to answer requests.
var servers = []string{"net/http", "github.com/gin-gonic/gin", "github.com/labstack/echo", "github.com/gofiber/fiber", "github.com/go-chi/chi", "github.com/valyala/fasthttp", "github.com/gorilla/mux", "google.golang.org/grpc",
	"github.com/beego/beego", "github.com/kataras/iris", "github.com/gogf/gf", "github.com/gobuffalo/buffalo", "github.com/zeromicro/go-zero", "github.com/go-kratos/kratos", "github.com/danielgtaylor/huma", "connectrpc.com/connect", "github.com/pocketbase/pocketbase",
	"github.com/julienschmidt/httprouter", "github.com/hertz-contrib", "github.com/cloudwego/hertz"}

// serves tells whether a program imports a package that answers requests, by itself or through packages of the app.
func serves(app string, m mod, t target) bool {
	return reach(app, m, t, false, func(_ string, p *build.Package) bool { return importsAny(p, servers) })
}
