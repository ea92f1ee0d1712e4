// Package golang is the Go buildpack: modules in, static binaries out.
package golang

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"go/version"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// Buildpack builds Go modules.
type Buildpack struct {
	Root   string // GOROOT of the toolchain in the build image
	Cache  string // compiled standard library, read-only; may be missing
	Lambda string // gitd-lambda in the build image
	Out    io.Writer

	// Assets makes what the build script of a folder makes; nil makes nothing.
	Assets func(ctx libcnb.BuildContext, cache *kit.Cache, env kit.Env, folder string) error
}

// New returns the buildpack with the paths of the build image.
func New(out io.Writer) Buildpack {
	return Buildpack{Root: catalog.GoRoot, Cache: catalog.GoCache, Lambda: catalog.LambdaProgram, Out: out, Assets: withNode(out)}
}

// Detect implements libcnb.Detector.
func (b Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	app, env := functionModule(ctx.Application.Path, kit.NewEnv(ctx.Platform.Environment))
	m, err := readModule(app)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err := findFunction(app, env, mod{}); err != nil {
			return libcnb.DetectResult{}, err
		} else if f != nil {
			return kit.Detected(b.Out, "Go function (%s, no go.mod)", strings.TrimPrefix(f.Evidence, table+"; ")), nil
		}
		if program := programAlone(app); program != "" {
			return kit.Detected(b.Out, "Go (%s, no go.mod)", program), nil
		}
		return kit.LookedFor(b.Out, "go.mod"), nil
	}
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	if themes(app, m) {
		return kit.LookedFor(b.Out, "go.mod of a program"), nil
	}
	if other(app, m) {
		if f, err := findFunction(app, env, m); err == nil && f != nil {
			return kit.Detected(b.Out, "Go function (%s)", f.Evidence), nil
		}
		return kit.LookedFor(b.Out, "go.mod of a program"), nil
	}
	return kit.Detected(b.Out, "Go (%s, go %s)", m.file, m.goVersion), nil
}

