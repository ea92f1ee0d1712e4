package python

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// dropEnvironments takes virtual environments out of the app that were pushed with it: their programs are those of another machine.
func (b *build) dropEnvironments() error {
	for _, cfg := range append(glob(b.app, "*/pyvenv.cfg"), glob(b.app, ".*/pyvenv.cfg")...) {
		dir := filepath.Dir(cfg)
		name := filepath.Base(dir)
		kit.Say(b.Out, "Warning: %s/ is the virtual environment of another machine, and left out: git rm -r --cached %s, and write it into .gitignore", name, name)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// frameworks by the module that an app imports, and the package that it is in.
var frameworks = map[string]string{"flask": "flask", "fastapi": "fastapi", "starlette": "starlette", "django": "django", "bottle": "bottle", "falcon": "falcon", "quart": "quart", "litestar": "litestar",
	"aiohttp": "aiohttp", "tornado": "tornado", "sanic": "sanic", "fasthtml": "python-fasthtml", "streamlit": "streamlit", "gradio": "gradio", "dash": "dash", "nicegui": "nicegui", "uvicorn": "uvicorn"}

var moduleImport = pattern.New(`(?m)^(?:import|from)[ \t]+([A-Za-z_]\w*)`)

// checkImports warns of a framework that the app imports and nothing lists: the app ends when it starts.
func (b *build) checkImports() error {
	said := map[string]bool{}
	for _, f := range []string{b.object().file, "app.py", "main.py", "manage.py"} {
		if f == "" {
			continue
		}
		for _, m := range moduleImport.FindAllStringSubmatch(kit.Text(b.app, f), -1) {
			pkg, ok := frameworks[m[1]]
			if !ok || said[pkg] || b.importable(m[1]) {
				continue
			}
			said[pkg] = true
			if where := b.source.kind; strings.HasSuffix(where, ".py") {
				kit.Say(b.Out, "Warning: %s imports %s, and no file lists the packages of the app: write requirements.txt with %s", f, m[1], pkg)
			} else {
				kit.Say(b.Out, "Warning: %s imports %s, which %s does not list: add %s", f, m[1], where, pkg)
			}
		}
	}
	return nil
}

// importable tells whether a module is installed, or the app's own.
func (b *build) importable(module string) bool {
	if len(b.names) == 0 && b.venv.Metadata["packages"] != nil {
		return true
	}
	if b.has(normal(module)) || slices.ContainsFunc(b.names, func(n string) bool { return strings.HasPrefix(n, frameworks[module]+"==") }) {
		return true
	}
	for _, dir := range append([]string{"."}, strings.Split(b.pythonPath(), ":")...) {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(b.app, dir)
		}
		if kit.IsDir(dir, module) || kit.IsFile(dir, module+".py") {
			return true
		}
	}
	return len(glob(b.venv.Path, "lib/python*/site-packages/"+module)) > 0
}
