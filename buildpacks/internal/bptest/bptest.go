// Package bptest runs buildpacks in tests the way that the lifecycle does, through libcnb.
package bptest

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Run is one app going through builds. Layers keep their metadata from build to build, and the cache its content.
type Run struct {
	App    string // the workspace of the last build
	Folder string // of the app in it; "" for its root
	Layers string
	Env    map[string]string // platform env
	t      testing.TB
	id     string
	root   string
}

// foreign are variables that the shell or the CI of who runs the tests may have set and that change what a build does. A
// build of a push never sees that environment, so a build of a test must not either.
var foreign = []string{"CI", "CONTINUOUS_INTEGRATION", "DEBUG", "GOFLAGS", "NODE_ENV", "NODE_OPTIONS", "PORT", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"}

// New prepares builds with the buildpack of that identifier.
func New(t testing.TB, id string) *Run {
	t.Helper()
	for _, name := range foreign {
		if v, set := os.LookupEnv(name); set {
			t.Setenv(name, v) // so that the test's end brings it back
			_ = os.Unsetenv(name)
		}
	}
	root := t.TempDir()
	r := &Run{t: t, id: id, root: root, Layers: filepath.Join(root, "layers"), Env: map[string]string{"BP_CACHE_MOUNT": filepath.Join(root, "cache")}}
	for _, dir := range []string{"layers", "cache", "bp", "home"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.Env["HOME"] = filepath.Join(root, "home")
	for _, b := range catalog.All() {
		if b.ID == id {
			write(t, filepath.Join(root, "bp", "buildpack.toml"), string(b.Descriptor))
		}
	}
	return r
}

// exit notes how libcnb wanted to end the process.
type exit struct {
	err    error
	passed bool
}

func (e *exit) Error(err error) { e.err = err }
func (e *exit) Fail()           {}
func (e *exit) Pass()           { e.passed = true }

// fresh lays out the files as a new workspace and the platform folder.
func (r *Run) fresh(files map[string]string) {
	r.t.Helper()
	r.App = filepath.Join(r.root, "workspace")
	platform := filepath.Join(r.root, "platform")
	for _, dir := range []string{r.App, platform} {
		if err := os.RemoveAll(dir); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := os.MkdirAll(r.App, 0o755); err != nil {
		r.t.Fatal(err)
	}
	for name, content := range files {
		write(r.t, filepath.Join(r.App, name), content)
	}
	for k, v := range r.Env {
		write(r.t, filepath.Join(platform, "env", k), v)
	}
	if err := os.MkdirAll(filepath.Join(r.App, r.Folder), 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.t.Chdir(filepath.Join(r.App, r.Folder))
	env := map[string]string{
		"CNB_BUILDPACK_DIR": filepath.Join(r.root, "bp"), "CNB_LAYERS_DIR": r.Layers, "CNB_PLATFORM_DIR": platform,
		"CNB_BUILD_PLAN_PATH": filepath.Join(r.root, "plan.toml"), "CNB_BP_PLAN_PATH": filepath.Join(r.root, "bp-plan.toml"), "CNB_STACK_ID": "",
	}
	for k, v := range env {
		r.t.Setenv(k, v)
	}
}

// Detect runs detection on the files.
func (r *Run) Detect(d libcnb.Detector, files map[string]string) (passed bool, err error) {
	r.t.Helper()
	r.fresh(files)
	var e exit
	libcnb.Detect(d, libcnb.WithExitHandler(&e))
	return e.passed, e.err
}

// Built is what a build left.
type Built struct {
	Processes map[string]libcnb.Process
	Metadata  map[string]libcnb.Layer // by layer
}

// Build runs a build of the files and returns its result. As the platform would, it then takes away the content of layers
// that are only for launch, and keeps their metadata with the types taken out.
func (r *Run) Build(b libcnb.Builder, files map[string]string) (Built, error) {
	r.t.Helper()
	r.fresh(files)
	r.restore()
	return r.run(b)
}

// BuildDir is Build for the files of a folder.
func (r *Run) BuildDir(b libcnb.Builder, dir string) (Built, error) {
	r.t.Helper()
	r.fresh(nil)
	r.restore()
	if err := kit.CopyTree(dir, r.App, nil); err != nil {
		r.t.Fatal(err)
	}
	return r.run(b)
}

func (r *Run) run(b libcnb.Builder) (Built, error) {
	r.t.Helper()
	built := Built{Processes: map[string]libcnb.Process{}, Metadata: map[string]libcnb.Layer{}}
	var e exit
	libcnb.Build(b, libcnb.WithExitHandler(&e), libcnb.WithArguments([]string{"build"}))
	if e.err != nil {
		return built, e.err
	}
	var launch libcnb.LaunchTOML
	if _, err := toml.DecodeFile(filepath.Join(r.Layers, "launch.toml"), &launch); err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	for _, p := range launch.Processes {
		built.Processes[p.Type] = p
	}
	maps.Copy(built.Metadata, r.layers())
	return built, nil
}

func (r *Run) layers() map[string]libcnb.Layer {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.Layers, "*.toml"))
	if err != nil {
		r.t.Fatal(err)
	}
	all := map[string]libcnb.Layer{}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".toml")
		if name == "launch" || name == "build" || name == "store" {
			continue
		}
		var l libcnb.Layer
		if _, err := toml.DecodeFile(f, &l); err != nil {
			r.t.Fatal(err)
		}
		all[name] = l
	}
	return all
}

