// Package rust is the Rust buildpack: packages of cargo in, programs out.
package rust

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/node"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// Buildpack builds Rust programs.
type Buildpack struct {
	Root string // a toolchain, bin/rustc and bin/cargo, to be taken for the builder's own; "" takes Debian's
	Out  io.Writer
}

// New returns the buildpack with the paths of the build image.
func New(out io.Writer) Buildpack { return Buildpack{Out: out} }

const looksFor = "Cargo.toml with a program"

// Detect implements libcnb.Detector.
func (b Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	app := ctx.Application.Path
	f, err := look(app)
	if errors.Is(err, fs.ErrNotExist) {
		return kit.LookedFor(b.Out, "Cargo.toml"), nil
	}
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	if page := kit.IsFile(app, "Trunk.toml") || strings.Contains(kit.Text(app, "index.html"), "data-trunk"); page && !procfile.HasWeb(app) {
		return libcnb.DetectResult{}, kit.Errorf(`run trunk build --release, commit dist/, and write into project.toml: [io.gitd.build] buildpacks = ["static"], and BP_STATIC_ROOT = "dist" as a variable of the build`,
			"the app is a page of WebAssembly (Trunk), which this builder does not compile")
	}
	if f.program == "" && libraryOf(app) != "" || f.program != "." && startsByNode(app) {
		return kit.LookedFor(b.Out, looksFor), nil
	}
	w, err := wantedToolchain(app, kit.NewEnv(ctx.Platform.Environment), f)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	what := "Cargo.toml"
	if f.Workspace != nil {
		what += ", a workspace"
	}
	return kit.Detected(b.Out, "Rust (%s, %s)", what, w.describe()), nil
}

// startsByNode tells whether the app has a server in Node.js: what a workspace has below it belongs to that then.
func startsByNode(app string) bool {
	p, err := node.ReadPackage(app)
	return err == nil && p.KindOf(app) == node.Server
}

// Build implements libcnb.Builder.
func (b Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	app := ctx.Application.Path
	f, err := look(app)
	if err != nil {
		return result, err
	}
	env := kit.NewEnv(ctx.Platform.Environment)
	cache := kit.OpenCache(ctx, env)
	w, err := wantedToolchain(app, env, f)
	if err != nil {
		return result, err
	}
	t, err := b.findToolchain(w, env, cache)
	if err != nil {
		return result, err
	}
	kit.Say(b.Out, "Rust %s of %s", t.version, t.source)
	target, err := b.prepare(app, env, cache, t, f)
	if err != nil {
		return result, err
	}
	programs, procs, err := b.programs(app, env)
	if err != nil {
		return result, err
	}
	if err := kit.KeepTimes(app, filepath.Join(target, "gitd-times"), time.Now(), "target"); err != nil {
		return result, err
	}
	flags, keepLock, err := b.lock(app, target)
	if err != nil {
		return result, err
	}
	built, err := b.compile(app, env, programs, flags)
	var old *tooOld
	if errors.As(err, &old) && w.channel == "" {
		if b.renew(app, env, cache, wanted{minimum: old.version, from: "the package " + old.pkg, targets: w.targets}, f) {
			built, err = b.compile(app, env, programs, flags)
		}
	}
	if err != nil {
		return result, err
	}
	if err := keepLock(); err != nil {
		return result, err
	}
	layer, err := programLayer(ctx, app, built, programs)
	if err != nil {
		return result, err
	}
	if err := stripSources(app, layer.Path, programs, procs); err != nil {
		return result, err
	}
	result.Processes = processes(programs)
	result.Layers = append(cache.Layers(), layer)
	return result, nil
}

// renew takes the Rust project's newest toolchain, for an app that names none and has a package that Debian's is too old for. It tells whether there is one.
func (b Buildpack) renew(app string, env kit.Env, cache *kit.Cache, w wanted, f found) bool {
	t, err := b.findToolchain(w, env, cache)
	if err != nil {
		return false // the package's own words say more
	}
	kit.Say(b.Out, "Rust %s of %s, for %s", t.version, t.source, w.from)
	_, err = b.prepare(app, env, cache, t, f)
	return err == nil
}

// programs finds what to build.
func (b Buildpack) programs(app string, env kit.Env) ([]program, []procfile.Process, error) {
	procs, err := procfile.Read(app)
	if err != nil {
		return nil, nil, err
	}
	m, err := readMetadata(app, env)
	if err != nil {
		return nil, nil, err
	}
	programs, err := choosePrograms(m, env.Words("BP_CARGO_WORKSPACE_MEMBERS"), procs)
	return programs, procs, err
}

