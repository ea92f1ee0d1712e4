package python

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// packaged tells whether the app is itself a package: it names a build system, or has a setup.py, and a name.
func (p project) packaged() bool {
	poetry := p.Tool.Poetry.Name != "" && (p.Tool.Poetry.Package == nil || *p.Tool.Poetry.Package)
	return p.BuildSystem.Backend != "" && (p.Project.Name != "" || poetry)
}

// dynamic tells whether the build system finds out the dependencies.
func (p project) dynamic() bool {
	return slices.Contains(p.Project.Dynamic, "dependencies") || slices.Contains(p.Project.Dynamic, "optional-dependencies")
}

// installOwn installs the app's own package, editable: its programs and its version are there, and its code is where it was pushed. Where nothing
// needs that, a build system that refuses is a warning: people who start the app by its file may never have tried.
func (b *build) installOwn() error {
	p := b.source.project
	if !p.packaged() || b.source.kind == "setup.py" || b.source.kind == "uv.lock" {
		return nil
	}
	args := []string{"--no-deps", "--editable", "."}
	title := "uv pip install --no-deps --editable . (the app's own package)"
	if p.dynamic() && b.source.kind == "pyproject.toml" {
		args, title = args[1:], "uv pip install --editable . (its dependencies are dynamic)"
	}
	err := b.pip(title, args...)
	if err == nil || p.dynamic() || len(p.Project.Scripts)+len(p.Tool.Poetry.Scripts) > 0 {
		return err
	}
	kit.Say(b.Out, "Warning: the app's own package %s cannot be installed, and is used from its files", cmp.Or(p.Project.Name, p.Tool.Poetry.Name))
	return nil
}

// addSetuptools puts setuptools where it is expected: virtual environments had it until Python 3.12, and setuptools had pkg_resources until its
// version 81, so that older packages take both for given.
func (b *build) addSetuptools() error {
	if len(glob(b.venv.Path, "lib/python*/site-packages/pkg_resources")) > 0 {
		return nil
	}
	seeded := older(b.version, 3, 12) && len(glob(b.venv.Path, "lib/python*/site-packages/setuptools")) == 0
	if !seeded && !b.usesPkgResources() {
		return nil
	}
	return b.pip("uv pip install setuptools<81 (for pkg_resources)", "setuptools<81")
}

var pkgResources = pattern.New(`(?m)^\s*(?:import|from) pkg_resources\b`)

// usesPkgResources looks where programs do: at the top of the modules of installed packages, and in the app itself.
func (b *build) usesPkgResources() bool {
	for _, pattern := range []string{"*.py", "*/__init__.py", "*/util.py", "*/utils.py", "*/_version.py", "*/version.py"} {
		for _, f := range glob(filepath.Join(b.venv.Path), filepath.Join("lib/python*/site-packages", pattern)) {
			if !strings.Contains(f, "/_distutils_hack/") && pkgResources.MatchString(kit.Text(f)) {
				return true
			}
		}
	}
	return slices.ContainsFunc(b.sources(), func(f string) bool { return pkgResources.MatchString(kit.Text(b.app, f)) })
}
