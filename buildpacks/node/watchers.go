package node

import (
	"slices"
	"strings"

	"github.com/google/shlex"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// Programs that start an app again whenever a file changes are for development: the app is started as it would be without them. Those that translate it
// while it runs are left alone, unless another script starts what was built.

var (
	watcher    = pattern.New(`^(?:nodemon|node-dev|supervisor|ts-node-dev|tsnd|(?:tsx|ts-node) (?:watch|--watch)|node (?:[^ ]+ )*--watch(?:-path=[^ ]+)?|bun (?:run )?--(?:watch|hot)) `)
	translator = pattern.New(`^(?:ts-node|ts-node-esm|tsx|babel-node|swc-node|esno|esmo)(?: |$)`)
)

// productionScripts are what people call the script that starts what was built.
var productionScripts = []string{"start:prod", "start:production", "start-prod", "prod", "production", "serve:prod"}

// unwatched is what a start script starts that watches files: another script that is for production, else the program by itself. Other lines stay as
// they are.
func (p *Package) unwatched(line string) string {
	followed := p.follow(line)
	program := programOf(followed)
	watches := watcher.MatchString(program + " ")
	if !watches && !(p.HasBuild() && translator.MatchString(program)) {
		return line
	}
	for _, name := range productionScripts {
		if s := strings.TrimSpace(p.Scripts[name]); s != "" && !watcher.MatchString(programOf(p.follow(s))+" ") {
			return s
		}
	}
	if !watches {
		return line
	}
	words, err := shlex.Split(program)
	if err != nil || len(words) < 2 || strings.ContainsAny(program, "&|;<>$`") {
		return line
	}
	bare := withoutWatcher(words)
	if bare == "" {
		return line
	}
	all := strings.Fields(followed)
	before := all[:len(all)-len(strings.Fields(program))] // variables, and programs that set them
	for len(before) > 0 && !variable.MatchString(before[0]) && !strings.HasPrefix(before[0], "cross-env") && !strings.HasPrefix(before[0], "dotenv") && before[0] != "env" {
		before = before[1:]
	}
	return strings.Join(append(before[:len(before):len(before)], bare), " ")
}

// valued are the options of nodemon and its like that take a value.
var valued = []string{"-w", "--watch", "-e", "--ext", "-i", "--ignore", "-d", "--delay", "-x", "--exec", "-s", "--signal", "--config", "--cwd", "--ignore-watch"}

// withoutWatcher is the command without the program that watches; "" where it cannot be told.
func withoutWatcher(words []string) string {
	name, rest := words[0], words[1:]
	with := map[string]string{"nodemon": "node", "node-dev": "node", "supervisor": "node", "ts-node-dev": "ts-node", "tsnd": "ts-node"}[name]
	if with == "" { // the program's own option
		kept := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "watch" || w == "--hot" || strings.HasPrefix(w, "--watch") })
		return quoted(kept)
	}
	for i := 0; i < len(rest); i++ {
		w := rest[i]
		option, value, has := strings.Cut(w, "=")
		switch {
		case w == "--":
			return strings.TrimSpace(with + " " + quoted(rest[i+1:]))
		case !strings.HasPrefix(w, "-"):
			if with == "node" && strings.HasSuffix(w, ".ts") {
				with = "ts-node" // as nodemon does
			}
			return with + " " + quoted(rest[i:])
		case (option == "-x" || option == "--exec") && (has || i+1 < len(rest)):
			if !has {
				value = rest[i+1]
				i++
			}
			with = value
		case !has && name != "ts-node-dev" && name != "tsnd" && slices.Contains(valued, option):
			i++
		}
	}
	if strings.Contains(with, " ") { // the whole command is that of --exec
		return with
	}
	return ""
}

// quoted puts words together for a shell.
func quoted(words []string) string {
	var all []string
	for _, w := range words {
		if strings.ContainsAny(w, " \t\"'$*?\\&|;<>()`") {
			w = kit.Quote(w)
		}
		all = append(all, w)
	}
	return strings.Join(all, " ")
}
