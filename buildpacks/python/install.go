package python

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// environment makes the virtual environment, or takes over that of the last build when the requirements are the same.
func (b *build) environment() error {
	var err error
	if b.venv, err = kit.OpenLayer(b.ctx, "venv"); err != nil {
		return err
	}
	key, err := b.key()
	if err != nil {
		return err
	}
	old, _ := b.venv.Metadata["packages"].([]any)
	// What a Django app runs while it is built needs the packages here, not only in the registry: its environment is cached.
	django := b.isDjango()
	if django {
		if key != "" && b.venv.Metadata["key"] == key && kit.IsFile(b.venv.Path, "bin", "python") {
			kit.Say(b.Out, "Using cached dependencies")
			b.venv.LayerTypes = libcnb.LayerTypes{Launch: true, Cache: true}
			return b.noteOld(old)
		}
	} else if reuse, err := b.reuse(key); err != nil {
		return err
	} else if reuse {
		kit.Say(b.Out, "Using cached dependencies")
		return b.noteOld(old)
	}
	if err := b.venv.Reset(libcnb.LayerTypes{Launch: true, Cache: django}, key); err != nil {
		return err
	}
	for _, step := range []func() error{b.install, b.installOwn, b.addSetuptools} {
		if err := step(); err != nil {
			return err
		}
	}
	names, err := b.freeze()
	if err != nil {
		return err
	}
	b.names = names
	if err := b.addServer(); err != nil {
		return err
	}
	if err := b.compile(filepath.Join(b.venv.Path, "lib")); err != nil {
		return err
	}
	b.venv.Metadata["packages"] = b.names
	b.launchEnv()
	return b.sbom()
}

// reuse keeps the layer of the last build. Without a key it cannot: the name of a branch does not say what it holds.
func (b *build) reuse(key string) (bool, error) {
	if key == "" {
		return false, nil
	}
	return b.venv.Reuse(key)
}

func (b *build) noteOld(old []any) error {
	for _, n := range old {
		if s, ok := n.(string); ok {
			b.names = append(b.names, s)
		}
	}
	if b.venv.Cache {
		b.launchEnv()
	}
	return b.sbom()
}

func (b *build) launchEnv() {
	env := b.venv.LaunchEnvironment
	env.Default("PYTHONUNBUFFERED", "1")
	env.Default("PYTHONDONTWRITEBYTECODE", "1") // the root is read-only, and all is compiled
	env.Default("VIRTUAL_ENV", b.venv.Path)
	env.Default("XDG_RUNTIME_DIR", "/tmp") // newer versions of gunicorn make a socket there
	env.Append("PYTHONPATH", ":", b.pythonPath())
}

// pythonPath lets an app import itself by whatever program it is started.
func (b *build) pythonPath() string {
	if kit.IsDir(b.app, "src") && !kit.IsFile(b.app, "src", "__init__.py") {
		return b.app + ":" + filepath.Join(b.app, "src")
	}
	return b.app
}

func (b *build) isDjango() bool { return kit.IsFile(b.app, "manage.py") }

// install makes the virtual environment and installs what the app requires. pip stays outside of it.
func (b *build) install() error {
	if _, err := (kit.Cmd{Args: []string{b.Exe, "-m", "venv", "--without-pip", b.venv.Path}, Env: b.env, Out: b.Out, Name: "python -m venv"}).Run(); err != nil {
		return err
	}
	switch b.source.kind {
	case "uv.lock":
		return b.uvSync()
	case "poetry.lock":
		return b.pinned(poetryPins(kit.Text(b.app, "poetry.lock")))
	case "Pipfile.lock":
		return b.pinned(pipfilePins(kit.Text(b.app, "Pipfile.lock")))
	case "requirements.txt":
		return b.pip("pip install -r requirements.txt", "-r", "requirements.txt")
	case "pyproject.toml":
		deps := b.source.project.Project.Dependencies
		if deps == nil && len(b.source.project.Tool.Poetry.Dependencies) > 0 {
			return b.pip("pip install .", ".")
		}
		if len(deps) == 0 { // none, or dynamic: installOwn has them installed
			return nil
		}
		return b.requirements("pip install (dependencies of pyproject.toml)", deps)
	case "setup.py":
		return b.pip("pip install --editable .", "--editable", ".")
	}
	return nil
}

func (b *build) pip(title string, args ...string) error {
	kit.Say(b.Out, "%s", title)
	argv := append([]string{b.Exe, "-m", "pip", "--python", filepath.Join(b.venv.Path, "bin", "python"), "install", "--no-compile", "--no-warn-script-location"}, args...)
	said, err := kit.Cmd{Args: argv, Dir: b.app, Env: b.env, Out: b.Out, Name: "pip install"}.Run()
	return b.reason(said, err)
}

// requirements installs a list.
func (b *build) requirements(title string, list []string, args ...string) error {
	f, err := os.CreateTemp("", "requirements-*.txt")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString(strings.Join(list, "\n") + "\n"); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return b.pip(title, append(args, "-r", f.Name())...)
}

// pinned installs what a lock file lists, without looking for more.
func (b *build) pinned(pins []string, err error) error {
	if err != nil {
		return err
	}
	if len(pins) == 0 {
		return nil
	}
	return b.requirements("pip install ("+b.source.kind+")", pins, "--no-deps")
}