// Check returns an *kit.Error when the app has a go.mod or go.work that cannot be read.
func Check(app string) error {
	if _, err := readModule(app); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// mod is what the app's go.mod or go.work says.
type mod struct {
	file      string   // "go.mod" or "go.work"
	path      string   // module path; "" for a workspace without a module at its root
	goVersion string   // "1.26", "1.26.3"
	toolchain string   // "go1.26.3", or ""
	cgo       string   // a module that the app requires and that does nothing without cgo; "" for none
	requires  bool     // go.mod requires modules
	libraries []string // those of libraries that go.mod requires
	modules   []string // the folders that go.work names; nil without one
}

// has tells whether the go command builds packages of the module in a folder.
func (m mod) has(folder string) bool {
	if m.modules == nil {
		return folder == "."
	}
	return slices.Contains(m.modules, folder)
}

// needsCgo are modules that bring their C sources or libraries along, and compile to something that only fails without cgo.
var needsCgo = []string{"github.com/mattn/go-sqlite3", "github.com/mutecomm/go-sqlcipher", "github.com/confluentinc/confluent-kafka-go", "github.com/marcboeker/go-duckdb", "github.com/duckdb/duckdb-go",
	"github.com/chai2010/webp", "github.com/kolesa-team/go-webp", "github.com/yalue/onnxruntime_go", "github.com/tree-sitter/go-tree-sitter", "github.com/smacker/go-tree-sitter", "rogchap.com/v8go", "github.com/tommie/v8go", "github.com/bytecodealliance/wasmtime-go",
	"github.com/wasmerio/wasmer-go", "github.com/asg017/sqlite-vec-go-bindings", "github.com/DataDog/zstd", "github.com/valyala/gozstd", "github.com/supranational/blst", "github.com/linxGnu/grocksdb", "github.com/tursodatabase/go-libsql"}

// name is what the go command would call the binary of the root package.
func (m mod) name() string {
	prefix, _, ok := module.SplitPathVersion(m.path)
	if !ok {
		prefix = m.path
	}
	if n := path.Base(prefix); n != "." && n != "/" {
		return n
	}
	return "app"
}

// needs is the oldest toolchain that will do.
func (m mod) needs() string {
	needs := "go" + m.goVersion
	if m.toolchain != "" && version.IsValid(m.toolchain) && version.Compare(m.toolchain, needs) > 0 {
		needs = m.toolchain
	}
	return needs
}

func readModule(app string) (mod, error) {
	m := mod{goVersion: "1.16"} // the go command's own default for a go.mod that names none
	data, err := kit.ReadFile(app, "go.mod")
	switch {
	case err == nil:
		m.file = "go.mod"
		f, err := modfile.ParseLax("go.mod", data, nil)
		if err != nil {
			return m, kit.Errorf("run go mod tidy and push again", "go.mod cannot be read: %s", kit.First(err.Error()))
		}
		if f.Module != nil {
			m.path = f.Module.Mod.Path
		}
		if f.Go != nil {
			m.goVersion = f.Go.Version
		}
		if f.Toolchain != nil {
			m.toolchain = f.Toolchain.Name
		}
		m.requires = len(f.Require) > 0
		for _, r := range f.Require {
			if slices.Contains(libraries, r.Mod.Path) {
				m.libraries = append(m.libraries, r.Mod.Path)
			}
			if prefix, _, ok := module.SplitPathVersion(r.Mod.Path); ok && slices.Contains(needsCgo, prefix) {
				m.cgo = r.Mod.Path
			}
		}
	case !errors.Is(err, fs.ErrNotExist):
		return m, err
	}
	data, err = kit.ReadFile(app, "go.work")
	if err != nil {
		if m.file != "" && errors.Is(err, fs.ErrNotExist) {
			return m, nil
		}
		return m, err
	}
	if m.file == "" {
		m.file = "go.work"
	}
	f, err := modfile.ParseWork("go.work", data, nil)
	if err != nil {
		return m, kit.Errorf("run go work sync and push again", "go.work cannot be read: %s", kit.First(err.Error()))
	}
	m.modules = []string{}
	for _, u := range f.Use {
		m.modules = append(m.modules, path.Clean(filepath.ToSlash(u.Path)))
	}
	// A go.work's lines win over those of go.mod.
	if f.Go != nil {
		m.goVersion = f.Go.Version
	}
	if f.Toolchain != nil {
		m.toolchain = f.Toolchain.Name
	}
	return m, nil
}

// Build implements libcnb.Builder.
func (b Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	app, env := functionModule(ctx.Application.Path, kit.NewEnv(ctx.Platform.Environment))
	cache := kit.OpenCache(ctx, env)
	m, f, err := b.moduleAndFunction(app, env, cache)
	if err != nil {
		return result, err
	}
	if err := b.assets(ctx, cache); err != nil {
		return result, err
	}
	procs, err := procfile.Read(app)
	if err != nil {
		return result, err
	}
	targets, err := b.targets(ctx.Application.Path, app, m, f, env, procs)
	if err != nil {
		return result, err
	}

	bin, err := cache.Dir("go-bin")
	if err != nil {
		return result, err
	}
	if err := b.compile(app, bin, env, m, targets); err != nil {
		return result, err
	}
	layer, err := binaryLayer(ctx, bin, targets, procs)
	if err != nil {
		return result, err
	}
	if err := stripSources(app, layer.Path, targets, procs); err != nil {
		return result, err
	}
	result.Layers = append(cache.Layers(), layer)
	for i, t := range targets {
		p := libcnb.Process{Type: t.name, Command: t.name, Direct: true}
		if i == 0 {
			p.Type, p.Default = "web", true
			if argument := subcommand(app, m, t); argument != "" && f == nil {
				kit.Say(b.Out, "The program has subcommands, and serves by one of them: %s %s; web: of a Procfile names another", t.name, argument)
				p.Arguments = []string{argument}
			}
		}
		result.Processes = append(result.Processes, p)
	}
	if f == nil {
		return result, nil
	}
	return result, b.launch(ctx, f, &result)
}

// module reads the app's module, or makes one, and sets the environment for it.
func (b Buildpack) module(app string, env kit.Env, cache *kit.Cache) (mod, error) {
	m, err := readModule(app)
	bare := errors.Is(err, fs.ErrNotExist)
	if err != nil && !bare {
		return m, err
	}
	if err := b.prepare(env, cache, m); err != nil {
		return m, err
	}
	switch {
	case bare:
		err = b.makeModule(app, env)
	case m.file == "go.mod" && m.requires && !kit.Exists(app, "go.sum") && !kit.Exists(app, "vendor"):
		kit.Say(b.Out, "Warning: there is no go.sum, so nothing says which modules are the right ones; run go mod tidy, and commit it")
		err = b.tidy(app, env)
	default:
		return m, nil
	}
	if err != nil {
		return m, err
	}
	return readModule(app)
}

// prepare sets the environment of the go command.
func (b Buildpack) prepare(env kit.Env, cache *kit.Cache, m mod) error {
	modCache, err := cache.Downloads("go-mod")
	if err != nil {
		return err
	}
	goCache, err := cache.Dir("go-build")
	if err != nil {
		return err
	}
	if err := seed(b.Cache, goCache); err != nil {
		kit.Say(b.Out, "Going on without the compiled standard library of the builder: %v", err)
	}
	// The go command knows its root from where it is; a variable would bind one toolchain to the library of another.
	delete(env, "GOROOT")
	env["GOMODCACHE"] = modCache
	env["GOCACHE"] = goCache
	env.Prepend(filepath.Join(b.Root, "bin"))
	env.Default("HOME", os.TempDir())
	if env["CGO_ENABLED"] == "" && m.cgo != "" {
		kit.Say(b.Out, "CGO_ENABLED=1: %s is written in C in part", m.cgo)
		env["CGO_ENABLED"] = "1"
	}
	env.Default("CGO_ENABLED", "0")
	env.Default("GOTOOLCHAIN", "auto")
	env.Default("GOFLAGS", "-buildvcs=false")
	env["GOENV"] = "off"
	env["GOTELEMETRY"] = "off"
	have := "go" + strings.TrimPrefix(kit.First(kit.Text(b.Root, "VERSION")), "go")
	if env["GOTOOLCHAIN"] == "auto" && version.IsValid(have) && version.Compare(have, m.needs()) < 0 {
		kit.Say(b.Out, "%s asks for %s, the builder has %s: the go command fetches it", m.file, m.needs(), have)
	}
	return nil
}

// compile runs one go build for all targets. The binaries stay in bin from build to build: the go command leaves what is up
// to date alone, linking included.
func (b Buildpack) compile(app, bin string, env kit.Env, m mod, targets []target) error {
	args := []string{"go", "build", "-trimpath", "-modcacherw", "-ldflags", strings.TrimSpace("-s -w " + env["BP_GO_LDFLAGS"])}
	flags, err := env.ShellWords("BP_GO_BUILD_FLAGS")
	if err != nil {
		return err
	}
	args = append(args, flags...)
	out := bin + "/"
	if len(targets) == 1 {
		out = filepath.Join(bin, targets[0].name)
	}
	args = append(args, "-o", out)
	var dirs []string
	for _, t := range targets {
		dirs = append(dirs, t.dir)
	}
	kit.Say(b.Out, "go build %s", strings.Join(dirs, " "))
	tail, err := kit.Cmd{Args: append(args, dirs...), Dir: app, Env: env, Out: b.Out, Name: "go build"}.Run()
	if err != nil {
		if strings.Contains(tail, "toolchain not available") || strings.Contains(tail, "go: download "+m.needs()) {
			return kit.Errorf("name a released version in its go and toolchain lines", "%s asks for %s, which cannot be fetched", m.file, m.needs())
		}
		return reason(tail, m.file, err)
	}
	return nil
}

// binaryLayer puts the binaries into a layer for launch, or keeps the last build's when they are the same.
func binaryLayer(ctx libcnb.BuildContext, bin string, targets []target, procs []procfile.Process) (*kit.Layer, error) {
	layer, err := kit.OpenLayer(ctx, "bin")
	if err != nil {
		return nil, err
	}
	var parts []string
	var packages []kit.Package
	for _, t := range targets {
		file := filepath.Join(bin, t.name)
		sum, err := kit.FileKey(file)
		if err != nil {
			return nil, fmt.Errorf("the binary of %s is not where go build should have left it: %w", t.dir, err)
		}
		parts = append(parts, t.name, sum)
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return nil, err
		}
		packages = append(packages, kit.Package{Name: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go"), PURL: "pkg:golang/stdlib"})
		for _, d := range info.Deps {
			if d.Replace != nil {
				d = d.Replace
			}
			packages = append(packages, kit.Package{Name: d.Path, Version: d.Version, PURL: "pkg:golang/" + d.Path})
		}
	}
	script := runScript(procs, targets)
	words, _ := aliases(ctx.Application.Path, procs, targets)
	if len(words) > 0 || script != "" {
		parts = append(parts, script, fmt.Sprint(words))
	}
	key := kit.Key(parts...)
	reuse, err := layer.Renew(key)
	if err != nil {
		return nil, err
	}
	if !reuse {
		for _, t := range targets {
			if err := kit.CopyFile(filepath.Join(bin, t.name), filepath.Join(layer.Path, "bin", t.name)); err != nil {
				return nil, err
			}
		}
		if err := addCommands(layer.Path, script, words); err != nil {
			return nil, err
		}
	}
	return layer, kit.WriteSBOM(layer.Layer, packages)
}

// stripSources leaves what a program may want to read at run time (templates, static files, migrations) and removes what
// only the compiler reads. A Procfile may name a binary as bin/NAME, as is the custom elsewhere, or by another path.
func stripSources(app, layer string, targets []target, procs []procfile.Process) error {
	drop := func(rel string, d fs.DirEntry) bool {
		name := d.Name()
		if d.IsDir() {
			return name == ".git" || name == "testdata" || rel == "vendor"
		}
		switch name {
		case "go.mod", "go.sum", "go.work", "go.work.sum":
			return true
		}
		return strings.HasSuffix(name, ".go")
	}
	if err := kit.Prune(app, drop); err != nil {
		return err
	}
	_, files := aliases(app, procs, targets)
	return linkPaths(app, layer, files)
}
