package python

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

func TestLocked(t *testing.T) {
	poetry := func(own ...string) func(string) (locked, error) {
		return func(text string) (locked, error) { return poetryLocked(text, own) }
	}
	tests := []struct {
		name string
		read func(string) (locked, error)
		lock string
		want string // the lines
		args string
	}{
		{"poetry 2", poetry(), "[[package]]\nname = \"a\"\nversion = \"1\"\ngroups = [\"main\"]\nmarkers = \"python_version < '4'\"\nfiles = [{file = \"a.whl\", hash = \"sha256:00\"}, {file = \"a.gz\", hash = \"sha256:01\"}]\n\n" +
			"[[package]]\nname = \"b\"\nversion = \"2\"\ngroups = [\"dev\"]\n\n[[package]]\nname = \"c\"\nversion = \"3\"\noptional = true\n",
			"a==1 ; python_version < '4' --hash=sha256:00 --hash=sha256:01", "--no-deps"},
		{"poetry 1: markers of those that require it", poetry("a"), "[[package]]\nname = \"a\"\nversion = \"1\"\n[package.dependencies]\npywin32 = {version = \">=1\", markers = \"sys_platform == 'win32'\"}\nb = \"*\"\n\n" +
			"[[package]]\nname = \"b\"\nversion = \"2\"\n[package.dependencies]\nPyWin32 = {version = \">=1\", markers = \"os_name == 'nt'\"}\n\n[[package]]\nname = \"pywin32\"\nversion = \"306\"\n\n[metadata.files]\na = [{file = \"a.whl\", hash = \"sha256:00\"}]\n",
			"a==1 --hash=sha256:00|b==2|pywin32==306 ; (os_name == 'nt') or (sys_platform == 'win32')", "--no-deps"},
		{"poetry: repositories, folders, addresses, another index", poetry(), "[[package]]\nname = \"a\"\nversion = \"1\"\n[package.source]\ntype = \"git\"\nurl = \"https://example.com/a.git\"\nresolved_reference = \"abc\"\nsubdirectory = \"py\"\n\n" +
			"[[package]]\nname = \"b\"\nversion = \"1\"\n[package.source]\ntype = \"directory\"\nurl = \"libs/b\"\n\n[[package]]\nname = \"c\"\nversion = \"1\"\n[package.source]\ntype = \"url\"\nurl = \"https://example.com/c.whl\"\n\n" +
			"[[package]]\nname = \"torch\"\nversion = \"2.5.1+cpu\"\n[package.source]\ntype = \"legacy\"\nurl = \"https://example.com/whl/cpu\"\nreference = \"my-cpu\"\n",
			"a @ git+https://example.com/a.git@abc#subdirectory=py|./libs/b|c @ https://example.com/c.whl|torch==2.5.1+cpu", "--no-deps --index https://me:secret@example.com/whl/cpu"},
		{"pipenv", pipfileLocked, `{"_meta":{"sources":[{"name":"pypi","url":"https://` + publicIndex + `/simple","verify_ssl":true},{"name":"own","url":"https://$TOKEN@example.com/simple/"}]},
			"default":{"b":{"version":"==2","hashes":["sha256:01"],"extras":["x"]},"a":{"version":"==1","markers":"python_version < '4'"},"g":{"git":"https://example.com/g.git","ref":"abc"},"p":{"path":"./lib"}},"develop":{"c":{"version":"==3"}}}`,
			"a==1 ; python_version < '4'|b[x]==2 --hash=sha256:01|g @ git+https://example.com/g.git@abc|./lib", "--no-deps --index https://t0ken@example.com/simple"},
		{"pdm", pdmLocked, "[[package]]\nname = \"a\"\nversion = \"1\"\ngroups = [\"default\", \"dev\"]\nmarker = \"python_version >= '3.9'\"\nfiles = [{file = \"a\", hash = \"sha256:00\"}]\n[[package]]\nname = \"u\"\nversion = \"1\"\nextras = [\"standard\"]\ngroups = [\"default\"]\n[[package]]\nname = \"t\"\nversion = \"1\"\ngroups = [\"test\"]\n",
			"a==1 ; python_version >= '3.9' --hash=sha256:00|u[standard]==1", "--no-deps"},
	}
	env := kit.Env{"TOKEN": "t0ken", "POETRY_HTTP_BASIC_MY_CPU_USERNAME": "me", "POETRY_HTTP_BASIC_MY_CPU_PASSWORD": "secret"}
	for _, tt := range tests {
		l, err := tt.read(tt.lock)
		if got := strings.Join(l.lines, "|"); err != nil || got != tt.want {
			t.Errorf("%s: %v\n got %s\nwant %s", tt.name, err, got, tt.want)
		}
		if got := strings.Join(l.arguments(env), " "); got != tt.args {
			t.Errorf("%s: arguments\n got %s\nwant %s", tt.name, got, tt.args)
		}
		if _, err := tt.read("{[="); err == nil || !strings.Contains(kit.Line(err), "commit") {
			t.Errorf("%s: a broken lock file: %v", tt.name, err)
		}
	}
}