// restore does to the layers of the last build what the platform does between two builds.
func (r *Run) restore() {
	r.t.Helper()
	for name, l := range r.layers() {
		if !l.Cache {
			if err := os.RemoveAll(filepath.Join(r.Layers, name)); err != nil {
				r.t.Fatal(err)
			}
		}
		file := filepath.Join(r.Layers, name+".toml")
		if !l.Cache && !l.Launch {
			os.Remove(file)
			continue
		}
		f, err := os.Create(file)
		if err != nil {
			r.t.Fatal(err)
		}
		err = toml.NewEncoder(f).Encode(map[string]any{"metadata": l.Metadata})
		f.Close()
		if err != nil {
			r.t.Fatal(err)
		}
	}
	os.Remove(filepath.Join(r.Layers, "launch.toml"))
}

// Reused tells whether a launch layer was left as it was: named, but without content.
func (r *Run) Reused(layer string) bool {
	r.t.Helper()
	l, ok := r.layers()[layer]
	return ok && l.Launch && !kit.Exists(r.Layers, layer)
}

// LaunchEnv is the environment that the layers give to the app, as the launcher makes it from nothing but PATH: folders bin and lib, then the files.
func (r *Run) LaunchEnv() []string {
	r.t.Helper()
	env := map[string]string{"PATH": os.Getenv("PATH")}
	prepend := func(name, value string) {
		if env[name] != "" {
			value += ":" + env[name]
		}
		env[name] = value
	}
	names := slices.Sorted(maps.Keys(r.layers()))
	for _, l := range names {
		for dir, name := range map[string]string{"bin": "PATH", "lib": "LD_LIBRARY_PATH"} {
			if p := filepath.Join(r.Layers, l, dir); kit.IsDir(p) {
				prepend(name, p)
			}
		}
		for _, sub := range []string{"env", "env.launch"} {
			files, err := filepath.Glob(filepath.Join(r.Layers, l, sub, "*"))
			if err != nil {
				r.t.Fatal(err)
			}
			for _, f := range files {
				name, how, _ := strings.Cut(filepath.Base(f), ".")
				data, err := os.ReadFile(f)
				if err != nil {
					r.t.Fatal(err)
				}
				switch {
				case how == "prepend" || how == "append":
					prepend(name, string(data))
				case how == "override", how == "default" && env[name] == "":
					env[name] = string(data)
				}
			}
		}
	}
	var list []string
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	return list
}
