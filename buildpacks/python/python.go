// Package python is the Python buildpack: requirements into a virtual environment, and a server for WSGI or ASGI apps.
package python

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// Buildpack builds Python apps.
type Buildpack struct {
	Exe    string // python3, at the same path in the run image
	UV     string // uv
	Lambda string // the program that runs functions of AWS Lambda
	Out    io.Writer
}

// New returns the buildpack with the paths of the build image.
func New(out io.Writer) Buildpack {
	return Buildpack{Exe: catalog.PythonExe, UV: filepath.Join(catalog.UVRoot, "bin", "uv"), Lambda: catalog.LambdaProgram, Out: out}
}

const looksFor = "requirements.txt, pyproject.toml, uv.lock, Pipfile.lock or setup.py"

// Detect implements libcnb.Detector.
func (b Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	app := ctx.Application.Path
	f, err := findFunction(app, kit.NewEnv(ctx.Platform.Environment))
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	s, err := sourceOf(app, f)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	if f != nil {
		w, err := wantedVersion(app, s)
		return kit.Detected(b.Out, "Python (%s by %s, %s)", functions.Title(f.Contract), f.Evidence, w.describe()), err
	}
	if s.kind == "" {
		return kit.LookedFor(b.Out, looksFor), nil
	}
	site := siteOf(app, s)
	if site == nil && otherApp(app, s) != "" && starts(app, s) == "" {
		return kit.LookedFor(b.Out, "a program in Python"), nil
	}
	w, err := wantedVersion(app, s)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	if site != nil {
		return kit.Detected(b.Out, "%s (%s, %s)", site.name, site.config, w.describe()), nil
	}
	return kit.Detected(b.Out, "Python (%s, %s)", s.kind, w.describe()), nil
}

// build is one build under way.
type build struct {
	Buildpack
	ctx         libcnb.BuildContext
	app         string
	env         kit.Env
	cache       *kit.Cache
	source      source
	wanted      wanted
	version     string       // "3.11.2"
	exe         string       // its interpreter
	other       *interpreter // nil for the image's own
	venv        *kit.Layer
	names       []string   // installed packages as "name==version", names normalised
	found       *appObject // by findApp; nil before
	said        string     // by the last installation
	leftOut     []string   // packages for another system alone, and
	leftOutFile string     // the file that tells uv so
	site        *generator // nil for an app

	function *functions.Found // nil for an app that is none
}

// Build implements libcnb.Builder.
func (bp Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	b := &build{Buildpack: bp, ctx: ctx, app: ctx.Application.Path, env: kit.NewEnv(ctx.Platform.Environment)}
	b.cache = kit.OpenCache(ctx, b.env)
	if err := b.prepare(); err != nil {
		return result, err
	}
	if b.site != nil {
		for _, step := range []func() error{b.dropEnvironments, b.environment, b.generate} {
			if err := step(); err != nil {
				return result, err
			}
		}
		result.Layers = append(b.cache.Layers(), b.venv)
		return result, nil
	}
	for _, step := range []func() error{b.dropEnvironments, b.environment, b.checkImports, b.assets, b.collectStatic} {
		if err := step(); err != nil {
			return result, err
		}
	}
	b.warnHosts()
	b.warnAddress()
	b.compileApp()
	web, err := b.web(&result)
	if err != nil {
		return result, err
	}
	if web != nil {
		web.Default = web.Type == "web"
		result.Processes = append(result.Processes, *web)
	}
	result.Layers = append(append(result.Layers, b.cache.Layers()...), b.venv)
	uv, err := b.uvLayer()
	if err != nil {
		return result, err
	}
	if uv != nil {
		result.Layers = append(result.Layers, uv)
	}
	if b.other != nil {
		l, err := b.pythonLayer()
		if err != nil {
			return result, err
		}
		result.Layers = append(result.Layers, l)
	}
	return result, nil
}

func (b *build) prepare() error {
	var err error
	if b.function, err = findFunction(b.app, b.env); err != nil {
		return err
	}
	if b.source, err = sourceOf(b.app, b.function); err != nil {
		return err
	}
	b.env.Default("HOME", os.TempDir())
	b.env.Default("PATH", "/usr/bin:/bin")
	b.env["PYTHONDONTWRITEBYTECODE"] = "1"
	delete(b.env, "PYTHONHOME")
	delete(b.env, "VIRTUAL_ENV")
	if err := b.setUV(); err != nil {
		return err
	}
	if b.function == nil {
		b.site = siteOf(b.app, b.source)
	}
	w, err := wantedVersion(b.app, b.source)
	if err != nil {
		return err
	}
	return b.findPython(w)
}

// web is the process that takes requests; nil for an app whose Procfile says so itself.
func (b *build) web(result *libcnb.BuildResult) (*libcnb.Process, error) {
	if b.function != nil {
		if p, err := b.functionProcess(result); p != nil || err != nil {
			return p, err
		}
	}
	return b.start()
}

// source is where the app's requirements are written down.
type source struct {
	kind    string // the file: "requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock", "pyproject.toml", "setup.py", a program without packages; "" for none
	project project
	script  bool // kind is a program that says itself what it needs
}

