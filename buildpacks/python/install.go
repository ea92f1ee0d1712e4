package python

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/buildpacks/libcnb"
	"path/filepath"
	"slices"
	"strings"

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
	if key, err = b.takeNoted(key); err != nil {
		return err
	}
	old, _ := b.venv.Metadata["packages"].([]any)
	// What a Django app runs while it is built needs the packages here, not only in the registry: its environment is cached.
	// So does what makes a site, of which nothing in Python is in the image.
	types := libcnb.LayerTypes{Launch: b.site == nil, Cache: b.site != nil || b.isDjango()}
	if types.Cache {
		if key != "" && b.venv.Metadata["key"] == key && kit.IsFile(b.venv.Path, "bin", "python") {
			kit.Say(b.Out, "Using cached dependencies")
			b.venv.LayerTypes = types
			return b.noteOld(old)
		}
	} else if reuse, err := b.reuse(key); err != nil {
		return err
	} else if reuse {
		kit.Say(b.Out, "Using cached dependencies")
		return b.noteOld(old)
	}
	if err := b.fill(key, types); err != nil {
		return err
	}
	names, err := b.freeze()
	if err != nil {
		return err
	}
	b.names = names
	if b.site == nil {
		for _, step := range []func() error{b.addServer, b.addRunners, b.addAddresses} {
			if err := step(); err != nil {
				return err
			}
		}
	}
	b.compilePackages()
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
	path := b.app
	if kit.IsDir(b.app, "src") && !kit.IsFile(b.app, "src", "__init__.py") {
		path += ":" + filepath.Join(b.app, "src")
	}
	if dir := b.manageDir(); dir != "" && dir != "." {
		path += ":" + filepath.Join(b.app, dir)
	}
	return path
}

// install makes the virtual environment and installs what the app requires. No installer stays in it.
func (b *build) install() error {
	if err := b.makeVenv(); err != nil {
		return err
	}
	app := b.app
	switch kind := b.source.kind; {
	case kind == "uv.lock":
		return b.uvSync()
	case kind == "poetry.lock":
		l, err := poetryLocked(kit.Text(app, kind), b.declared())
		return b.locked(l, err, "pyproject.toml", "poetry lock")
	case kind == "Pipfile.lock":
		l, err := pipfileLocked(kit.Text(app, kind))
		return b.locked(l, err, "Pipfile", "pipenv lock")
	case kind == "pdm.lock":
		l, err := pdmLocked(kit.Text(app, kind))
		return b.locked(l, err, "pyproject.toml", "pdm lock")
	case kind == "pylock.toml":
		return b.pip("uv pip install -r pylock.toml", "-r", kind)
	case kind == "Pipfile":
		kit.Say(b.Out, "Warning: there is no Pipfile.lock, so each build may install other versions; run pipenv lock and commit it")
		lines, err := pipfileRequirements(kit.Text(app, kind))
		if err != nil || len(lines) == 0 {
			return err
		}
		return b.requirements("uv pip install (packages of Pipfile)", lines)
	case isRequirements(kind):
		return b.requirementsFile(kind)
	case kind == "pyproject.toml":
		return b.pyproject()
	case kind == "setup.py":
		return b.pip("uv pip install --editable .", "--editable", ".")
	}
	return b.installUnlisted()
}

// pyproject installs the dependencies of a pyproject.toml that has no lock file. Where the build system finds them out, they come with the app's
// own package.
func (b *build) pyproject() error {
	p := b.source.project
	if lines := p.poetryRequirements(); p.Project.Dependencies == nil && len(lines) > 0 {
		return b.requirements("uv pip install (dependencies of pyproject.toml)", lines)
	}
	if len(p.Project.Dependencies) == 0 {
		return nil
	}
	return b.pip("uv pip install -r pyproject.toml", "-r", "pyproject.toml")
}

// locked installs what a lock file lists, without looking for more.
func (b *build) locked(l locked, err error, manifest, command string) error {
	if err != nil {
		return err
	}
	if err := b.checkLock(l, manifest, command); err != nil || len(l.lines) == 0 {
		return err
	}
	return b.requirements("uv pip install ("+b.source.kind+")", l.lines, l.arguments(b.env)...)
}

var separators = pattern.New(`[-_.]+`)

// freeze lists what is installed, by the folders that installers leave: asking pip takes half a second.
func (b *build) freeze() ([]string, error) {
	var names []string
	for _, dir := range glob(b.venv.Path, "lib/python*/site-packages/*.dist-info") {
		name, version, ok := strings.Cut(strings.TrimSuffix(filepath.Base(dir), ".dist-info"), "-")
		if ok {
			names = append(names, normal(name)+"=="+version)
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
