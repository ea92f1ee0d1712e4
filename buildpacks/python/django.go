package python

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// manageDir is the folder that Django's manage.py is in, relative to the app: "." for the root, "" for none.
func (b *build) manageDir() string {
	if kit.IsFile(b.app, "manage.py") {
		return "."
	}
	found := glob(b.app, "*/manage.py")
	if len(found) != 1 || !djangoSettings.MatchString(kit.Text(found[0])) {
		return ""
	}
	rel, err := filepath.Rel(b.app, filepath.Dir(found[0]))
	if err != nil {
		return ""
	}
	return rel
}

func (b *build) isDjango() bool { return b.manageDir() != "" }

// djangoApp finds the project's WSGI module by the settings that manage.py names; its ASGI module, where channels or a server for ASGI is
// installed and gunicorn is not.
func (b *build) djangoApp() appObject {
	dir := b.manageDir()
	root := filepath.Join(b.app, dir)
	async := !b.has("gunicorn") && slices.ContainsFunc([]string{"channels", "daphne", "uvicorn", "hypercorn"}, b.has)
	module := func(pkg string) appObject {
		folder := strings.ReplaceAll(pkg, ".", "/")
		if async && kit.IsFile(root, folder, "asgi.py") {
			return appObject{name: pkg + ".asgi:application", protocol: asgi, dir: dir}
		}
		if kit.IsFile(root, folder, "wsgi.py") {
			return appObject{name: pkg + ".wsgi:application", protocol: wsgi, dir: dir}
		}
		return appObject{}
	}
	if m := djangoSettings.FindStringSubmatch(kit.Text(root, "manage.py")); m != nil {
		for pkg := m[1]; pkg != ""; {
			i := strings.LastIndex(pkg, ".")
			pkg = pkg[:max(i, 0)]
			if o := module(pkg); pkg != "" && o.name != "" {
				return o
			}
		}
	}
	if found := glob(root, "*/wsgi.py"); len(found) == 1 {
		return module(filepath.Base(filepath.Dir(found[0])))
	}
	return appObject{}
}

var djangoSettings = pattern.New(`DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']`)

// mostPlaceholders is how many variables collectstatic may miss.
const mostPlaceholders = 12

// What settings say of a variable that is not set: Python itself, python-decouple, django-environ, environs, pydantic.
var missingVariable = pattern.New(`(?:KeyError: '([A-Z][A-Z0-9_]*)'|UndefinedValueError: ([A-Z][A-Z0-9_]*) not found|Set the ([A-Z][A-Z0-9_]*) environment variable|Environment variable "([A-Z][A-Z0-9_]*)" not set|The (SECRET_KEY) setting must not be empty|environment variable '?([A-Z][A-Z0-9_]*)'? (?:is )?(?:not set|required|missing))`)

// collectStatic gathers the static files of a Django project that says where to. Variables that its settings want and a build does not have stand in
// with a placeholder: static files need no secret.
func (b *build) collectStatic() error {
	if !b.isDjango() || b.env.Bool("DISABLE_COLLECTSTATIC") || !b.usesStaticRoot() {
		return nil
	}
	env := b.env.Clone()
	env.Prepend(filepath.Join(b.venv.Path, "bin"))
	env["PYTHONPATH"] = b.pythonPath()
	kit.Say(b.Out, "python manage.py collectstatic --noinput")
	var given []string
	for {
		out := &kit.Tail{}
		said, err := kit.Cmd{Args: []string{filepath.Join(b.venv.Path, "bin", "python"), "manage.py", "collectstatic", "--noinput"}, Dir: filepath.Join(b.app, b.manageDir()), Env: env, Out: out,
			Name: "collectstatic", Next: "settings that it needs can be given to the build, or set DISABLE_COLLECTSTATIC=1 for the build"}.Run()
		missing := firstOf(missingVariable.FindStringSubmatch(said))
		if err == nil || missing == "" || slices.Contains(given, missing) || len(given) == mostPlaceholders {
			return b.collected(out.String(), given, err)
		}
		given = append(given, missing)
		env[missing] = placeholder(missing)
	}
}

