package golang

import (
	"go/build"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// oldManifests are of tools that were there before modules.
var oldManifests = []string{"Gopkg.toml", "Godeps/Godeps.json", "glide.yaml", "vendor/vendor.json"}

// programAlone finds Go files without a go.mod that make a program: at the root, or below cmd. "" for none, and where other files than Go's say what the
// app is.
func programAlone(app string) string {
	for _, f := range []string{"package.json", "requirements.txt", "pyproject.toml", "Cargo.toml", "pom.xml", "Gemfile", "composer.json", "mix.exs"} {
		if kit.Exists(app, f) {
			return ""
		}
	}
	found, _ := filepath.Glob(filepath.Join(app, "cmd", "*")) // constant pattern: cannot fail
	for _, dir := range append([]string{app}, found...) {
		if isMain(dir) {
			rel, err := filepath.Rel(app, dir)
			if err != nil {
				return ""
			}
			p, _ := importDir(dir)
			return path.Join(filepath.ToSlash(rel), p.GoFiles[0])
		}
	}
	return ""
}

// themes tells whether a go.mod is that of a site of Hugo's, which gets its themes as modules.
func themes(app string, m mod) bool {
	for _, f := range []string{"hugo.toml", "hugo.yaml", "hugo.yml", "hugo.json", "config/_default", "config.toml", "config.yaml"} {
		if kit.Exists(app, f) {
			mains, err := findMains(app, m)
			return err == nil && len(mains) == 0
		}
	}
	return false
}

// other tells whether the app is one of another language whose go.mod is there for tools: the Procfile starts a program of another language's for the
// web, or there is no program in Go and another language's file.
func other(app string, m mod) bool {
	beside := false
	for _, f := range []string{"package.json", "requirements.txt", "pyproject.toml", "Pipfile", "manage.py", "Gemfile", "composer.json", "mix.exs"} {
		beside = beside || kit.Exists(app, f)
	}
	if !beside {
		return false
	}
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	for _, p := range procs {
		if p.Type == "web" {
			return kit.ForeignCommand(p.Command)
		}
	}
	mains, err := findMains(app, m)
	return err == nil && len(mains) == 0
}

// makeModule gives an app without a go.mod one. It is there for the build alone.
func (b Buildpack) makeModule(app string, env kit.Env) error {
	for _, f := range oldManifests {
		if kit.Exists(app, f) {
			return kit.Errorf("run go mod init MODULE && go mod tidy, commit go.mod and go.sum, and push again", "there is a %s, of a tool that Go no longer goes by, and no go.mod", f)
		}
	}
	name, remote := modulePath(app)
	kit.Say(b.Out, "Warning: there is no go.mod, so each build may take other versions; run go mod init %s && go mod tidy, and commit it", name)
	if _, err := (kit.Cmd{Args: []string{"go", "mod", "init", name}, Dir: app, Env: env, Out: b.Out}).Run(); err != nil {
		return err
	}
	if !remote {
		return nil
	}
	return b.tidy(app, env)
}

// tidy has the go command complete go.mod and go.sum, for the build alone.
func (b Buildpack) tidy(app string, env kit.Env) error {
	_, err := kit.Cmd{Args: []string{"go", "mod", "tidy"}, Dir: app, Env: env, Out: b.Out, Next: "run it yourself, commit go.mod and go.sum, and push again"}.Run()
	return err
}

// modulePath is the path by which the app's packages import each other, and whether they import any that are not there.
func modulePath(app string) (name string, remote bool) {
	name = "app"
	_ = walkPackages(app, func(dir, rel string) { // what cannot be read is not imported
		p, err := importDir(dir)
		if err != nil {
			return
		}
		for _, i := range p.Imports {
			prefix := localPrefix(app, i)
			switch {
			case prefix != "":
				name = prefix
			case strings.Contains(strings.SplitN(i, "/", 2)[0], "."):
				remote = true
			}
		}
	})
	return name, remote
}

// localPrefix is what stands before a folder of the app in an import path: "example.com/shop" of "example.com/shop/store"; "" for a path of elsewhere.
func localPrefix(app, imported string) string {
	for at := strings.Index(imported, "/"); at > 0; {
		folder := imported[at+1:]
		if filepath.IsLocal(folder) {
			if found, _ := filepath.Glob(filepath.Join(app, filepath.FromSlash(folder), "*.go")); len(found) > 0 && !isStandard(imported) {
				return imported[:at]
			}
		}
		next := strings.Index(folder, "/")
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return ""
}

// isStandard tells whether an import path is one of the standard library, by where the build image has it.
func isStandard(imported string) bool {
	ctx := build.Default
	_, err := os.Stat(filepath.Join(ctx.GOROOT, "src", filepath.FromSlash(imported)))
	return ctx.GOROOT != "" && err == nil
}