// TestStaleLock: what the app asks for and the lock file lacks is named.
func TestStaleLock(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"poetry", map[string]string{"pyproject.toml": "[tool.poetry.dependencies]\npython = '^3.9'\nflask = '^3'\nhumanize = '*'\npywin32 = {version='*', markers=\"sys_platform=='win32'\"}\n", "poetry.lock": "[[package]]\nname = 'flask'\nversion = '3.0.0'\n"},
			"poetry.lock is not up to date with pyproject.toml: it does not have humanize; run poetry lock, commit poetry.lock and push again"},
		{"pipenv", map[string]string{"Pipfile": "[packages]\nflask = '*'\nRequests = '*'\n", "Pipfile.lock": `{"default":{"flask":{"version":"==3.0.0"}}}`},
			"Pipfile.lock is not up to date with Pipfile: it does not have requests; run pipenv lock, commit Pipfile.lock and push again"},
		{"pdm", map[string]string{"pyproject.toml": "[project]\nname='a'\ndependencies=['six','idna[x]>=3; os_name==\"nt\"']\n", "pdm.lock": ""},
			"pdm.lock is not up to date with pyproject.toml: it does not have six; run pdm lock, commit pdm.lock and push again"},
		{"uv", map[string]string{"pyproject.toml": "[project]\nname='a'\nversion='1'\nrequires-python='>=3.9'\ndependencies=['six','idna']\n",
			"uv.lock": "version = 1\nrevision = 3\nrequires-python = \">=3.9\"\n\n[[package]]\nname = \"a\"\nversion = \"1\"\nsource = { virtual = \".\" }\ndependencies = [\n    { name = \"six\" },\n]\n\n[package.metadata]\nrequires-dist = [{ name = \"six\" }]\n\n[[package]]\nname = \"six\"\nversion = \"1.17.0\"\nsource = { registry = \"https://" + publicIndex + "/simple\" }\n"},
			"uv.lock is not up to date with pyproject.toml: it does not have idna; run uv lock, commit uv.lock and push again"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := buildError(t, tt.files); err == nil || kit.Line(err) != tt.want {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestPoetryVersion(t *testing.T) {
	for v, want := range map[string]string{"^1.2": ">=1.2,<2", "^0.2.3": ">=0.2.3,<0.3", "^0.0.3": ">=0.0.3,<0.0.4", "^0": ">=0,<1", "~1.2.3": ">=1.2.3,<1.3", "~1": ">=1,<2",
		"*": "", "1.2": "==1.2", ">=1, <2": ">=1,<2", "^3.9 || ^4": "", "~=1.2": "~=1.2"} {
		if got, err := poetryVersion(v); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", v, got, err, want)
		}
	}
}

func TestDeclaredRequirements(t *testing.T) {
	pipfile := "[packages]\nflask = '*'\nrequests = {version='>=2', extras=['socks']}\nown = {git='https://example.com/own.git', ref='v1'}\nwin = {version='*', sys_platform=\"== 'win32'\"}\nlib = {path='./lib', editable=true}\n"
	got, err := pipfileRequirements(pipfile)
	if want := "flask|./lib|own @ git+https://example.com/own.git@v1|requests[socks]>=2|win ; sys_platform == 'win32'"; err != nil || strings.Join(got, "|") != want {
		t.Errorf("%v\n got %s\nwant %s", err, strings.Join(got, "|"), want)
	}
	var p project
	p.Tool.Poetry.Dependencies = map[string]any{"python": "^3.9", "flask": "^3.0", "uvicorn": map[string]any{"version": "~0.30", "extras": []any{"standard"}}, "old": map[string]any{"version": "*", "python": "<3.8"},
		"opt": map[string]any{"version": "*", "optional": true}, "lib": map[string]any{"path": "../lib"}, "g": map[string]any{"git": "https://example.com/g.git", "branch": "main"}}
	if got, want := strings.Join(p.poetryRequirements(), "|"), `flask>=3.0,<4|g @ git+https://example.com/g.git@main|./../lib|old ; python_full_version < "3.8"|uvicorn[standard]>=0.30,<0.31`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
