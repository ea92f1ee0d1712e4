package python

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/function"
	"github.com/gitd-io/gitd/internal/pattern"
)

// functionFiles are the programs that start functions, and for each library what it needs, with hashes.
//
//go:embed function function/_gitd_common.py
var functionFiles embed.FS

// common is what those programs share. Its name keeps it apart from the modules of apps.
const common = "_gitd_common.py"

// library is what serves a function: the program that starts it, the file with its packages, the package that the app may have itself, and the oldest
// Python that it runs on.
type library struct{ program, packages, name, python string }

// libraryOf is the library of a function.
func libraryOf(f *functions.Found) library {
	switch {
	case f.Contract == function.Lambda:
		return library{"awslambda.py", "lambda.txt", "awslambdaric", "3.10"}
	case f.Contract == function.FunctionsFramework:
		return library{"framework.py", "framework.txt", "functions-framework", "3.9"}
	case f.Target == "new" || f.Target == "handle":
		return library{"knative.py", "knative.txt", "func-python", "3.10"}
	}
	return library{"parliament.py", "parliament.txt", "parliament-functions", "3.9"}
}

// findFunction finds the function of the app; nil for an app that is none.
func findFunction(app string, env kit.Env) (*functions.Found, error) {
	return functions.Find(app, env, functions.Python(serverOf, otherProgram, startsFunction))
}

var functionRunner = pattern.New(`(?:^|[\s/])functions[-_]framework(?:\s|$)`)

// startsFunction is the line of the Procfile by which the app starts a library of functions; "" for none.
func startsFunction(app string) string {
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	for _, p := range procs {
		if p.Type == "web" && functionRunner.MatchString(p.Command) {
			return p.Command
		}
	}
	return ""
}

// serverOf says what makes an app a server, and so no function; "" for nothing.
func serverOf(app string) string {
	if startsFunction(app) != "" {
		return ""
	}
	if procfile.HasWeb(app) {
		return procfile.Name
	}
	s, err := findSource(app)
	if err != nil {
		return ""
	}
	b := &build{app: app, source: s}
	if dir := b.manageDir(); dir != "" {
		return filepath.Join(dir, "manage.py")
	}
	if siteOf(app, s) != nil {
		return "a site"
	}
	if o := b.findApp(); o.known {
		return o.file
	}
	for _, f := range programs {
		if pageImport.MatchString(kit.Text(app, f)) {
			return f
		}
	}
	return ""
}

// otherProgram is what is started of an app that has a file handler.py besides; "" for nothing.
func otherProgram(app string) string {
	if procfile.Runs(app) {
		return procfile.Name
	}
	for _, f := range slices.Concat(programs, appFiles) {
		if kit.IsFile(app, f) {
			return f
		}
	}
	s, err := findSource(app)
	if err != nil {
		return "" // its own error is told
	}
	return program(app, s)
}

// functionProcess is how the function starts; nil where the app starts it by itself. The result gets the layers of what starts it.
func (b *build) functionProcess(result *libcnb.BuildResult) (*libcnb.Process, error) {
	f := b.function
	f.Tell(b.Out, b.app)
	label, err := f.Label()
	if err != nil {
		return nil, err
	}
	result.Labels = append(result.Labels, label)
	if f.Own != "" {
		return nil, nil
	}
	l := libraryOf(f)
	layer, err := b.functionLayer(l)
	if err != nil {
		return nil, err
	}
	result.Layers = append(result.Layers, layer)
	program := filepath.Join(layer.Path, l.program)
	if f.Contract == function.Lambda {
		wrapper, err := functions.LambdaLayer(b.ctx, b.Lambda)
		if err != nil {
			return nil, err
		}
		result.Layers = append(result.Layers, wrapper)
		p := functions.LambdaProcess(f.Target, f.Signature, "python", program, f.Target)
		return &p, nil
	}
	args := []string{program, "--source=" + f.Source, "--target=" + f.Target, "--signature=" + string(f.Signature)}
	if f.Concurrency > 0 {
		args = append(args, fmt.Sprintf("--concurrency=%d", f.Concurrency))
	}
	return &libcnb.Process{Type: "web", Command: "python", Arguments: args, Direct: true}, nil
}

// functionLayer has the program that starts the function, and the library where the app does not have it.
func (b *build) functionLayer(l library) (*kit.Layer, error) {
	layer, err := kit.OpenLayer(b.ctx, "function")
	if err != nil {
		return nil, err
	}
	own := b.has(l.name)
	if oldest, err := parseSpecifier(">=" + l.python); !own && (err != nil || !oldest(b.version)) {
		return nil, kit.Errorf("ask for Python "+l.python+" or newer, or list a version of "+l.name+" that runs on it", "%s, which serves the function, does not run on Python %s", l.name, b.version)
	}
	parts := []string{"1", b.version, b.exe, fmt.Sprint(own, b.function.Env)}
	for _, f := range []string{common, l.program, l.packages} {
		data, err := functionFiles.ReadFile("function/" + f)
		if err != nil {
			return nil, err
		}
		parts = append(parts, string(data))
	}
	key := kit.Key(parts...)
	if reuse, err := layer.Renew(key); err != nil || reuse {
		return layer, err
	}
	layer.SetLaunch(b.function.Env)
	return layer, b.fillFunction(layer, l, own)
}

// fillFunction writes the program, and installs the library with what it needs, each package checked by its hash.
func (b *build) fillFunction(layer *kit.Layer, l library, own bool) error {
	for _, f := range []string{common, l.program} {
		data, err := functionFiles.ReadFile("function/" + f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(layer.Path, f), data, 0o644); err != nil {
			return err
		}
	}
	if !own {
		data, err := functionFiles.ReadFile("function/" + l.packages)
		if err != nil {
			return err
		}
		file, err := temporary("function-*.txt", string(data))
		if err != nil {
			return err
		}
		defer os.Remove(file)
		to := filepath.Join(layer.Path, "packages")
		// By the interpreter itself: an environment that is taken over from the last build is in the registry, not here.
		if err := b.pip("Installing "+l.name+" (the app does not list it)", "--python", b.exe, "--require-hashes", "--target", to, "-r", file); err != nil {
			return err
		}
		if err := kit.Prune(to, func(rel string, d fs.DirEntry) bool { return slices.Contains([]string{"bin", ".lock"}, rel) }); err != nil {
			return err
		}
	}
	b.compile(filepath.Join(layer.Path, common), filepath.Join(layer.Path, l.program))
	b.compileFolders(filepath.Join(layer.Path, "packages"))
	var all []kit.Package
	for _, dir := range glob(layer.Path, "packages/*.dist-info") {
		if name, version, ok := strings.Cut(strings.TrimSuffix(filepath.Base(dir), ".dist-info"), "-"); ok {
			all = append(all, kit.Package{Name: normal(name), Version: version, PURL: "pkg:pypi/" + normal(name)})
		}
	}
	return kit.WriteSBOM(layer.Layer, all)
}
