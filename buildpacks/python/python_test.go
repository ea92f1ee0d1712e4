package python

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

func TestDetect(t *testing.T) {
	tests := []struct {
		name   string
		files  map[string]string
		passed bool
		out    string
		err    string
	}{
		{"requirements", map[string]string{"requirements.txt": "flask\n", ".python-version": "3.11\n"}, true, "Python (requirements.txt, python 3.11)", ""},
		{"runtime.txt", map[string]string{"requirements.txt": "flask\n", "runtime.txt": "python-3.12.1\n"}, true, "Python (requirements.txt, python 3.12.1)", ""},
		{"any patch", map[string]string{"requirements.txt": "flask\n", "runtime.txt": "python-3.12.x\n"}, true, "Python (requirements.txt, python 3.12)", ""},
		{"uv", map[string]string{"uv.lock": "", "pyproject.toml": "[project]\nname='a'\nrequires-python='>=3.9'\n"}, true, "Python (uv.lock, python >=3.9)", ""},
		{"pyproject", map[string]string{"pyproject.toml": "[project]\nname='a'\n"}, true, "Python (pyproject.toml, any python)", ""},
		{"pyproject of tools", map[string]string{"pyproject.toml": "[tool.ruff]\n"}, false, looksFor, ""},
		{"pipenv", map[string]string{"Pipfile.lock": `{"_meta":{"requires":{"python_version":"3.11"}}}`}, true, "Python (Pipfile.lock, python 3.11)", ""},
		{"nothing", map[string]string{"a.py": ""}, false, looksFor, ""},
		{"malformed", map[string]string{"pyproject.toml": "[project]\nname=\n"}, false, "", "pyproject.toml is not valid TOML, line 2: expected value but found '\\n' instead; correct it and push again"},
		{"bad version", map[string]string{"requirements.txt": "", ".python-version": "three\n"}, false, "", `.python-version asks for Python "three", which is not a version; write a version such as 3.11, or a range such as >=3.11`},
		{"other Python", map[string]string{"requirements.txt": "", ".python-version": "pypy3.10-7.3.15\n"}, false, "", `.python-version asks for pypy3.10-7.3.15, and only CPython is available; name a version of CPython, such as 3.11`},
		{"range", map[string]string{"requirements.txt": "", ".python-version": ">= 3.10\n"}, true, "Python (requirements.txt, python >= 3.10)", ""},
		{"comment first", map[string]string{"requirements.txt": "", ".python-version": "# the version of production\n\n3.11 # here\n"}, true, "Python (requirements.txt, python 3.11)", ""},
		{"several, the first that is CPython", map[string]string{"requirements.txt": "", ".python-version": "pypy3.10\n3.11.4\n"}, true, "Python (requirements.txt, python 3.11.4)", ""},
		{"byte order mark", map[string]string{"requirements.txt": "", ".python-version": "\ufeff3.11\r\n"}, true, "Python (requirements.txt, python 3.11)", ""},
		{"UTF-16", map[string]string{"requirements.txt": "", ".python-version": "\xff\xfe3\x00.\x001\x001\x00"}, true, "Python (requirements.txt, python 3.11)", ""},
		{"asdf", map[string]string{"requirements.txt": "", ".tool-versions": "nodejs 20.1.0\npython 3.11.4 3.9\n"}, true, "Python (requirements.txt, python 3.11.4)", ""},
		{"mise", map[string]string{"requirements.txt": "", "mise.toml": "[tools]\nnode = '20'\npython = ['3.11', '3.9']\n"}, true, "Python (requirements.txt, python 3.11)", ""},
		{"poetry", map[string]string{"pyproject.toml": "[tool.poetry.dependencies]\npython = '^3.10'\n"}, true, "Python (pyproject.toml, python ^3.10)", ""},
		{"Procfile alone", map[string]string{"Procfile": "web: python -u serve.py\n", "serve.py": ""}, true, "Python (serve.py, any python)", ""},
		{"a program alone", map[string]string{"server.py": ""}, true, "Python (server.py, any python)", ""},
		{"a script that says what it needs", map[string]string{"shop.py": "#!/usr/bin/env -S uv run\n# /// script\n# requires-python = '>=3.12'\n# dependencies = ['flask']\n# ///\n"}, true, "Python (shop.py, python >=3.12)", ""},
		{"the only program, of any name", map[string]string{"hello.py": "from flask import Flask\nsite = Flask(__name__)\n", "lib.py": ""}, true, "Python (hello.py, any python)", ""},
		{"a site with a program for it", map[string]string{"server.py": "", "index.html": ""}, false, looksFor, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := &bytes.Buffer{}
			passed, err := bptest.New(t, catalog.Python).Detect(Buildpack{Out: out}, tt.files)
			got, msg := strings.TrimSpace(out.String()), ""
			got = strings.TrimPrefix(strings.TrimPrefix(got, "gitd-detect: "), "gitd-looked-for: ")
			if err != nil {
				msg = kit.Line(err)
			}
			if passed != tt.passed || got != tt.out || msg != tt.err {
				t.Errorf("got %v %q %q, want %v %q %q", passed, got, msg, tt.passed, tt.out, tt.err)
			}
		})
	}
}

