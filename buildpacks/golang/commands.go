package golang

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

// goRun is a "go run" of a Procfile: people copy the line that they develop with.
type goRun struct {
	kind string // of the process
	what string // as it is written: main.go, ., ./cmd/web
	dir  string // of the package
}

// withValue are the flags of go run whose value is the next word.
var withValue = pattern.New(`^--?(?:tags|ldflags|gcflags|asmflags|mod|modfile|exec|p|C|overlay|pgo)$`)

// goRuns finds them.
func goRuns(procs []procfile.Process) (found []goRun) {
	for _, p := range procs {
		words := strings.Fields(p.Command)
		for i := 0; i+2 < len(words); i++ {
			if words[i] != "go" || words[i+1] != "run" {
				continue
			}
			rest := words[i+2:]
			for len(rest) > 1 && strings.HasPrefix(rest[0], "-") {
				n := 1
				if withValue.MatchString(rest[0]) {
					n = 2
				}
				rest = rest[min(n, len(rest)-1):]
			}
			what := strings.Trim(rest[0], `"'`)
			dir := path.Clean(what)
			if strings.HasSuffix(what, ".go") {
				dir = path.Dir(dir)
			}
			if filepath.IsLocal(dir) {
				found = append(found, goRun{p.Type, what, dir})
			}
			break
		}
	}
	return found
}

// runsTarget finds the program that a process runs by "go run".
func runsTarget(runs []goRun, mains []target, kind string) (target, bool) {
	for _, r := range runs {
		for _, t := range mains {
			if r.kind == kind && path.Clean(t.dir) == r.dir {
				return t, true
			}
		}
	}
	return target{}, false
}

const goScript = `#!/bin/sh
# go run PACKAGE …: the program is compiled.
if [ "${1-}" != run ]; then
	echo "go ${1-}: when the app runs, there is go run alone, of what the Procfile names" >&2
	exit 127
fi
shift
while [ $# -gt 0 ]; do
	case "$1" in
	-tags | -ldflags | -gcflags | -asmflags | -mod | -modfile | -exec | -p | -C | -overlay | -pgo) shift 2 ;;
	-*) shift ;;
	*) break ;;
	esac
done
what="${1-}"
[ $# -eq 0 ] || shift
while :; do
	case "${1-}" in
	*.go) shift ;;
	*) break ;;
	esac
done
case "$what" in
%CASES%esac
echo "go run $what: there is no such program" >&2
exit 127
`

// runScript is what "go run" does when the app runs; "" where no process says it.
func runScript(procs []procfile.Process, targets []target) string {
	cases := ""
	for _, r := range goRuns(procs) {
		for _, t := range targets {
			if path.Clean(t.dir) == r.dir {
				cases += fmt.Sprintf("%s) exec %s \"$@\" ;;\n", kit.Quote(r.what), t.name)
				break
			}
		}
	}
	if cases == "" {
		return ""
	}
	return strings.Replace(goScript, "%CASES%", cases, 1)
}

// alias is another name of a program.
type alias struct{ name, of string }

// aliases are the names by which a Procfile starts programs that are called otherwise here: "web: shop" of an app without a module's name. words are
// names to be found in PATH, files are paths in the app that are not there.
func aliases(app string, procs []procfile.Process, targets []target) (words, files []alias) {
	for _, p := range procs {
		w := program(p.Command)
		i := slices.IndexFunc(targets, func(t target) bool { return t.name == path.Base(w) })
		switch {
		case i < 0 && p.Type != "web" && len(targets) > 1, !plainName.MatchString(path.Base(w)):
			continue // which program that is cannot be told
		case strings.Contains(w, "/"):
			if !filepath.IsLocal(w) || kit.Exists(app, w) {
				continue
			}
			files = append(files, alias{path.Clean(w), targets[max(i, 0)].name})
		case i < 0 && !system(w):
			words = append(words, alias{w, targets[0].name})
		}
	}
	return words, files
}

var (
	plainName = pattern.New(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	setting   = pattern.New(`^[A-Za-z_][A-Za-z0-9_]*=`)
)

// program is the first word of a command that is one: exec and variables before it do not count.
func program(command string) string {
	for w := range strings.FieldsSeq(command) {
		w = strings.Trim(w, `"'`)
		if w != "exec" && w != "env" && !setting.MatchString(w) {
			return w
		}
	}
	return ""
}

// builtins are names that only the shell knows.
var builtins = []string{"cd", "export", "source", ".", "eval", "if", "for", "while", "until", "case", "set", "ulimit", "umask", "trap", "unset", "command", "wait", "read", "time", "test", "go"}

// system tells whether a name is a program of the system's, or of the shell's.
func system(name string) bool {
	if slices.Contains(builtins, name) {
		return true
	}
	for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// linkPaths makes the paths in the app that a Procfile names.
func linkPaths(app, layer string, files []alias) error {
	for _, f := range files {
		at := filepath.Join(app, filepath.FromSlash(f.name))
		if kit.Exists(at) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(layer, "bin", f.of), at); err != nil {
			return err
		}
	}
	return nil
}

// addCommands puts the names into the layer by which a Procfile starts the programs.
func addCommands(layer, script string, words []alias) error {
	if script != "" {
		if err := os.WriteFile(filepath.Join(layer, "bin", "go"), []byte(script), 0o755); err != nil {
			return err
		}
	}
	for _, w := range words {
		at := filepath.Join(layer, "bin", w.name)
		if kit.Exists(at) {
			continue
		}
		if err := os.Symlink(w.of, at); err != nil {
			return err
		}
	}
	return nil
}
