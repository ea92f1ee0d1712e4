package python

import (
	"bytes"
	"net"
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
		{"uv", map[string]string{"uv.lock": "", "pyproject.toml": "[project]\nname='a'\nrequires-python='>=3.9'\n"}, true, "Python (uv.lock, python >=3.9)", ""},
		{"pyproject", map[string]string{"pyproject.toml": "[project]\nname='a'\n"}, true, "Python (pyproject.toml, any python)", ""},
		{"pyproject of tools", map[string]string{"pyproject.toml": "[tool.ruff]\n"}, false, looksFor, ""},
		{"pipenv", map[string]string{"Pipfile.lock": `{"_meta":{"requires":{"python_version":"3.11"}}}`}, true, "Python (Pipfile.lock, python 3.11)", ""},
		{"nothing", map[string]string{"a.py": ""}, false, looksFor, ""},
		{"malformed", map[string]string{"pyproject.toml": "[project]\nname=\n"}, false, "", "pyproject.toml is not valid TOML, line 2: expected value but found '\\n' instead; correct it and push again"},
		{"bad version", map[string]string{"requirements.txt": "", ".python-version": "pypy\n"}, false, "", `.python-version asks for Python "pypy", which is not a version; write a version such as 3.11`},
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
		{"procfile", map[string]string{"Procfile": "web: x\n", "app.py": "app = 1\n"}, "gunicorn", ""},
		{"worker only", map[string]string{"Procfile": "worker: x\n"}, "", ""},
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

func TestPins(t *testing.T) {
	poetry := "[[package]]\nname = \"a\"\nversion = \"1\"\ngroups = [\"main\"]\nmarkers = \"python_version < '4'\"\n\n" +
		"[[package]]\nname = \"b\"\nversion = \"2\"\ngroups = [\"dev\"]\n\n[[package]]\nname = \"c\"\nversion = \"3\"\noptional = true\n"
	got, err := poetryPins(poetry)
	if want := "a==1 ; python_version < '4'"; err != nil || strings.Join(got, "|") != want {
		t.Errorf("poetry: %q %v, want %q", got, err, want)
	}
	got, err = pipfilePins(`{"default":{"b":{"version":"==2"},"a":{"version":"==1","markers":"python_version < '4'"}},"develop":{"c":{"version":"==3"}}}`)
	if want := "a==1 ; python_version < '4'|b==2"; err != nil || strings.Join(got, "|") != want {
		t.Errorf("pipenv: %q %v, want %q", got, err, want)
	}
	for _, f := range []func(string) ([]string, error){poetryPins, pipfilePins} {
		if _, err := f("{[="); err == nil {
			t.Error("a broken lock file is accepted")
		}
	}
}

var packageDir = func() string { d, _ := os.Getwd(); return d }()

// TestBuildExample: the Flask example is installed and answers from a read-only tree; the second build installs nothing.
func TestBuildExample(t *testing.T) {
	out := &bytes.Buffer{}
	b := Buildpack{Exe: catalog.PythonExe, Out: out}
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

// TestVersionNotThere: says what is asked for, where, and what there is.
func TestVersionNotThere(t *testing.T) {
	out := &bytes.Buffer{}
	r := bptest.New(t, catalog.Python)
	_, err := r.Build(Buildpack{Exe: catalog.PythonExe, Out: out}, map[string]string{"requirements.txt": "", ".python-version": "2.7.18\n"})
	if err == nil || !strings.HasPrefix(kit.Line(err), ".python-version asks for Python 2.7.18; this builder has Python 3.") {
		t.Errorf("error %v\n%s", err, out)
	}
}

// TestInstallFails: pip's own words, and that it was pip.
func TestInstallFails(t *testing.T) {
	out := &bytes.Buffer{}
	r := bptest.New(t, catalog.Python)
	_, err := r.Build(Buildpack{Exe: catalog.PythonExe, Out: out}, map[string]string{"requirements.txt": "flask===none===\n", "app.py": "app = 1\n"})
	if err == nil || kit.Line(err) != "pip install failed (exit status 1)" || !strings.Contains(out.String(), "flask===none===") {
		t.Errorf("error %v\n%s", err, out)
	}
}