func TestSpecifier(t *testing.T) {
	tests := []struct {
		spec    string
		yes, no string
	}{
		{">=3.9", "3.9.0 3.11.2", "3.8.9"},
		{">=3.9,<3.12", "3.11.2", "3.12.0 3.13.1"},
		{"~=3.11", "3.11.2 3.12.0", "3.10.1 4.0.0"},
		{"~=3.11.1", "3.11.2", "3.11.0 3.12.0"},
		{"==3.11.*", "3.11.2", "3.12.0"},
		{"==3.11", "3.11.2", "3.12.0"},
		{"!=3.11.2", "3.11.3", "3.11.2"},
		{"^3.10", "3.11.0", "4.0.0 3.9.0"},
		{">3.10, <=3.11.2", "3.11.2", "3.10.0 3.11.3"},
		{"", "3.11.2", ""},
	}
	for _, tt := range tests {
		ok, err := parseSpecifier(tt.spec)
		if err != nil {
			t.Errorf("%q: %v", tt.spec, err)
			continue
		}
		for _, v := range strings.Fields(tt.yes) {
			if !ok(v) {
				t.Errorf("%q refuses %s", tt.spec, v)
			}
		}
		for _, v := range strings.Fields(tt.no) {
			if ok(v) {
				t.Errorf("%q allows %s", tt.spec, v)
			}
		}
	}
	for _, bad := range []string{">=x", "three", "=="} {
		if _, err := parseSpecifier(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestStart(t *testing.T) {
	const uvicorn = "/bin/sh|-c|exec uvicorn "
	const gunicorn = "gunicorn|--worker-tmp-dir|/tmp|--threads|8|--error-logfile|-|"
	tests := []struct {
		name  string
		files map[string]string
		names string
		want  string
	}{
		{"flask", map[string]string{"app.py": "app = Flask(__name__)\n"}, "flask gunicorn", gunicorn + "app:app"},
		{"factory", map[string]string{"wsgi.py": "def create_app(config=None):\n    pass\n"}, "flask gunicorn", gunicorn + "wsgi:create_app()"},
		{"imported", map[string]string{"wsgi.py": "from shop import app\n"}, "gunicorn", gunicorn + "wsgi:app"},
		{"in a folder", map[string]string{"app/main.py": "application: App = make()\n"}, "gunicorn", gunicorn + "app.main:application"},
		{"fastapi", map[string]string{"main.py": "app = FastAPI()\n"}, "fastapi uvicorn", `/bin/sh|-c|exec uvicorn main:app --host 0.0.0.0 --port "${PORT:-8080}" --timeout-graceful-shutdown 30`},
		{"django", map[string]string{"manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n", "shop/wsgi.py": "", "shop/settings.py": ""}, "django gunicorn", gunicorn + "shop.wsgi:application"},
		{"django settings in a package", map[string]string{"manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', \"shop.settings.production\")\n", "shop/wsgi.py": ""}, "django gunicorn", gunicorn + "shop.wsgi:application"},
		{"script", map[string]string{"main.py": "print('hello')\n"}, "", "python|main.py"},
		{"Flask beside a package that brings Starlette", map[string]string{"app.py": "from flask import Flask\napp = Flask(__name__)\n"}, "flask gunicorn mcp starlette uvicorn", gunicorn + "app:app"},
		{"imported from a module that is FastAPI", map[string]string{"main.py": "from shop import app\n", "shop.py": "from fastapi import FastAPI\napp = FastAPI()\n"}, "fastapi uvicorn gunicorn", uvicorn + `main:app --host 0.0.0.0 --port "${PORT:-8080}" --timeout-graceful-shutdown 30`},
		{"factory of FastAPI", map[string]string{"main.py": "from fastapi import FastAPI\ndef create_app() -> FastAPI:\n    return FastAPI()\n"}, "fastapi uvicorn", uvicorn + `main:create_app --factory --host 0.0.0.0 --port "${PORT:-8080}" --timeout-graceful-shutdown 30`},
		{"Litestar", map[string]string{"app.py": "from litestar import Litestar\napp = Litestar([index])\n"}, "litestar uvicorn", uvicorn + `app:app --host 0.0.0.0 --port "${PORT:-8080}" --timeout-graceful-shutdown 30`},
		{"aiohttp", map[string]string{"app.py": "from aiohttp import web\napp = web.Application()\nif __name__ == '__main__':\n    web.run_app(app)\n"}, "aiohttp", "python|app.py"},
		{"Tornado", map[string]string{"server.py": "import tornado.web\napp = tornado.web.Application([])\n"}, "tornado", "python|server.py"},
		{"Dash", map[string]string{"app.py": "from dash import Dash\napp = Dash(__name__)\n"}, "dash flask gunicorn", gunicorn + `pkgutil:resolve_name("app:app.server")`},
		{"FastHTML", map[string]string{"main.py": "from fasthtml.common import *\napp, rt = fast_app()\n"}, "python-fasthtml uvicorn", uvicorn + `main:app --host 0.0.0.0 --port "${PORT:-8080}" --timeout-graceful-shutdown 30`},
		{"bare WSGI", map[string]string{"wsgi.py": "def application(environ, start_response):\n    pass\n"}, "gunicorn", gunicorn + "wsgi:application"},
		{"bare ASGI", map[string]string{"app.py": "async def app(scope, receive, send):\n    pass\n"}, "uvicorn", uvicorn + `app:app --host 0.0.0.0 --port "${PORT:-8080}" --timeout-graceful-shutdown 30`},
		{"Streamlit", map[string]string{"app.py": "import streamlit as st\nst.write('x')\n"}, "streamlit", `/bin/sh|-c|exec streamlit run app.py --server.address 0.0.0.0 --server.port "${PORT:-8080}" --server.headless true --browser.gatherUsageStats false`},
		{"Gradio", map[string]string{"app.py": "import gradio as gr\napp = gr.Blocks()\napp.launch()\n"}, "gradio fastapi starlette uvicorn", `/bin/sh|-c|GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT="${PORT:-8080}" exec python app.py`},
		{"Django with channels", map[string]string{"manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n", "shop/wsgi.py": "", "shop/asgi.py": ""}, "django channels daphne", `/bin/sh|-c|exec daphne -b 0.0.0.0 -p "${PORT:-8080}" shop.asgi:application`},
		{"waitress", map[string]string{"app.py": "app = Flask(__name__)\n"}, "flask waitress", `/bin/sh|-c|exec waitress-serve --listen="0.0.0.0:${PORT:-8080}" app:app`},
		{"the only file that is run", map[string]string{"bot_web.py": "if __name__ == '__main__':\n    serve()\n", "lib.py": ""}, "", "python|bot_web.py"},
		{"the factory of a package", map[string]string{"flaskr/__init__.py": "from flask import Flask\n\ndef create_app(test_config=None):\n    app = Flask(__name__)\n    return app\n", "flaskr/db.py": ""}, "flask gunicorn", gunicorn + "flaskr:create_app()"},
		{"Sanic with a port of its own", map[string]string{"main.py": "from sanic import Sanic\napp = Sanic('x')\nif __name__ == '__main__':\n    app.run(port=8000)\n"}, "sanic", `/bin/sh|-c|exec sanic main:app --host 0.0.0.0 --port "${PORT:-8080}"`},
		{"procfile", map[string]string{"Procfile": "web: x\n", "app.py": "app = 1\n"}, "gunicorn", ""},
		{"the program of a worker", map[string]string{"Procfile": "worker: python3 -u bot.py\n", "bot.py": "if __name__ == '__main__':\n    tick()\n"}, "", ""},
		{"worker only", map[string]string{"Procfile": "worker: x\n"}, "", ""},
		{"marimo", map[string]string{"app.py": "import marimo\napp = marimo.App()\n"}, "marimo starlette uvicorn", `/bin/sh|-c|exec marimo run app.py --headless --no-token --host 0.0.0.0 --port "${PORT:-8080}"`},
		{"nothing", map[string]string{"lib.py": ""}, "", "error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := bptest.New(t, catalog.Python)
			if _, err := r.Detect(Buildpack{Out: &bytes.Buffer{}}, tt.files); err != nil {
				t.Fatal(err)
			}
			b := &build{app: r.App}
			for _, n := range strings.Fields(tt.names) {
				b.names = append(b.names, n+"==1")
			}
			p, err := b.start()
			got := ""
			if p != nil {
				got = strings.Join(append([]string{p.Command}, p.Arguments...), "|")
			}
			if err != nil {
				got = "error"
			}
			if got != tt.want {
				t.Errorf("start %q, want %q (%v)", got, tt.want, err)
			}
		})
	}
}

var packageDir = func() string { d, _ := os.Getwd(); return d }()

// TestBuildExample: the Flask example is installed and answers from a read-only tree; the second build installs nothing.
func TestBuildExample(t *testing.T) {
	out := &bytes.Buffer{}
	b := pack(t, out)
	r := bptest.New(t, catalog.Python)
	example := filepath.Join(packageDir, "../../examples/python")
	built, err := r.BuildDir(b, example)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	web := built.Processes["web"]
	if web.Command != "gunicorn" || !web.Direct || !web.Default {
		t.Errorf("web is %+v", web)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	get := bptest.Serve(t, r, exec.Command(filepath.Join(r.Layers, "venv/bin/gunicorn"), web.Arguments...), port)
	if got := get("/"); got != "hello from Python, v1\n" {
		t.Errorf("the app says %q", got)
	}
	pyc, err := filepath.Glob(filepath.Join(r.Layers, "venv/lib/python*/site-packages/flask/__pycache__/app.*.pyc"))
	if err != nil || len(pyc) != 1 {
		t.Fatalf("byte code: %v %v", pyc, err)
	}
	// The flags after the magic number: 1 stands for code that goes by a digest, without the 2 for checking it.
	if code, err := os.ReadFile(pyc[0]); err != nil || len(code) < 8 || code[4] != 1 {
		t.Errorf("byte code is checked against the source's date: % x %v", code[:8], err)
	}
	if sbom, err := os.ReadFile(filepath.Join(r.Layers, "venv.sbom.cdx.json")); err != nil || !bytes.Contains(sbom, []byte("pkg:pypi/flask@3.1.0")) {
		t.Errorf("bill of materials: %s %v", sbom, err)
	}
	first, err := os.ReadFile(filepath.Join(r.Layers, "venv.sbom.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if _, err := r.BuildDir(b, example); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !r.Reused("venv") || !strings.Contains(out.String(), "Using cached dependencies") || strings.Contains(out.String(), "pip install") {
		t.Errorf("not reused:\n%s", out)
	}
	if again, err := os.ReadFile(filepath.Join(r.Layers, "venv.sbom.cdx.json")); err != nil || !bytes.Equal(first, again) {
		t.Errorf("the bill of materials of a reused layer differs: %s %v", again, err)
	}
}

// TestInstallFails: what cannot be installed is named, with what to do.
func TestInstallFails(t *testing.T) {
	for _, tt := range []struct{ name, requirements, want string }{
		{"no requirement", "flask===none===\n", "invalid requirement in requirements.txt: flask===none=== (expected version to start with a number, but no leading ASCII digits were found); correct it and push again"},
		{"a version that does not exist", "itsdangerous==99\n", "uv pip install failed (exit status 1): the package registry has no itsdangerous==99 for Python " + minor(thisPython(t)) + "; check its version"},
		{"contradiction", "flask==3.1.0\nwerkzeug==1.0\n", "uv pip install failed (exit status 1): the requirements contradict one another: flask==3.1.0 depends on werkzeug>=3.1 and you require flask==3.1.0; change the versions that the lines above name"},
		{"for macOS alone", "mlx-metal==0.29.1\n", "uv pip install failed (exit status 1): mlx-metal==0.29.1 has no wheel for Linux (there is one for macosx_13_0_arm64, macosx_14_0_arm64, macosx_15_0_arm64); take it out of the requirements, or add: ; sys_platform == 'win32' (or 'darwin')"},
		{"a merge that was not finished", "<<<<<<< HEAD\nflask\n", "requirements.txt: Unexpected '<', expected '-c', '-e', '-r' or the start of a requirement: requirements.txt:1:1; it looks like a conflict of a merge: resolve it, commit and push again"},
		{"a file of conda's", "numpy @ file:///C:/ci/numpy\n", "uv pip install failed (exit status 1): the requirements name a file that was not pushed: /C:/ci/numpy; name the package and its version instead, such as numpy==2.1.0; pip list --format=freeze writes such lines"},
		{"a file that is missing", "-r other.txt\n", "uv pip install failed (exit status 2): the requirements include other.txt, which was not pushed; commit it, or take the line out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := buildError(t, map[string]string{"requirements.txt": tt.requirements, "app.py": "app = 1\n"}); err == nil || kit.Line(err) != tt.want {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func utf16le(s string) string {
	out := []byte{0xff, 0xfe}
	for _, c := range s {
		out = append(out, byte(c), byte(c>>8))
	}
	return string(out)
}

// TestRegistryDown: it is asked several times, and named.
func TestRegistryDown(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer s.Close()
	out := &bytes.Buffer{}
	r := bptest.New(t, catalog.Python)
	r.Env["PIP_INDEX_URL"], r.Env["PIP_RETRIES"] = s.URL+"/simple", "1"
	_, err := r.Build(pack(t, out), map[string]string{"requirements.txt": "flask\n"})
	host := strings.TrimPrefix(s.URL, "http://")
	if want := "uv pip install failed (exit status 2): the package registry " + host + " answers 503 Service Unavailable, after several tries; push again when it is back"; err == nil || kit.Line(err) != want {
		t.Errorf("got %v\nwant %s\n%s", err, want, out)
	}
	if asked < 2 {
		t.Errorf("asked %d times", asked)
	}
}

// TestKey: whatever decides on what is installed changes the key, and a branch has none.
func TestKey(t *testing.T) {
	base := map[string]string{"requirements.txt": "-r deps/base.txt\n-c pins.lock\n", "deps/base.txt": "flask\n-r more.in # and these\n", "deps/more.in": "click\n", "pins.lock": "flask==3.0.3\n", "app.py": "app = Flask(__name__)\n"}
	keys := func(change map[string]string, env kit.Env) (before, after string) {
		r := bptest.New(t, catalog.Python)
		r.App = t.TempDir()
		write := func(m map[string]string) {
			for f, text := range m {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(r.App, f)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(r.App, f), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		take := func(env kit.Env) string {
			s, err := findSource(r.App)
			if err != nil {
				t.Fatal(err)
			}
			b := &build{app: r.App, env: env, source: s, version: "3.11.2", venv: &kit.Layer{}}
			k, err := b.key()
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		write(base)
		before = take(kit.Env{})
		write(change)
		return before, take(env)
	}
	for name, tt := range map[string]struct {
		change map[string]string
		env    kit.Env
		same   bool
	}{
		"nothing":                 {nil, kit.Env{}, true},
		"code":                    {map[string]string{"app.py": "app = Flask('x')\n"}, kit.Env{}, true},
		"an included file":        {map[string]string{"deps/base.txt": "flask\nhumanize\n"}, kit.Env{}, false},
		"one that it includes":    {map[string]string{"deps/more.in": "click==8\n"}, kit.Env{}, false},
		"a constraint":            {map[string]string{"pins.lock": "flask==3.0.2\n"}, kit.Env{}, false},
		"the index":               {nil, kit.Env{"PIP_INDEX_URL": "https://other.example/simple"}, false},
		"a variable of the cache": {nil, kit.Env{"PIP_CACHE_DIR": "/elsewhere"}, true},
		"another server":          {map[string]string{"app.py": "from fastapi import FastAPI\napp = FastAPI()\n"}, kit.Env{}, false},
	} {
		if before, after := keys(tt.change, tt.env); (before == after) != tt.same {
			t.Errorf("%s: the same key %v, want %v", name, before == after, tt.same)
		}
	}
	for line, moves := range map[string]bool{"git+https://example.com/a.git@main": true, "a @ git+https://example.com/a.git": true,
		"a @ git+https://example.com/a.git@0123456789abcdef0123456789abcdef01234567": false, "a==1": false} {
		if _, after := keys(map[string]string{"requirements.txt": line + "\n"}, kit.Env{}); (after == "") != moves {
			t.Errorf("%s: never reused %v, want %v", line, after == "", moves)
		}
	}
	if _, after := keys(map[string]string{"deps/more.in": "-r base.txt\n"}, kit.Env{}); after == "" { // a circle
		t.Error("no key")
	}
}

// TestBuildKinds: kinds of apps that people write, with real packages. Each says what a program of its environment prints.
func TestBuildKinds(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		run   []string // below the environment's bin
		want  string
		said  string
	}{
		{"the app is a package with a program", map[string]string{
			"pyproject.toml":       "[project]\nname = 'shop'\nversion = '1.4.0'\ndependencies = ['itsdangerous==2.2.0']\n[project.scripts]\nshop-server = 'shop.main:main'\n[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n",
			"src/shop/__init__.py": "", "src/shop/main.py": "from importlib.metadata import version\ndef main():\n    print('shop', version('shop'))\n", "Procfile": "web: shop-server\n",
		}, []string{"shop-server"}, "shop 1.4.0\n", "--editable . (the app's own package)"},
		{"dependencies that setuptools reads from a file", map[string]string{
			"pyproject.toml":  "[build-system]\nrequires = ['setuptools>=69']\nbuild-backend = 'setuptools.build_meta'\n[project]\nname = 'dyn'\nversion = '0.1'\ndynamic = ['dependencies']\n[tool.setuptools]\npy-modules = ['main']\n[tool.setuptools.dynamic]\ndependencies = { file = ['requirements.in'] }\n",
			"requirements.in": "itsdangerous==2.2.0\n", "main.py": "def app(environ, start_response):\n    pass\n",
		}, []string{"python", "-c", "from importlib.metadata import version; print(version('itsdangerous'), version('dyn'))"}, "2.2.0 0.1\n", "its dependencies are dynamic"},
		{"PowerShell's encoding, and lines that only pip knows", map[string]string{
			"requirements.txt": utf16le("itsdangerous==2.2.0\r\n--use-feature=fast-deps\r\n-r more.txt\r\n"), "more.txt": "\ufeffsix==1.17.0\r\n", "main.py": "def app(environ, start_response):\n    pass\n",
		}, []string{"python", "-c", "import itsdangerous, six; print('ok')"}, "ok\n", "uv pip install -r requirements.txt"},
		{"poetry.lock", map[string]string{
			"pyproject.toml": "[tool.poetry]\nname = 'shop'\nversion = '1'\n[tool.poetry.dependencies]\npython = '^3.9'\nsix = '^1.17'\n", "main.py": "def app(environ, start_response):\n    pass\n",
			"poetry.lock": "[[package]]\nname = \"six\"\nversion = \"1.17.0\"\ngroups = [\"main\"]\nfiles = [{file = \"six-1.17.0-py2.py3-none-any.whl\", hash = \"sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\"}]\n",
		}, []string{"python", "-c", "import six; print(six.__version__)"}, "1.17.0\n", "uv pip install (poetry.lock)"},
		{"Poetry without a lock file", map[string]string{
			"pyproject.toml": "[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython = '^3.9'\nsix = '~1.17.0'\n", "main.py": "def app(environ, start_response):\n    pass\n",
		}, []string{"python", "-c", "import six; print(six.__version__)"}, "1.17.0\n", "uv pip install (dependencies of pyproject.toml)"},
		{"Pipfile alone", map[string]string{
			"Pipfile": "[packages]\nsix = '==1.17.0'\n[dev-packages]\npytest = '*'\n", "main.py": "def app(environ, start_response):\n    pass\n",
		}, []string{"python", "-c", "import six; print(six.__version__)"}, "1.17.0\n", "Warning: there is no Pipfile.lock"},
		{"a package that wants pkg_resources", map[string]string{
			"requirements.txt": "gunicorn==20.0.4\n", "main.py": "def app(environ, start_response):\n    pass\n",
		}, []string{"python", "-W", "ignore", "-c", "import gunicorn.util; print('ok')"}, "ok\n", "setuptools<81 (for pkg_resources)"},
		{"a server that the Procfile alone names", map[string]string{
			"requirements.txt": "six==1.17.0\n", "main.py": "def app(environ, start_response):\n    pass\n", "Procfile": "web: FOO=1 waitress-serve --listen=*:$PORT main:app\n",
		}, []string{"python", "-c", "import waitress; print('ok')"}, "ok\n", "uv pip install waitress (the Procfile starts it, and requirements.txt does not list it)"},
		{"a build system that refuses is a warning", map[string]string{
			"pyproject.toml":  "[build-system]\nrequires = ['setuptools>=69']\nbuild-backend = 'setuptools.build_meta'\n[project]\nname = 'flat'\nversion = '0.1'\n",
			"one/__init__.py": "", "two/__init__.py": "", "main.py": "def app(environ, start_response):\n    pass\n",
		}, []string{"python", "-c", "print('ok')"}, "ok\n", "Warning: the app's own package flat cannot be installed"},
		{"Django without a STATIC_ROOT in force", map[string]string{
			"requirements.txt": "django<5\n", "manage.py": "import os, sys\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\nfrom django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n",
			"shop/__init__.py": "", "shop/settings.py": "import os\nSECRET_KEY = 'x'\nINSTALLED_APPS = ['django.contrib.staticfiles']\nSTATIC_URL = '/static/'\nSTATICFILES_DIRS = ['assets']\nif 'PRODUCTION' in os.environ:\n    STATIC_ROOT = '/tmp/static'\n",
			"assets/x.css": "p{}", "shop/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
		}, []string{"python", "-c", "print('ok')"}, "ok\n", "Warning: STATIC_ROOT is not set"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := &bytes.Buffer{}
			r := bptest.New(t, catalog.Python)
			if _, err := r.Build(pack(t, out), tt.files); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !strings.Contains(out.String(), tt.said) {
				t.Errorf("%q is not said:\n%s", tt.said, out)
			}
			c := exec.Command(filepath.Join(r.Layers, "venv/bin", tt.run[0]), tt.run[1:]...)
			c.Dir = r.App
			got, err := c.CombinedOutput()
			if err != nil || string(got) != tt.want {
				t.Errorf("%v: %q %v, want %q", tt.run, got, err, tt.want)
			}
		})
	}
}