// project is what pyproject.toml says.
type project struct {
	Project struct {
		Name           string         `toml:"name"`
		RequiresPython string         `toml:"requires-python"`
		Dependencies   []string       `toml:"dependencies"`
		Dynamic        []string       `toml:"dynamic"`
		Optional       map[string]any `toml:"optional-dependencies"`
		Scripts        map[string]any `toml:"scripts"`
	} `toml:"project"`
	Groups      map[string]any `toml:"dependency-groups"`
	BuildSystem struct {
		Backend string `toml:"build-backend"`
	} `toml:"build-system"`
	Tool struct {
		Poetry struct {
			Name         string         `toml:"name"`
			Package      *bool          `toml:"package-mode"`
			Dependencies map[string]any `toml:"dependencies"`
			Scripts      map[string]any `toml:"scripts"`
			Group        map[string]struct {
				Dependencies map[string]any `toml:"dependencies"`
			} `toml:"group"`
		} `toml:"poetry"`
		PDM struct {
			Scripts map[string]any `toml:"scripts"`
		} `toml:"pdm"`
	} `toml:"tool"`
}

// listed are the files that list packages by themselves, the most exact first.
var listed = []string{"uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "requirements.txt", "Pipfile.lock", "Pipfile"}

// elsewhere are the places in which requirements are where nothing at the root lists them.
var elsewhere = []string{"requirements/production.txt", "requirements/prod.txt", "requirements/base.txt", "requirements/requirements.txt", "requirements-prod.txt", "requirements.in"}

// findSource finds the most exact of the files that list requirements.
func findSource(app string) (source, error) {
	var s source
	data, err := kit.ReadFile(app, "pyproject.toml")
	switch {
	case err == nil:
		if err := toml.Unmarshal(data, &s.project); err != nil {
			var parse toml.ParseError
			if errors.As(err, &parse) {
				return s, kit.Errorf("correct it and push again", "pyproject.toml is not valid TOML, line %d: %s", parse.Position.Line, parse.Message)
			}
			return s, kit.Errorf("correct it and push again", "pyproject.toml cannot be read: %s", kit.First(err.Error()))
		}
	case !errors.Is(err, fs.ErrNotExist):
		return s, err
	}
	for _, f := range listed {
		if kit.IsFile(app, f) {
			s.kind = f
			return s, nil
		}
	}
	// A pyproject.toml without dependencies may only configure tools of an app in another language, or of none.
	declares := s.project.Project.Name != "" || len(s.project.Tool.Poetry.Dependencies) > 0
	python := len(glob(app, "*.py")) > 0
	switch {
	case data != nil && (declares || python):
		s.kind = "pyproject.toml"
	case kit.Exists(app, "setup.py"):
		s.kind = "setup.py"
	default:
		for _, f := range elsewhere {
			if kit.IsFile(app, f) {
				s.kind = f
				return s, nil
			}
		}
		if site := siteOf(app, s); site != nil {
			s.kind = site.config
			return s, nil
		}
		if err := notForPip(app); err != nil {
			return s, err
		}
		if s.kind = programFile(app); s.kind != "" {
			return s, s.inline(app, s.kind)
		}
	}
	return s, nil
}

// sourceOf is findSource for an app that may be a function, which needs no packages.
func sourceOf(app string, f *functions.Found) (source, error) {
	s, err := findSource(app)
	if f == nil || err != nil || s.kind != "" {
		return s, err
	}
	s.kind = f.Source
	if file := filepath.Join(filepath.Dir(f.Source), "requirements.txt"); kit.IsFile(app, file) { // of a function in a folder, as SAM has them
		s.kind = file
	}
	return s, nil
}

// misspelt are names of requirements.txt as people write them.
var misspelt = []string{"requirments.txt", "requirement.txt", "requirments.text", "requirements.text", "Requirements.txt", "requirements.txt.txt", "REQUIREMENTS.txt", "require.txt", "requirements"}

// notForPip refuses an app whose packages are listed where no installer of Python's own packages looks.
func notForPip(app string) error {
	if len(glob(app, "*.py"))+len(glob(app, "*/*.py")) == 0 {
		return nil
	}
	for _, f := range []string{"environment.yml", "environment.yaml", "conda-lock.yml"} {
		if kit.IsFile(app, f) && !kit.Exists(app, "package.json") {
			return kit.Errorf("write requirements.txt with the packages that the app imports (pip list --format=freeze > requirements.txt), and commit it",
				"%s lists packages of conda, which this builder does not install", f)
		}
	}
	entries, _ := os.ReadDir(app) // names as they are, also where the disk does not tell case
	for _, e := range entries {
		if e.Type().IsRegular() && slices.Contains(misspelt, e.Name()) {
			return kit.Errorf("rename it: git mv "+e.Name()+" requirements.txt", "%s is not a name that installers of packages look for", e.Name())
		}
	}
	return nil
}

// programFile finds a program that needs no packages: what a Procfile starts with python, or a file with one of the usual names where nothing
// makes the app a site of pages.
func programFile(app string) string {
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	for _, p := range procs {
		words := strings.Fields(p.Command)
		if i := slices.IndexFunc(words, func(w string) bool { return pythonProgram.MatchString(w) }); i >= 0 {
			for _, w := range words[i+1:] {
				if strings.HasSuffix(w, ".py") && kit.IsFile(app, w) {
					return w
				}
			}
		}
	}
	if kit.Exists(app, "index.html") {
		return ""
	}
	for _, f := range []string{"main.py", "app.py", "server.py", "wsgi.py", "manage.py"} {
		if kit.IsFile(app, f) {
			return f
		}
	}
	return loneProgram(app)
}

var pythonProgram = pattern.New(`^(?:.*/)?python[0-9.]*$`)

func glob(app, pattern string) []string {
	found, _ := filepath.Glob(filepath.Join(app, pattern)) // constant patterns: cannot fail
	return found
}

// has tells whether a package is installed.
func (b *build) has(name string) bool {
	return slices.ContainsFunc(b.names, func(n string) bool { return strings.HasPrefix(n, name+"==") })
}