// placeholder is a value that settings take for a variable of that name.
func placeholder(name string) string {
	switch {
	case strings.Contains(name, "DATABASE_URL"), strings.HasSuffix(name, "DB_URL"):
		return "sqlite:///:memory:"
	case strings.HasSuffix(name, "_URL"), strings.HasSuffix(name, "_URI"):
		return "redis://localhost:6379/0"
	case strings.Contains(name, "PORT"):
		return "5432"
	case strings.Contains(name, "DEBUG"):
		return "False"
	}
	return "placeholder"
}

func firstOf(groups []string) string {
	for _, g := range groups[min(1, len(groups)):] {
		if g != "" {
			return g
		}
	}
	return ""
}

// collected tells how collectstatic ended.
func (b *build) collected(said string, given []string, err error) error {
	if err != nil && strings.Contains(said, "without having set the STATIC_ROOT") {
		kit.Say(b.Out, "Warning: STATIC_ROOT is not set in the settings that the build sees, so static files are not collected")
		return nil
	}
	if text := strings.TrimSpace(said); text != "" {
		kit.Say(b.Out, "%s", text)
	}
	switch {
	case err == nil && len(given) > 0:
		kit.Say(b.Out, "The build has no %s: collectstatic ran with a placeholder", strings.Join(given, ", "))
	case err != nil && len(given) > 0:
		return kit.Errorf("give the build "+strings.Join(given, ", ")+", or set DISABLE_COLLECTSTATIC=1 for it", "collectstatic failed: the settings want variables that the build has not: %s", strings.Join(given, ", "))
	case err != nil:
		if m := lastException.FindStringSubmatch(said); m != nil {
			return kit.Errorf("settings that it needs can be given to the build, or set DISABLE_COLLECTSTATIC=1 for the build", "collectstatic failed: %s", m[1])
		}
	}
	return err
}

// lastException is the last line of a traceback.
var lastException = pattern.New(`(?m)^((?:\w+\.)*\w*(?:Error|Exception|ImproperlyConfigured|NotFound)\b[^\n]*)\s*\z`)

var (
	staticRoot   = pattern.New(`(?m)^\s*STATIC_ROOT\s*[:=]`)
	emptyHosts   = pattern.New(`(?m)^ALLOWED_HOSTS\s*(?::[^=\n]+)?=\s*(?:\[\s*\]|\(\s*\)|\[\s*['"](?:localhost|127\.0\.0\.1)['"](?:\s*,\s*['"](?:localhost|127\.0\.0\.1|\[::1\])['"])*\s*,?\s*\])`)
	anyHosts     = pattern.New(`(?m)^\s*ALLOWED_HOSTS\b`)
	settingsFile = pattern.New(`(?:^|/)settings(?:\.py$|/[^/]+\.py$)|(?:^|/)settings_\w+\.py$`)
)

// settings are the texts of the project's settings.
func (b *build) settings() (texts []string) {
	for _, f := range b.sources() {
		if settingsFile.MatchString(f) {
			texts = append(texts, kit.Text(b.app, f))
		}
	}
	return texts
}

func (b *build) usesStaticRoot() bool {
	return slices.ContainsFunc(b.settings(), staticRoot.MatchString)
}

// warnHosts says that Django will answer to no name but localhost.
func (b *build) warnHosts() {
	if !b.isDjango() {
		return
	}
	empty, any := false, 0
	for _, text := range b.settings() {
		empty = empty || emptyHosts.MatchString(text)
		any += len(anyHosts.FindAllStringSubmatch(text, -1))
	}
	if empty && any == 1 {
		kit.Say(b.Out, `Warning: ALLOWED_HOSTS names no host but localhost, so Django answers 400 (DisallowedHost) under any other name: add the app's, or ".your-domain"`)
	}
}
