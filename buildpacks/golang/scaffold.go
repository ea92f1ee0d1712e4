package golang

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/gitd-io/gitd/buildpacks/golang/signature"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// What is made for a function is in a folder of the app's module, so that it may import packages that are internal to it.
const (
	madeFolder   = "gitd-function"
	servePackage = "gitd-function/serve" // stands for the path in the app's module
	madeFile     = "gitd_main"           // .go, beside a function whose package is called main
	madeProgram  = "function"
)

// serveFiles are the sources of package serve, which serves functions that no framework serves.
//
//go:embed serve/http.go serve/event.go
var serveFiles embed.FS

// modules.txt has the modules that functions need and their versions, for an app that does not say which: as "go mod tidy" chose them for the newest of
// the libraries. sums.txt is the go.sum of that.
//
//go:embed scaffold/modules.txt
var pinnedModules string

//go:embed scaffold/sums.txt
var pinnedSums string

// libraries are the modules by which code says what calls its functions, and that are pinned.
var libraries = []string{signature.Framework, signature.Lambda, signature.CloudEvents}

// alone are the modules that a library needs besides itself; of others all.
var alone = map[string][]string{signature.Lambda: {}}

// libraryOf is the library that has a package; "" for none.
func libraryOf(pkg string) string {
	for _, l := range libraries {
		if pkg == l || strings.HasPrefix(pkg, l+"/") {
			return l
		}
	}
	return ""
}