// poetryPins reads the packages of the main group, with their markers.
func poetryPins(lock string) ([]string, error) {
	var l struct {
		Package []struct {
			Name     string   `toml:"name"`
			Version  string   `toml:"version"`
			Category string   `toml:"category"`
			Optional bool     `toml:"optional"`
			Groups   []string `toml:"groups"`
			Markers  any      `toml:"markers"`
			Source   struct {
				Type string `toml:"type"`
				URL  string `toml:"url"`
				Ref  string `toml:"resolved_reference"`
			} `toml:"source"`
		} `toml:"package"`
	}
	if err := toml.Unmarshal([]byte(lock), &l); err != nil {
		return nil, kit.Errorf("run poetry lock and push again", "poetry.lock cannot be read: %s", kit.First(err.Error()))
	}
	var pins []string
	for _, p := range l.Package {
		if p.Optional || p.Category == "dev" || len(p.Groups) > 0 && !slices.Contains(p.Groups, "main") {
			continue
		}
		pin := p.Name + "==" + p.Version
		switch p.Source.Type {
		case "git":
			pin = fmt.Sprintf("%s @ git+%s@%s", p.Name, p.Source.URL, p.Source.Ref)
		case "url":
			pin = fmt.Sprintf("%s @ %s", p.Name, p.Source.URL)
		case "directory", "file":
			pin = p.Source.URL
		}
		marker, _ := p.Markers.(string)
		if groups, ok := p.Markers.(map[string]any); ok {
			marker, _ = groups["main"].(string)
		}
		if marker != "" {
			pin += " ; " + marker
		}
		pins = append(pins, pin)
	}
	return pins, nil
}

// pipfilePins reads the packages for production.
func pipfilePins(lock string) ([]string, error) {
	var l struct {
		Default map[string]struct {
			Version string `json:"version"`
			Markers string `json:"markers"`
			Git     string `json:"git"`
			Ref     string `json:"ref"`
			Path    string `json:"path"`
		} `json:"default"`
	}
	if err := json.Unmarshal([]byte(lock), &l); err != nil {
		return nil, kit.Errorf("run pipenv lock and push again", "Pipfile.lock cannot be read: %v", err)
	}
	var pins []string
	for _, name := range slices.Sorted(maps.Keys(l.Default)) {
		p := l.Default[name]
		pin := name + p.Version
		switch {
		case p.Git != "":
			pin = fmt.Sprintf("%s @ git+%s@%s", name, p.Git, p.Ref)
		case p.Path != "":
			pin = p.Path
		}
		if p.Markers != "" {
			pin += " ; " + p.Markers
		}
		pins = append(pins, pin)
	}
	return pins, nil
}

// uvSync installs exactly what uv.lock says. uv itself comes from the package registry, once.
func (b *build) uvSync() error {
	tools, err := b.cache.Dir("python-tools")
	if err != nil {
		return err
	}
	uv := filepath.Join(tools, "uv", "bin", "uv")
	if !kit.IsFile(uv) {
		kit.Say(b.Out, "Fetching uv")
		argv := []string{b.Exe, "-m", "pip", "install", "--no-compile", "--upgrade", "--target", filepath.Join(tools, "uv"), "uv"}
		if _, err := (kit.Cmd{Args: argv, Env: b.env, Out: b.Out, Name: "pip install uv"}).Run(); err != nil {
			return err
		}
	}
	env := b.env.Clone()
	if env["UV_CACHE_DIR"], err = b.cache.Dir("python-uv"); err != nil {
		return err
	}
	env["UV_PROJECT_ENVIRONMENT"] = b.venv.Path
	env["UV_PYTHON"] = filepath.Join(b.venv.Path, "bin", "python")
	env["UV_PYTHON_DOWNLOADS"] = "never"
	env["UV_LINK_MODE"] = "copy"
	env["UV_NO_PROGRESS"] = "1"
	env.Default("UV_HTTP_TIMEOUT", "120")
	if index := env["PIP_INDEX_URL"]; index != "" {
		env.Default("UV_DEFAULT_INDEX", index)
	}
	kit.Say(b.Out, "uv sync --frozen --no-dev")
	env.Default("SETUPTOOLS_SCM_PRETEND_VERSION", "0.0.0") // there is no repository in a build for a version to be found in
	_, err = kit.Cmd{Args: []string{uv, "sync", "--frozen", "--no-dev"}, Dir: b.app, Env: env, Out: b.Out, Name: "uv sync"}.Run()
	return err
}

var separators = pattern.New(`[-_.]+`)

// freeze lists what is installed, by the folders that installers leave: asking pip takes half a second.
func (b *build) freeze() ([]string, error) {
	var names []string
	for _, dir := range glob(b.venv.Path, "lib/python*/site-packages/*.dist-info") {
		name, version, ok := strings.Cut(strings.TrimSuffix(filepath.Base(dir), ".dist-info"), "-")
		if ok {
			names = append(names, strings.ToLower(separators.ReplaceAllString(name, "-"))+"=="+version)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (b *build) sbom() error {
	packages := []kit.Package{{Name: "python", Version: b.version, PURL: "pkg:generic/python"}}
	for _, n := range b.names {
		name, version, _ := strings.Cut(n, "==")
		packages = append(packages, kit.Package{Name: name, Version: version, PURL: "pkg:pypi/" + name})
	}
	return kit.WriteSBOM(b.venv.Layer, packages)
}

// compile makes byte code that is not checked against the source's date: the files of an image all have one date, so that
// code of the usual kind would be compiled again at each start. It is the same for the same source, and so are the layers.
func (b *build) compile(dirs ...string) error {
	argv := append([]string{b.Exe, "-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-x", `/(node_modules|\.git|tests?/data|lib2to3/tests)/`}, dirs...)
	env := b.env.Clone()
	delete(env, "PYTHONDONTWRITEBYTECODE")
	// Some packages ship files that are templates or for other versions: they do not compile, and need not.
	_, _ = kit.Cmd{Args: argv, Env: env, Out: nothing{}}.Run()
	return nil
}

// compileApp compiles the app itself.
func (b *build) compileApp() error { return b.compile(b.app) }

type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }
