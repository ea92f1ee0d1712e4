package python

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"os"
	"path/filepath"
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

// djangoApp finds the project's WSGI module by the settings that manage.py names; its ASGI module, where channels or a server for ASGI is
// installed and gunicorn is not.
func (b *build) djangoApp() appObject {
	async := !b.has("gunicorn") && slices.ContainsFunc([]string{"channels", "daphne", "uvicorn", "hypercorn"}, b.has)
	module := func(pkg string) appObject {
		dir := strings.ReplaceAll(pkg, ".", "/")
		if async && kit.IsFile(b.app, dir, "asgi.py") {
			return appObject{name: pkg + ".asgi:application", protocol: asgi}
		}
		if kit.IsFile(b.app, dir, "wsgi.py") {
			return appObject{name: pkg + ".wsgi:application", protocol: wsgi}
		}
		return appObject{}
	}
	m := djangoSettings.FindStringSubmatch(kit.Text(b.app, "manage.py"))
	if m != nil {
		for pkg := m[1]; pkg != ""; {
			i := strings.LastIndex(pkg, ".")
			pkg = pkg[:max(i, 0)]
			if o := module(pkg); pkg != "" && o.name != "" {
				return o
			}
		}
	}
	if found := glob(b.app, "*/wsgi.py"); len(found) == 1 {
		return module(filepath.Base(filepath.Dir(found[0])))
	}
	return appObject{}
}

var djangoSettings = pattern.New(`DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']`)

// start finds out how the app starts. It is nil for an app whose Procfile says so itself.
func (b *build) start() (*libcnb.Process, error) {
	if b.procfileWeb() {
		return nil, nil
	}
	if p := b.streamlit(); p != nil {
		return p, nil
	}
	o := b.object()
	if p := b.serve(o); p != nil {
		return p, nil
	}
	procs, _ := procfile.Read(b.app)
	if len(procs) > 0 && strings.HasSuffix(b.source.kind, ".py") {
		return nil, nil // found by its Procfile, which says what runs
	}
	files := []string{"main.py", "app.py", "server.py", "run.py", "__main__.py"}
	if o.protocol == own {
		files = []string{o.file}
	}
	for _, f := range files {
		if kit.IsFile(b.app, f) {
			return b.run(f), nil
		}
	}
	if p := b.script(); p != nil {
		return p, nil
	}
	if len(procs) > 0 {
		return nil, nil
	}
	return nil, kit.Errorf("add a Procfile with a line such as web: gunicorn app:app",
		"nothing says how the app starts: no Procfile, and no app object in app.py, main.py or wsgi.py")
}

// serve is the server for an app object, of those that are installed; nil where there is none.
func (b *build) serve(o appObject) *libcnb.Process {
	name, factory := strings.CutSuffix(o.name, "()")
	option := func(flag string) string {
		if factory {
			return flag
		}
		return ""
	}
	switch {
	case o.name == "":
	case o.protocol == asgi && b.has("uvicorn"):
		return shell("exec uvicorn " + name + option(" --factory") + ` --host 0.0.0.0 --port "${PORT:-8080}" --timeout-graceful-shutdown 30`)
	case o.protocol == asgi && b.has("hypercorn"):
		return shell("exec hypercorn " + o.name + ` --bind "0.0.0.0:${PORT:-8080}"`)
	case o.protocol == asgi && b.has("daphne") && !factory:
		return shell(`exec daphne -b 0.0.0.0 -p "${PORT:-8080}" ` + name)
	case o.protocol != own && b.has("granian") && !b.has("gunicorn"):
		return shell("exec granian --interface " + string(o.protocol) + option(" --factory") + ` --host 0.0.0.0 --port "${PORT:-8080}" ` + name)
	case o.protocol == wsgi && b.has("waitress") && !b.has("gunicorn"):
		return shell("exec waitress-serve" + option(" --call") + ` --listen="0.0.0.0:${PORT:-8080}" ` + name)
	case o.protocol == wsgi && b.has("gunicorn"):
		// It listens on $PORT and takes the number of workers from WEB_CONCURRENCY by itself. Its heartbeat files are in /tmp,
		// the one place that can be written, and in memory.
		return &libcnb.Process{Type: "web", Command: "gunicorn", Arguments: []string{"--worker-tmp-dir", "/tmp", "--threads", "8", "--error-logfile", "-", o.name}, Direct: true}
	}
	return nil
}

// streamlit serves an app of Streamlit's, which its own program runs.
func (b *build) streamlit() *libcnb.Process {
	if !b.has("streamlit") {
		return nil
	}
	for _, f := range []string{"streamlit_app.py", "app.py", "main.py", "Home.py", "home.py", "src/streamlit_app.py", "src/app.py", "src/main.py"} {
		if streamlitImport.MatchString(kit.Text(b.app, f)) {
			return shell("exec streamlit run " + f + ` --server.address 0.0.0.0 --server.port "${PORT:-8080}" --server.headless true --browser.gatherUsageStats false`)
		}
	}
	return nil
}

var streamlitImport = pattern.New(`(?m)^\s*(?:import|from)\s+streamlit\b`)

// script runs the only file at the root that has a block for being run.
func (b *build) script() *libcnb.Process {
	var found []string
	for _, path := range glob(b.app, "*.py") {
		f := filepath.Base(path)
		if f != "setup.py" && f != "manage.py" && f != "conftest.py" && !strings.HasPrefix(f, "test_") && mainBlock.MatchString(kit.Text(path)) {
			found = append(found, f)
		}
	}
	if len(found) != 1 {
		return nil
	}
	return b.run(found[0])
}

// run runs a program. Gradio has its address from the environment alone.
func (b *build) run(file string) *libcnb.Process {
	if b.has("gradio") {
		return shell(`GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT="${PORT:-8080}" exec python ` + file)
	}
	return &libcnb.Process{Type: "web", Command: "python", Arguments: []string{file}, Direct: true}
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
	said, err := kit.Cmd{Args: []string{filepath.Join(b.venv.Path, "bin", "python"), "manage.py", "collectstatic", "--noinput"}, Dir: b.app, Env: env, Out: b.Out,
		Name: "collectstatic", Next: "settings that it needs can be given to the build, or set DISABLE_COLLECTSTATIC=1 for the build"}.Run()
	if err != nil && strings.Contains(said, "without having set the STATIC_ROOT") {
		kit.Say(b.Out, "Warning: STATIC_ROOT is not set in the settings that the build sees, so static files are not collected")
		return nil
	}
	return err
}

var staticRoot = pattern.New(`(?m)^\s*STATIC_ROOT\s*[:=]`)

func (b *build) usesStaticRoot() bool {
	for _, pattern := range []string{"*/settings.py", "*/settings/*.py", "settings.py"} {
		for _, f := range glob(b.app, pattern) {
			if data, err := os.ReadFile(f); err == nil && staticRoot.MatchString(string(data)) {
				return true
			}
		}
	}
	return false
}