// processes are the programs, the first of which serves the web.
func processes(programs []program) (list []libcnb.Process) {
	for i, p := range programs {
		proc := libcnb.Process{Type: p.name, Command: p.name, Direct: true}
		if i == 0 {
			proc.Type, proc.Default = "web", true
		}
		if p.pkg.dependsOn("loco-rs") {
			proc.Arguments = []string{"start"} // its programs have commands: without one they print what there is
		}
		list = append(list, proc)
	}
	return list
}

// ports give the frameworks that read variables of their own the port that the app is told to listen on, and an address that is reached. The launcher runs
// the script before the app, whatever starts that.
var ports = []struct{ pkg, script string }{
	{"rocket", "[ -n \"$ROCKET_PORT\" ] || echo \"ROCKET_PORT = \\\"${PORT:-8080}\\\"\" >&3\n[ -n \"$ROCKET_ADDRESS\" ] || echo 'ROCKET_ADDRESS = \"0.0.0.0\"' >&3\n"},
	{"leptos", "[ -n \"$LEPTOS_SITE_ADDR\" ] || echo \"LEPTOS_SITE_ADDR = \\\"0.0.0.0:${PORT:-8080}\\\"\" >&3\n"},
	{"vercel_runtime", "echo \"VERCEL_DEV_PORT = \\\"${PORT:-8080}\\\"\" >&3\n"},
}

// programLayer puts the programs into a layer for launch, or keeps the last build's when they are the same.
func programLayer(ctx libcnb.BuildContext, app string, built map[string]string, programs []program) (*kit.Layer, error) {
	layer, err := kit.OpenLayer(ctx, "bin")
	if err != nil {
		return nil, err
	}
	var parts []string
	script := ""
	for _, p := range programs {
		sum, err := kit.FileKey(built[p.name])
		if err != nil {
			return nil, err
		}
		parts = append(parts, p.name, sum)
	}
	for _, f := range ports {
		if slices.ContainsFunc(programs, func(p program) bool { return p.pkg.dependsOn(f.pkg) }) {
			script += f.script
		}
	}
	key := kit.Key(append(parts, script)...)
	reuse, err := layer.Renew(key)
	if err != nil {
		return nil, err
	}
	if !reuse {
		for _, p := range programs {
			if err := kit.CopyFile(built[p.name], filepath.Join(layer.Path, "bin", p.name)); err != nil {
				return nil, err
			}
		}
		if script != "" {
			if err := os.MkdirAll(filepath.Join(layer.Path, "exec.d"), 0o755); err != nil {
				return nil, err
			}
			if err := os.WriteFile(filepath.Join(layer.Path, "exec.d", "ports"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
				return nil, err
			}
		}
	}
	packages, err := lockedPackages(app)
	if err != nil {
		return nil, err
	}
	return layer, kit.WriteSBOM(layer.Layer, packages)
}

// lockedPackages lists what Cargo.lock takes from elsewhere.
func lockedPackages(app string) (packages []kit.Package, err error) {
	var lock struct {
		Package []struct{ Name, Version, Source string }
	}
	if err := toml.Unmarshal([]byte(kit.Text(app, "Cargo.lock")), &lock); err != nil {
		return nil, kit.Errorf("run cargo generate-lockfile and commit it", "Cargo.lock cannot be read: %s", kit.First(err.Error()))
	}
	for _, p := range lock.Package {
		if p.Source != "" {
			packages = append(packages, kit.Package{Name: p.Name, Version: p.Version, PURL: "pkg:cargo/" + p.Name})
		}
	}
	return packages, nil
}

// stripSources leaves what a program may want to read at run time (templates, static files, configuration, migrations) and removes what only cargo reads. A
// Procfile may name a program where cargo would have left it.
func stripSources(app, layer string, programs []program, procs []procfile.Process) error {
	if err := kit.Prune(app, func(rel string, d fs.DirEntry) bool {
		name := d.Name()
		if d.IsDir() {
			return name == ".git" || rel == ".cargo" || rel == "target" || kit.Exists(app, rel, ".cargo-checksum.json")
		}
		switch name {
		case "Cargo.toml", "Cargo.lock", "rust-toolchain", "rust-toolchain.toml", "clippy.toml", "rustfmt.toml":
			return true
		}
		return strings.HasSuffix(name, ".rs")
	}); err != nil {
		return err
	}
	for _, p := range programs {
		for _, dir := range []string{"target/release", "bin"} {
			uses := func(proc procfile.Process) bool { return strings.Contains(proc.Command, dir+"/"+p.name) }
			link := filepath.Join(app, dir, p.name)
			if !slices.ContainsFunc(procs, uses) || kit.Exists(link) {
				continue
			}
			if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
				return err
			}
			if err := os.Symlink(filepath.Join(layer, "bin", p.name), link); err != nil {
				return err
			}
		}
	}
	return nil
}
