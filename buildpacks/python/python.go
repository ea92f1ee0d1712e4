// Package python is the Python buildpack: requirements into a virtual environment, and a server for WSGI or ASGI apps.
package python

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Buildpack builds Python apps.
type Buildpack struct {
	Exe string // python3, at the same path in the run image
	Out io.Writer
}

// New returns the buildpack with the paths of the build image.
func New(out io.Writer) Buildpack { return Buildpack{Exe: catalog.PythonExe, Out: out} }

const looksFor = "requirements.txt, pyproject.toml, uv.lock, Pipfile.lock or setup.py"

// Detect implements libcnb.Detector.
func (b Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	app := ctx.Application.Path
	s, err := findSource(app)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	if s.kind == "" {
		return kit.LookedFor(b.Out, looksFor), nil
	}
	w, err := wantedVersion(app, s)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	return kit.Detected(b.Out, "Python (%s, %s)", s.kind, w.describe()), nil
}

// build is one build under way.
type build struct {
	Buildpack
	ctx     libcnb.BuildContext
	app     string
	env     kit.Env
	cache   *kit.Cache
	source  source
	version string // "3.11.2"
	venv    *kit.Layer
	names   []string // installed packages as "name==version", names normalised
}

// Build implements libcnb.Builder.
func (bp Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	b := &build{Buildpack: bp, ctx: ctx, app: ctx.Application.Path, env: kit.NewEnv(ctx.Platform.Environment)}
	b.cache = kit.OpenCache(ctx, b.env)
	if err := b.prepare(); err != nil {
		return result, err
	}
	if err := b.environment(); err != nil {
		return result, err
	}
	if err := b.collectStatic(); err != nil {
		return result, err
	}
	if err := b.compileApp(); err != nil {
		return result, err
	}
	web, err := b.start()
	if err != nil {
		return result, err
	}
	if web != nil {
		web.Default = true
		result.Processes = append(result.Processes, *web)
	}
	result.Layers = append(b.cache.Layers(), b.venv)
	return result, nil
}

func (b *build) prepare() error {
	var err error
	if b.source, err = findSource(b.app); err != nil {
		return err
	}
	b.env.Default("HOME", os.TempDir())
	b.env.Default("PATH", "/usr/bin:/bin")
	b.env["PYTHONDONTWRITEBYTECODE"] = "1"
	b.env.Default("PIP_DISABLE_PIP_VERSION_CHECK", "1")
	b.env.Default("PIP_ROOT_USER_ACTION", "ignore")
	b.env.Default("PIP_NO_INPUT", "1")
	b.env.Default("PIP_PROGRESS_BAR", "off")
	delete(b.env, "PYTHONHOME")
	delete(b.env, "VIRTUAL_ENV")
	if b.env["PIP_CACHE_DIR"], err = b.cache.Dir("python-pip"); err != nil {
		return err
	}
	if b.version, err = b.interpreter(); err != nil {
		return err
	}
	w, err := wantedVersion(b.app, b.source)
	if err != nil {
		return err
	}
	if !w.allows(b.version) {
		return kit.Errorf("this builder has Python "+minor(b.version)+" only", "%s asks for Python %s", w.from, w.text)
	}
	kit.Say(b.Out, "Python %s", b.version)
	return nil
}

// interpreter asks the builder's Python for its version, and notes the answer: starting it takes as long as all the rest of a
// build in which nothing changed.
func (b *build) interpreter() (string, error) {
	fi, err := os.Stat(b.Exe)
	if err != nil {
		return "", kit.Errorf("the builder image may be broken", "Python is missing from the builder: %v", err)
	}
	tools, err := b.cache.Dir("python-tools")
	if err != nil {
		return "", err
	}
	note, id := filepath.Join(tools, "builder-version"), fmt.Sprintf("%s %d %d", b.Exe, fi.Size(), fi.ModTime().UnixNano())
	if v, ok := strings.CutPrefix(kit.Text(note), id+" "); ok {
		return v, nil
	}
	out, err := kit.Cmd{Args: []string{b.Exe, "-c", "import platform; print(platform.python_version())"}, Env: b.env, Out: b.Out}.Output()
	if err != nil {
		return "", err
	}
	v := strings.TrimSpace(string(out))
	return v, os.WriteFile(note, []byte(id+" "+v), 0o644)
}

// source is where the app's requirements are written down.
type source struct {
	kind    string // the file: "requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock", "pyproject.toml", "setup.py"; "" for none
	project project
}

// project is what pyproject.toml says.
type project struct {
	Project struct {
		Name           string   `toml:"name"`
		RequiresPython string   `toml:"requires-python"`
		Dependencies   []string `toml:"dependencies"`
	} `toml:"project"`
	Tool struct {
		Poetry struct {
			Dependencies map[string]any `toml:"dependencies"`
		} `toml:"poetry"`
	} `toml:"tool"`
}

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
	for _, f := range []string{"uv.lock", "poetry.lock", "requirements.txt", "Pipfile.lock"} {
		if kit.Exists(app, f) {
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
	}
	return s, nil
}

func glob(app, pattern string) []string {
	found, _ := filepath.Glob(filepath.Join(app, pattern)) // constant patterns: cannot fail
	return found
}

// wanted is the Python that the app asks for.
type wanted struct {
	text string
	from string
	ok   func(version string) bool
}

var (
	runtimeTxt = regexp.MustCompile(`^(?:python-?)?([0-9]+(?:\.[0-9]+){0,2})$`)
	pipfile    = regexp.MustCompile(`"python_(?:full_)?version":\s*"([0-9.]+)"`)
)

// wantedVersion reads the version from .python-version, runtime.txt, requires-python or Pipfile.lock. Patch versions do not
// count: what a distribution calls 3.11.2 has the fixes of later ones.
func wantedVersion(app string, s source) (wanted, error) {
	for _, f := range []string{".python-version", "runtime.txt"} {
		text := kit.First(kit.Text(app, f))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		m := runtimeTxt.FindStringSubmatch(text)
		if m == nil {
			return wanted{}, kit.Errorf("write a version such as 3.11", "%s asks for Python %q, which is not a version", f, text)
		}
		return wanted{m[1], f, func(v string) bool { return m[1] == "3" || minor(m[1]) == minor(v) }}, nil
	}
	if r := s.project.Project.RequiresPython; r != "" {
		ok, err := parseSpecifier(r)
		if err != nil {
			return wanted{}, kit.Errorf("write it as >=3.11", "requires-python in pyproject.toml is %q, which is not a range of versions", r)
		}
		return wanted{r, "requires-python in pyproject.toml", ok}, nil
	}
	if s.kind == "Pipfile.lock" {
		if m := pipfile.FindStringSubmatch(kit.Text(app, "Pipfile.lock")); m != nil {
			return wanted{m[1], "Pipfile.lock", func(v string) bool { return minor(m[1]) == minor(v) }}, nil
		}
	}
	return wanted{ok: func(string) bool { return true }}, nil
}

func (w wanted) describe() string {
	if w.text == "" {
		return "any python"
	}
	return "python " + w.text
}

func (w wanted) allows(version string) bool { return w.ok(version) }

// minor cuts a version to its first two numbers.
func minor(v string) string {
	parts := strings.Split(v, ".")
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// has tells whether a package is installed.
func (b *build) has(name string) bool {
	return slices.ContainsFunc(b.names, func(n string) bool { return strings.HasPrefix(n, name+"==") })
}
