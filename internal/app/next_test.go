package app

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Every error that people read says what to do next: no call of Errorf or Wrap leaves that out, and nothing makes an Error without them.
func TestErrors_SayWhatToDoNext(t *testing.T) {
	fset := token.NewFileSet()
	calls := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || len(d.Name()) > 2 && strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		own := f.Name.Name == "app"
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				next := map[string]int{"Errorf": 1, "Wrap": 2}[ofApp(n.Fun, own)]
				if next == 0 || len(n.Args) <= next {
					return true
				}
				calls++
				if l, ok := n.Args[next].(*ast.BasicLit); ok && l.Value == `""` {
					t.Errorf("%s does not say what to do next", fset.Position(n.Pos()))
				}
			case *ast.CompositeLit:
				if !own && ofApp(n.Type, false) == "Error" {
					t.Errorf("%s makes an app.Error: use app.Errorf or app.Wrap", fset.Position(n.Pos()))
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls < 300 {
		t.Errorf("%d calls were looked at", calls)
	}
}

// ofApp returns the name of what e names in package app, "" for anything else. own says whether e is in that package.
func ofApp(e ast.Expr, own bool) string {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok && x.Name == "app" {
			return e.Sel.Name
		}
	case *ast.Ident:
		if own {
			return e.Name
		}
	}
	return ""
}
