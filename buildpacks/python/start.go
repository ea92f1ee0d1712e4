package python

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// procfileWeb tells whether a Procfile says how the web process starts.
func (b *build) procfileWeb() bool {
	procs, err := procfile.Read(b.app)
	// A malformed one fails in its own buildpack.
	return err != nil || slices.ContainsFunc(procs, func(p procfile.Process) bool { return p.Type == "web" })
}

// asgi tells whether the app is made with a framework that speaks ASGI only.
func (b *build) asgi() bool { return b.has("fastapi") || b.has("starlette") || b.has("quart") }

// addServer installs a server when the app has none: gunicorn for WSGI, uvicorn for ASGI.
func (b *build) addServer() error {
	if b.procfileWeb() {
		return nil
	}
	server := "gunicorn"
	if b.asgi() {
		server = "uvicorn"
	}
	wsgi := []string{"flask", "django", "bottle", "falcon", "pyramid", "gunicorn"}
	if server == "gunicorn" && !slices.ContainsFunc(wsgi, b.has) && b.findApp() == "" {
		return nil
	}
	if b.has(server) || b.has("hypercorn") && b.asgi() {
		return nil
	}
	if err := b.pip("pip install "+server+" (the app names no server)", server); err != nil {
		return err
	}
	names, err := b.freeze()
	b.names = names
	return err
}

// appFiles are the modules that are looked at for an app object.
var appFiles = []string{"app.py", "main.py", "wsgi.py", "asgi.py", "application.py", "server.py", "run.py", "src/app.py", "src/main.py",
	"app/main.py", "app/app.py", "app/__init__.py", "src/app/main.py"}

var (
	appObject  = regexp.MustCompile(`(?m)^(app|application|api|server)\s*(?::[^=\n]+)?=\s*[^=\s]`)
	appFactory = regexp.MustCompile(`(?m)^(?:async )?def (create_app|make_app)\(\s*\)|^def (create_app|make_app)\([^)\n]*=[^)\n]*\)`)
	appImport  = regexp.MustCompile(`(?m)^from \S+ import (?:.*\b)?(app|application)\b`)
	appDef     = regexp.MustCompile(`(?m)^(?:async )?def (app|application)\(`)
)

// findApp finds the app object as "module:name"; "" for none.
func (b *build) findApp() string {
	for _, f := range appFiles {
		text := kit.Text(b.app, f)
		if text == "" {
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(f, "src/"), ".py")
		module := strings.ReplaceAll(strings.TrimSuffix(name, "/__init__"), "/", ".")
		for _, r := range []*regexp.Regexp{appObject, appDef, appImport} {
			if m := r.FindStringSubmatch(text); m != nil {
				return module + ":" + m[1]
			}
		}
		if m := appFactory.FindStringSubmatch(text); m != nil {
			return module + ":" + m[1] + m[2] + "()"
		}
	}
	return ""
}

// djangoApp finds the project's WSGI module by the settings that manage.py names.
func (b *build) djangoApp() string {
	m := regexp.MustCompile(`DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']`).FindStringSubmatch(kit.Text(b.app, "manage.py"))
	if m != nil {
		for pkg := m[1]; pkg != ""; {
			i := strings.LastIndex(pkg, ".")
			pkg = pkg[:max(i, 0)]
			if pkg != "" && kit.IsFile(b.app, strings.ReplaceAll(pkg, ".", "/"), "wsgi.py") {
				return pkg + ".wsgi:application"
			}
		}
	}
	if found := glob(b.app, "*/wsgi.py"); len(found) == 1 {
		return filepath.Base(filepath.Dir(found[0])) + ".wsgi:application"
	}
	return ""
}

// start finds out how the app starts. It is nil for an app whose Procfile says so itself.
func (b *build) start() (*libcnb.Process, error) {
	if b.procfileWeb() {
		return nil, nil
	}
	app := b.findApp()
	if b.isDjango() {
		if d := b.djangoApp(); d != "" {
			app = d
		}
	}
	factory := strings.HasSuffix(app, "()")
	switch {
	case app == "":
	case b.asgi() && b.has("uvicorn"):
		line := "exec uvicorn " + strings.TrimSuffix(app, "()")
		if factory {
			line += " --factory"
		}
		return shell(line + ` --host 0.0.0.0 --port "${PORT:-8080}" --timeout-graceful-shutdown 30`), nil
	case b.asgi() && b.has("hypercorn"):
		return shell("exec hypercorn " + app + ` --bind "0.0.0.0:${PORT:-8080}"`), nil
	case b.has("gunicorn"):
		// It listens on $PORT and takes the number of workers from WEB_CONCURRENCY by itself. Its heartbeat files are in /tmp,
		// the one place that can be written, and in memory.
		return &libcnb.Process{Type: "web", Command: "gunicorn", Arguments: []string{"--worker-tmp-dir", "/tmp", "--threads", "8", "--error-logfile", "-", app}, Direct: true}, nil
	}
	for _, f := range []string{"main.py", "app.py", "server.py", "run.py", "__main__.py"} {
		if kit.IsFile(b.app, f) {
			return &libcnb.Process{Type: "web", Command: "python", Arguments: []string{f}, Direct: true}, nil
		}
	}
	if procs, _ := procfile.Read(b.app); len(procs) > 0 {
		return nil, nil
	}
	return nil, kit.Errorf("add a Procfile with a line such as web: gunicorn app:app",
		"nothing says how the app starts: no Procfile, and no app object in app.py, main.py or wsgi.py")
}

func shell(line string) *libcnb.Process {
	return &libcnb.Process{Type: "web", Command: "/bin/sh", Arguments: []string{"-c", line}, Direct: true}
}

// collectStatic gathers the static files of a Django project that says where to.
func (b *build) collectStatic() error {
	if !b.isDjango() || b.env.Bool("DISABLE_COLLECTSTATIC") || !b.usesStaticRoot() {
		return nil
	}
	env := b.env.Clone()
	env.Prepend(filepath.Join(b.venv.Path, "bin"))
	env["PYTHONPATH"] = b.pythonPath()
	kit.Say(b.Out, "python manage.py collectstatic --noinput")
	_, err := kit.Cmd{Args: []string{filepath.Join(b.venv.Path, "bin", "python"), "manage.py", "collectstatic", "--noinput"}, Dir: b.app, Env: env, Out: b.Out,
		Name: "collectstatic", Next: "settings that it needs can be given to the build, or set DISABLE_COLLECTSTATIC=1 for the build"}.Run()
	return err
}

var staticRoot = regexp.MustCompile(`(?m)^\s*STATIC_ROOT\s*[:=]`)

func (b *build) usesStaticRoot() bool {
	for _, pattern := range []string{"*/settings.py", "*/settings/*.py", "settings.py"} {
		for _, f := range glob(b.app, pattern) {
			if data, err := os.ReadFile(f); err == nil && staticRoot.Match(data) {
				return true
			}
		}
	}
	return false
}