// pin gives an app without a go.mod one with the versions that are known here, for the build alone. It does nothing where the app imports other modules:
// then "go mod tidy" chooses.
func (b Buildpack) pin(app string, f *fn) error {
	var needed []string
	other := false
	err := walkPackages(app, func(dir, _ string) {
		p, _ := importDir(dir)
		if p == nil {
			return
		}
		for _, i := range slices.Concat(p.Imports, f.needs) {
			l := libraryOf(i)
			switch {
			case l != "" && !slices.Contains(needed, l):
				needed = append(needed, l)
			case l == "" && i != servePackage && strings.Contains(strings.SplitN(i, "/", 2)[0], ".") && localPrefix(app, i) == "":
				other = true
			}
		}
	})
	if err != nil || other {
		return err
	}
	name, _ := modulePath(app)
	text := "module " + name + "\n\ngo 1.26\n"
	if len(needed) > 0 {
		text += "\nrequire (\n\t" + strings.Join(pinned(needed), "\n\t") + "\n)\n"
		kit.Say(b.Out, "There is no go.mod: the build takes %s", strings.Join(pinned(needed)[:len(needed)], ", "))
		if err := os.WriteFile(filepath.Join(app, "go.sum"), []byte(pinnedSums), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(app, "go.mod"), []byte(text), 0o644)
}

// pinned are the lines of a go.mod for libraries, and then for what these need.
func pinned(needed []string) (lines []string) {
	all := false
	for _, l := range needed {
		_, only := alone[l]
		all = all || !only
	}
	var rest []string
	for line := range strings.Lines(pinnedModules) {
		line = strings.TrimSpace(line)
		mod, _, _ := strings.Cut(line, " ")
		switch {
		case slices.Contains(needed, mod):
			lines = append(lines, line)
		case all && !slices.Contains(libraries, mod) || slices.Contains(needed, signature.Framework) && mod == signature.CloudEvents:
			rest = append(rest, line+" // indirect")
		}
	}
	return append(lines, rest...)
}

// scaffold writes the program that serves the function, and returns it.
func (b Buildpack) scaffold(app string, m mod, f *fn, env kit.Env) (target, error) {
	if f.main == "" {
		return f.target, nil
	}
	if kit.Exists(app, madeFolder) {
		return target{}, kit.Errorf("give it another name", "the app has %s, where the program that serves the function is made", madeFolder)
	}
	own := f.pkg.Name == "main"
	file, t := filepath.Join(app, madeFolder, "main.go"), target{dir: "./" + madeFolder, name: madeProgram}
	if own {
		file, t.dir = filepath.Join(app, f.dir, freeName(filepath.Join(app, f.dir))), newTarget(f.dir, m).dir
	}
	if strings.HasPrefix(f.main, "lambda.") {
		t.name = bootstrap
	}
	if slices.Contains(f.needs, servePackage) {
		if err := writeServe(app, slices.Contains(f.needs, signature.CloudEvents)); err != nil {
			return t, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return t, err
	}
	if err := os.WriteFile(file, []byte(f.source(m, own)), 0o644); err != nil {
		return t, err
	}
	return t, b.require(app, m, f, env)
}

// freeName is a name for the program's file in a folder of the app that has nothing of that name, so that no file is overwritten and no link followed.
func freeName(dir string) string {
	name := madeFile + ".go"
	for i := 2; kit.Exists(dir, name); i++ {
		name = fmt.Sprintf("%s%d.go", madeFile, i)
	}
	return name
}

// source is the text of the program.
func (f *fn) source(m mod, own bool) string {
	var imports []string
	for _, n := range f.needs {
		switch n {
		case servePackage:
			imports = append(imports, `"`+m.path+"/"+servePackage+`"`)
		case signature.CloudEvents:
			imports = append(imports, `cloudevents "`+n+`"`)
		default:
			imports = append(imports, `"`+n+`"`)
		}
	}
	if !own {
		alias := kit.Pick(strings.Contains(f.main, "fn."), "fn", "_")
		imports = append(imports, alias+` "`+path.Join(m.path, f.dir)+`"`)
	}
	return "// Code generated for the build. DO NOT EDIT.\n\npackage main\n\nimport (\n\t" + strings.Join(imports, "\n\t") + "\n)\n\nfunc main() {\n\t" + f.main + "\n}\n"
}

func writeServe(app string, events bool) error {
	for _, name := range []string{"http.go", "event.go"} {
		if name == "event.go" && !events {
			continue
		}
		text, err := fs.ReadFile(serveFiles, path.Join("serve", name))
		if err != nil {
			return err
		}
		file := filepath.Join(app, madeFolder, "serve", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// require sees to it that the app's module has what the made program imports. The versions of the app's go.mod stay; what it does not name is
// taken in the version that is known here.
func (b Buildpack) require(app string, m mod, f *fn, env kit.Env) error {
	vendored := kit.IsDir(app, "vendor")
	short := false
	for _, n := range f.needs {
		l := libraryOf(n)
		if l == "" {
			continue
		}
		if vendored && hasGo(filepath.Join(app, "vendor", filepath.FromSlash(n))) {
			continue
		}
		// Of a library that is named the function may import another package, so that go.sum lacks what this one needs.
		short = true
		if slices.Contains(m.libraries, l) {
			continue
		}
		if err := addRequired(app, l); err != nil {
			return err
		}
		kit.Say(b.Out, "go.mod does not name %s: the build takes %s", l, strings.TrimPrefix(pinned([]string{l})[0], l+" "))
	}
	if !short {
		return nil
	}
	if vendored {
		kit.Say(b.Out, "vendor/ does not have what serves the function: the build fetches the modules")
	}
	env["GOFLAGS"] = strings.TrimSpace(env["GOFLAGS"] + " -mod=mod")
	old, err := os.ReadFile(filepath.Join(app, "go.sum"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(old) > 0 && old[len(old)-1] != '\n' {
		old = append(old, '\n')
	}
	return os.WriteFile(filepath.Join(app, "go.sum"), append(old, missingSums(string(old))...), 0o644)
}

// hasGo tells whether a folder has a package.
func hasGo(dir string) bool {
	found, _ := filepath.Glob(filepath.Join(dir, "*.go")) // a malformed pattern finds none
	return len(found) > 0
}

// missingSums are the lines of our go.sum for what a go.sum does not have.
func missingSums(have string) string {
	var b strings.Builder
	for line := range strings.Lines(pinnedSums) {
		words := strings.Fields(line)
		if len(words) == 3 && !strings.Contains(have, words[0]+" "+words[1]+" ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// addRequired adds a library to the app's go.mod.
func addRequired(app, library string) error {
	file := filepath.Join(app, "go.mod")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	parsed, err := modfile.Parse("go.mod", data, nil)
	if err != nil {
		return kit.Errorf("run go mod tidy and push again", "go.mod cannot be read: %s", kit.First(err.Error()))
	}
	for _, line := range pinned([]string{library})[:1] {
		name, version, _ := strings.Cut(line, " ")
		if err := parsed.AddRequire(name, version); err != nil {
			return err
		}
	}
	parsed.Cleanup()
	text, err := parsed.Format()
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
