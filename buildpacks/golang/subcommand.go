package golang

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// commandLibraries are those by which programs have subcommands: how the type of a command is called, which field names it, and which run it.
var commandLibraries = []struct {
	path, name string
	runs       []string
}{
	{"github.com/spf13/cobra", "Use", []string{"Run", "RunE"}},
	{"github.com/urfave/cli", "Name", []string{"Action"}},
}

// servingCommands are what people call the subcommand that serves.
var servingCommands = []string{"serve", "server", "web", "http", "api", "start", "run"}

// subcommand is the argument with which a program serves that would print its help without one; "" for other programs, and where the Procfile says how
// it starts.
func subcommand(app string, m mod, t target) string {
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	if slices.ContainsFunc(procs, func(p procfile.Process) bool { return p.Type == "web" }) {
		return ""
	}
	found, itself := map[string]bool{}, false
	reach(app, m, t, true, func(dir string, p *build.Package) bool {
		for _, c := range commandsOf(filepath.Join(app, filepath.FromSlash(dir)), p) {
			if c.parent || c.name == t.name || c.name == m.name() {
				itself = itself || c.runs
			} else if c.runs {
				found[c.name] = true
			}
		}
		return false
	})
	if i := slices.IndexFunc(servingCommands, func(n string) bool { return found[n] }); i >= 0 && !itself {
		return servingCommands[i]
	}
	return ""
}

// command is one that a program has.
type command struct {
	name         string
	runs, parent bool // does something by itself; has others below it
}

// commandsOf finds the commands that a package makes. What cannot be read has none: the compiler says why.
func commandsOf(dir string, p *build.Package) (all []command) {
	for _, lib := range commandLibraries {
		if !importsAny(p, []string{lib.path}) {
			continue
		}
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), kit.Text(dir, name), parser.SkipObjectResolution)
			if err != nil {
				continue
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.CompositeLit); ok {
					if c, ok := commandIn(lit, lib.name, lib.runs); ok {
						all = append(all, c)
					}
				}
				return true
			})
		}
	}
	return all
}

// commandIn reads a literal of a command.
func commandIn(lit *ast.CompositeLit, nameField string, runs []string) (c command, ok bool) {
	for _, e := range lit.Elts {
		field, isField := e.(*ast.KeyValueExpr)
		if !isField {
			return c, false
		}
		key, isName := field.Key.(*ast.Ident)
		if !isName {
			return c, false
		}
		switch value, isText := field.Value.(*ast.BasicLit); {
		case key.Name == nameField && isText && value.Kind == token.STRING:
			text, err := strconv.Unquote(value.Value)
			if err == nil {
				c.name, _, _ = strings.Cut(strings.TrimSpace(text), " ")
			}
		case slices.Contains(runs, key.Name):
			c.runs = true
		case key.Name == "Commands":
			c.parent = true
		}
	}
	return c, c.name != ""
}
