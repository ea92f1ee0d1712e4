package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/command"
)

// TestOperations_OverSSH wants each operation to be asked for over SSH in a script of test/e2e.
func TestOperations_OverSSH(t *testing.T) {
	asked, seen := map[string]bool{}, map[string]bool{}
	for _, pattern := range []string{"*.txtar", "*/*.txtar", "*/*/*.txtar"} {
		files, err := filepath.Glob(filepath.Join(root, "test/e2e/testdata", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, _, _ := strings.Cut(string(b), "\n-- ")
			for line := range strings.Lines(script) {
				words := overSSH(line)
				said := strings.Join(words, " ")
				if words == nil || seen[said] {
					continue
				}
				seen[said] = true
				if d, err := command.Declared(words); err == nil {
					asked[d.Name+" "+d.Args] = true
				}
			}
		}
	}
	all := operations(t)
	if len(all) < 70 {
		t.Errorf("only %d operations were found", len(all))
	}
	for _, o := range all {
		if !asked[o] {
			t.Errorf("no script of test/e2e/testdata runs this over SSH: %s", o)
		}
	}
}

// overSSH returns what a line of a script asks the server for by the command ssh; nothing where it does not.
func overSSH(line string) []string {
	words := strings.Fields(line)
	at := slices.Index(words, "ssh")
	if at < 0 || strings.HasPrefix(line, "#") {
		return nil
	}
	words = words[at+1:]
	for len(words) > 0 && strings.HasPrefix(words[0], "-") { // ssh's own flags
		words = words[1:]
	}
	if end := slices.Index(words, "<"); end >= 0 {
		words = words[:end]
	}
	return words
}

// operations are the names and arguments of all that package operation declares.
func operations(t *testing.T) (all []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "internal/operation/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		p, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(p, func(n ast.Node) bool {
			made, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			if kind, ok := made.Type.(*ast.Ident); !ok || kind.Name != "Declaration" {
				return true
			}
			said := map[string]string{}
			for _, e := range made.Elts {
				pair := e.(*ast.KeyValueExpr)
				if value, ok := pair.Value.(*ast.BasicLit); ok && value.Kind == token.STRING {
					said[pair.Key.(*ast.Ident).Name], _ = strconv.Unquote(value.Value)
				}
			}
			if said["Name"] != "" {
				all = append(all, said["Name"]+" "+said["Args"])
			}
			return true
		})
	}
	slices.Sort(all)
	return slices.Compact(all)
}
