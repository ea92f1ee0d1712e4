package house

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/gitd-io/gitd/"
)

// TestArrows wants each package to import what the table allows and nothing else. A new arrow is a decision: it goes into the table, and into
// docs/architecture.md where it changes the picture.
func TestArrows(t *testing.T) {
	used := map[string]bool{}
	imports := importsOf(t)
	for pkg, list := range imports {
		allowed, ok := arrows[pkg]
		if !ok {
			t.Errorf("%s is not in the table of packages: add it to arrows.go, with what it may import, and to docs/architecture.md", pkg)
			continue
		}
		may := strings.Fields(allowed)
		for _, imported := range list {
			used[pkg+" "+imported] = true
			if !slices.Contains(may, imported) {
				t.Errorf("%s imports %s, which the table does not allow", pkg, imported)
			}
		}
		for _, imported := range may {
			if !slices.Contains(list, imported) {
				t.Errorf("the table lets %s import %s, and it does not: remove that", pkg, imported)
			}
		}
	}
	for pkg := range arrows {
		if _, ok := imports[pkg]; !ok {
			t.Errorf("the table names %s, and such a package does not exist", pkg)
		}
	}
	for pkg := range layer(arrows, t) {
		if _, ok := imports[pkg]; !ok {
			t.Errorf("%s has no layer", pkg)
		}
	}
}

// importsOf returns, for each package of production code, the packages of this module that it imports.
func importsOf(t *testing.T) map[string][]string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./internal/...", "./cmd/...", "./buildpacks/...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		ours := []string{}
		for _, i := range p.Imports {
			if short, ok := strings.CutPrefix(i, module); ok {
				ours = append(ours, short)
			}
		}
		all[strings.TrimPrefix(p.ImportPath, module)] = ours
	}
}

// layer numbers the packages from below: one that imports nothing of ours is 0. A circle has no number, and fails the test.
func layer(arrows map[string]string, t *testing.T) map[string]int {
	t.Helper()
	numbers := map[string]int{}
	var number func(pkg string, way []string) int
	number = func(pkg string, way []string) int {
		if n, ok := numbers[pkg]; ok {
			return n
		}
		if slices.Contains(way, pkg) {
			t.Fatalf("the table has a circle: %s", strings.Join(append(way, pkg), " → "))
		}
		n := 0
		for _, below := range strings.Fields(arrows[pkg]) {
			n = max(n, number(below, append(slices.Clip(way), pkg))+1)
		}
		numbers[pkg] = n
		return n
	}
	for pkg := range arrows {
		number(pkg, nil)
	}
	return numbers
}

// Lines that a file and a function may have. What is longer is named in longFiles or longFunctions, with the reason.
const (
	fileLines     = 400
	functionLines = 60
)

// TestLengths wants files and functions that are read in one go.
func TestLengths(t *testing.T) {
	files, functions := map[string]bool{}, map[string]bool{}
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "testdata" || name == "examples" || name == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if n := strings.Count(string(text), "\n"); n > fileLines {
			files[name] = true
			if longFiles[name] == "" {
				t.Errorf("%s has %d lines, more than %d: divide it by subject", name, n, fileLines)
			}
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			id := name + " " + fn.Name.Name
			if n := lines(set, fn); n > functionLines {
				functions[id] = true
				if longFunctions[id] == "" {
					t.Errorf("%s has %d lines, more than %d: divide it by what it does", id, n, functionLines)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct {
		table map[string]string
		is    map[string]bool
	}{{longFiles, files}, {longFunctions, functions}} {
		for name := range q.table {
			if !q.is[name] {
				t.Errorf("%s is short enough or gone: remove it from the list", name)
			}
		}
	}
}

// lines counts the lines of a function. The rows of a table do not count, and a subtest counts by itself: the longest of them is a function too.
func lines(set *token.FileSet, fn ast.Node) int {
	count := func(n ast.Node) int { return set.Position(n.End()).Line - set.Position(n.Pos()).Line }
	own, longest := count(fn)+1, 0
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			switch n.Type.(type) {
			case *ast.ArrayType, *ast.MapType:
				own -= count(n)
				return false
			}
		case *ast.CallExpr:
			called, ok := n.Fun.(*ast.SelectorExpr)
			if ok && called.Sel.Name == "Run" && len(n.Args) == 2 {
				if sub, ok := n.Args[1].(*ast.FuncLit); ok {
					own -= count(sub)
					longest = max(longest, lines(set, sub.Body))
					return false
				}
			}
		}
		return true
	})
	return max(own, longest)
}

// TestReasons wants docs/architecture.md to name each exception.
func TestReasons(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []map[string]string{longFiles, longFunctions} {
		for name := range table {
			path, fn, _ := strings.Cut(name, " ")
			if want := fmt.Sprintf("`%s`", filepath.Base(path)); fn == "" && !strings.Contains(string(page), want) {
				t.Errorf("docs/architecture.md does not name %s", want)
			}
			if fn != "" && !strings.Contains(string(page), fmt.Sprintf("`%s`", fn)) {
				t.Errorf("docs/architecture.md does not name the function %s", fn)
			}
		}
	}
}

// TestWalk wants each file that docs/architecture.md names on the way of a push to be there: by its path, or by its name beside others.
func TestWalk(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, walk, ok := strings.Cut(string(page), "\n## A push, file by file\n")
	if !ok {
		t.Fatal("docs/architecture.md does not tell the way of a push")
	}
	walk, _, _ = strings.Cut(walk, "\n## ")
	named := regexp.MustCompile("`([a-z0-9/]+\\.go)`").FindAllStringSubmatch(walk, -1)
	if len(named) < 30 {
		t.Errorf("it names %d files", len(named))
	}
	at := ""
	for _, n := range named {
		path := n[1]
		switch {
		case strings.HasPrefix(path, "internal/"):
			at = filepath.Dir(path)
		default:
			path = filepath.Join(at, path)
		}
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Errorf("it names %s, and there is no such file: give the path", path)
		}
	}
}
