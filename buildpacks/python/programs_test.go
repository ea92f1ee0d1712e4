package python

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestRunners: what follows "poetry run" is run, and scripts of Pipfile by their names.
func TestRunners(t *testing.T) {
	app := bptest.Tree(t, map[string]string{"Procfile": "web: pipenv run serve 1\nworker: poetry run echo\n", "Pipfile": "[scripts]\nserve = 'echo served'\n"})
	venv := t.TempDir()
	if err := os.Mkdir(filepath.Join(venv, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := &kit.Layer{}
	l.Path = venv
	if err := (&build{app: app, venv: l}).addRunners(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, want string }{{"pipenv run serve 1", "served 1\n"}, {"pipenv run echo a b", "a b\n"}, {"poetry --quiet run echo x", "x\n"}, {"poetry install", ""}} {
		words := strings.Fields(tt.args)
		if got, err := exec.Command(filepath.Join(venv, "bin", words[0]), words[1:]...).Output(); err != nil || string(got) != tt.want {
			t.Errorf("%s: %q %v, want %q", tt.args, got, err, tt.want)
		}
	}
	if kit.Exists(venv, "bin/pdm") {
		t.Error("pdm is there, and nothing names it")
	}
}

func TestWarnings(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a fixed port", map[string]string{"Procfile": "web: python app.py\n", "app.py": "app.run(port=5000)\n"}, "app.py listens at port 5000"},
		{"loopback", map[string]string{"Procfile": "web: python app.py\n", "app.py": "uvicorn.run(app, host=\"127.0.0.1\")\n"}, "app.py listens on 127.0.0.1"},
		{"the variable", map[string]string{"Procfile": "web: python app.py\n", "app.py": "app.run(port=os.environ['PORT'])\n"}, ""},
		{"no hosts", map[string]string{"manage.py": "", "shop/settings.py": "ALLOWED_HOSTS = []\n"}, "ALLOWED_HOSTS names no host"},
		{"hosts", map[string]string{"manage.py": "", "shop/settings.py": "ALLOWED_HOSTS = ['*']\n"}, ""},
	} {
		out := &bytes.Buffer{}
		b := &build{Buildpack: Buildpack{Out: out}, app: bptest.Tree(t, tt.files)}
		b.warnAddress()
		b.warnHosts()
		if got := out.String(); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestMissingVariable(t *testing.T) {
	for said, want := range map[string]string{"KeyError: 'SECRET_KEY'": "SECRET_KEY", "decouple.UndefinedValueError: DB_NAME not found. Declare it as envvar": "DB_NAME",
		"ImproperlyConfigured: Set the DATABASE_URL environment variable": "DATABASE_URL", "The SECRET_KEY setting must not be empty": "SECRET_KEY", "KeyError: 'name'": ""} {
		if got := firstOf(missingVariable.FindStringSubmatch(said)); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}

// TestNotForPip: lists of packages that nothing here reads are named.
func TestNotForPip(t *testing.T) {
	for file, want := range map[string]string{"environment.yml": "environment.yml lists packages of conda", "requirments.txt": "requirments.txt is not a name", "notes.txt": ""} {
		_, err := findSource(bptest.Tree(t, map[string]string{file: "x", "app.py": ""}))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(kit.Line(err), want)) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
