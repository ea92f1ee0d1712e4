package python

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// runners are the package managers that people start their programs with: "poetry run gunicorn app:app". The environment is the app's already, so that
// a few lines of shell do when the app runs. uv is there itself.
var runners = []string{"poetry", "pipenv", "pdm", "hatch", "rye"}

const runnerScript = `#!/bin/sh
# %TOOL% run PROGRAM …: the packages are installed, and this environment is the app's.
while [ $# -gt 0 ]; do
	case "$1" in
	run) shift; break ;;
	-*) shift ;;
	install | sync | lock | check | update | self | config | env) exit 0 ;;
	*) echo "%TOOL% $1: when the app runs, there is %TOOL% run alone" >&2; exit 127 ;;
	esac
done
while [ "${1#-}" != "${1-}" ]; do shift; done
case "${1-}" in
%SCRIPTS%esac
exec "$@"
`

// addRunners puts the package managers into the environment that the Procfile or a script names.
func (b *build) addRunners() error {
	for _, tool := range runners {
		file := filepath.Join(b.venv.Path, "bin", tool)
		if !b.starts(tool) || kit.Exists(file) {
			continue
		}
		var cases strings.Builder
		for _, s := range b.scripts() {
			cases.WriteString(kit.Quote(s.name) + ") shift; set -- sh -c " + kit.Quote("exec "+s.command+` "$@"`) + " sh \"$@\" ;;\n")
		}
		text := strings.ReplaceAll(strings.ReplaceAll(runnerScript, "%TOOL%", tool), "%SCRIPTS%", cases.String())
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

var plainWord = pattern.New(`^[A-Za-z0-9._/-]+$`)

// shellWord quotes what is not plainly one word.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return kit.Quote(s)
}

// script is a command with a name of its own, of Pipfile or of PDM's.
type script struct{ name, command string }

func (b *build) scripts() (found []script) {
	var pipfile struct {
		Scripts map[string]any `toml:"scripts"`
	}
	_ = toml.Unmarshal([]byte(kit.Text(b.app, "Pipfile")), &pipfile) // a malformed one is pipenv's to complain about
	for _, scripts := range []map[string]any{pipfile.Scripts, b.source.project.Tool.PDM.Scripts} {
		for name, v := range scripts {
			if t, ok := v.(map[string]any); ok {
				v = t["cmd"]
			}
			if command, ok := v.(string); ok && command != "" {
				found = append(found, script{name, command})
			}
		}
	}
	slices.SortFunc(found, func(x, y script) int { return strings.Compare(x.name, y.name) })
	return found
}

// starts tells whether a line of the Procfile, or a script that it starts, names a program.
func (b *build) starts(program string) bool {
	procs, _ := procfile.Read(b.app) // a malformed one fails in its own buildpack
	word := pattern.New(`(?m)(?:^|[\s;&|("'/])` + program + `(?:$|[\s;&|)"'])`)
	for _, p := range procs {
		if word.MatchString(p.Command) {
			return true
		}
		for w := range strings.FieldsSeq(p.Command) {
			w = strings.Trim(w, `"'`)
			if filepath.IsLocal(w) && (strings.HasSuffix(w, ".sh") || strings.Contains(w, "/")) && kit.IsFile(b.app, w) && word.MatchString(kit.Text(b.app, w)) {
				return true
			}
		}
	}
	return false
}

// uvLayer is uv for when the app runs; nil where nothing starts it.
func (b *build) uvLayer() (*kit.Layer, error) {
	if !b.starts("uv") && !b.starts("uvx") {
		return nil, nil
	}
	l, err := kit.OpenLayer(b.ctx, "uv")
	if err != nil {
		return nil, err
	}
	sum, err := kit.FileKey(b.UV)
	if err != nil {
		return nil, err
	}
	key := kit.Key("1", sum, b.venv.Path)
	if reuse, err := l.Renew(key); reuse || err != nil {
		return l, err
	}
	// Nothing is installed when the app runs: what "uv run" would bring up to date is.
	l.SetLaunch(map[string]string{"UV_NO_SYNC": "1", "UV_PROJECT_ENVIRONMENT": b.venv.Path, "UV_PYTHON_DOWNLOADS": "never", "UV_CACHE_DIR": "/tmp/uv-cache"})
	for _, name := range []string{"uv", "uvx"} {
		if err := kit.CopyFile(filepath.Join(filepath.Dir(b.UV), name), filepath.Join(l.Path, "bin", name)); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// addresses tells servers that people start without an address where requests come: on all addresses, at $PORT. It is a program that the launcher
// runs before the app.
const addresses = `#!/bin/sh
port="${PORT:-8080}"
set_() { eval "[ -n \"\${$1-}\" ]" || printf '%s = "%s"\n' "$1" "$2" >&3; }
for name in FLASK_RUN UVICORN HYPERCORN GRANIAN CHAINLIT; do
	set_ "${name}_HOST" 0.0.0.0
	set_ "${name}_PORT" "$port"
done
set_ GRADIO_SERVER_NAME 0.0.0.0
set_ GRADIO_SERVER_PORT "$port"
set_ STREAMLIT_SERVER_ADDRESS 0.0.0.0
set_ STREAMLIT_SERVER_PORT "$port"
set_ STREAMLIT_SERVER_HEADLESS true
set_ STREAMLIT_BROWSER_GATHER_USAGE_STATS false
`

// byEnvironment are the packages that read their address there.
var byEnvironment = []string{"flask", "uvicorn", "granian", "gradio", "streamlit", "chainlit", "dash"}

// addAddresses puts that program into the layer of the packages, where one of them reads it.
func (b *build) addAddresses() error {
	if !slices.ContainsFunc(byEnvironment, b.has) {
		return nil
	}
	text := addresses
	if b.has("dash") {
		text += "set_ HOST 0.0.0.0\n"
	}
	return kit.WriteProgram(filepath.Join(b.venv.Path, "exec.d", "addresses"), text)
}

var (
	runCall   = pattern.New(`(?m)^\s*(?:\w+\.)*(?:run|run_app|serve|launch|run_server|run_simple|listen)\(([^\n]*)`)
	fixedPort = pattern.New(`\b(?:port|server_port)\s*=\s*(\d{2,5})\b`)
	loopback  = pattern.New(`["'](?:127\.0\.0\.1|localhost)["']`)
)

// warnAddress says where the program that the Procfile's web starts listens, if that is not where requests come.
func (b *build) warnAddress() {
	procs, _ := procfile.Read(b.app)
	for _, p := range procs {
		words := strings.Fields(p.Command)
		if p.Type != "web" || len(words) < 2 || !pythonProgram.MatchString(words[0]) {
			continue
		}
		b.warnAddressOf(words[len(words)-1])
	}
}

func (b *build) warnAddressOf(file string) {
	text := kit.Text(b.app, file)
	m := runCall.FindStringSubmatch(text)
	if m == nil || strings.Contains(text, "PORT") {
		return
	}
	switch port := fixedPort.FindStringSubmatch(m[1]); {
	case port != nil && port[1] != "8080":
		kit.Say(b.Out, `Warning: %s listens at port %s, and requests come at the port that the variable PORT names: write port=int(os.environ.get("PORT", %s)), host="0.0.0.0"`, file, port[1], port[1])
	case loopback.MatchString(m[1]), port == nil && strings.Contains(text, "Flask("):
		kit.Say(b.Out, `Warning: %s listens on 127.0.0.1, where no request comes: write host="0.0.0.0", port=int(os.environ.get("PORT", 8080))`, file)
	}
}
