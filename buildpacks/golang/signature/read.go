package signature

import (
	"bytes"
	"errors"
	"go/ast"
	"go/build"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Package is what a folder has.
type Package struct {
	Name       string            // "main", "function"
	Funcs      []Func            // exported
	Unexported []Func            // the others, but for main and init
	Methods    map[string][]Func // of the types that the folder declares, by their names
	Registered []Registration
	Main       bool              // it has a func main
	Starts     Func              // where main starts a handler of Lambda: file and line; Line is 0 for none
	Listens    Func              // where it serves by itself: file and line; Line is 0 for nowhere
	Runs       Func              // a call of Run, Start or Spin, by which web frameworks serve
	Framework  Func              // where it starts the server of the Functions Framework
	Routes     bool              // it gives functions to that server itself, with paths of its own
	Results    map[string]string // of each function, the name of the folder's own type that it returns alone
}

// Registration is a function that the code gives to the Functions Framework.
type Registration struct {
	Target    string // "" where the code does not say it as a constant
	Signature string // "http", "cloudevent", "typed"
	File      string
	Line      int
}

// The packages by which code says what calls it.
const (
	Framework       = "github.com/GoogleCloudPlatform/functions-framework-go"
	frameworkDecl   = Framework + "/functions"
	FrameworkServer = Framework + "/funcframework"
	Lambda          = "github.com/aws/aws-lambda-go"
	lambdaStart     = Lambda + "/lambda"
	CloudEvents     = "github.com/cloudevents/sdk-go/v2"
)

// maxSource bounds a file that is read, in bytes: what is longer was made by a program.
const maxSource = 4 << 20

// Read reads the package of a folder by the rules of the go command, without its tests. It returns nil for a folder without Go. A file that cannot be
// parsed is read as far as that goes: the compiler says what is wrong with it.
func Read(dir string) (*Package, error) {
	ctx := build.Default
	ctx.GOOS, ctx.CgoEnabled = "linux", false
	found, err := ctx.ImportDir(dir, 0)
	var none *build.NoGoError
	if errors.As(err, &none) || found == nil || len(found.GoFiles) == 0 {
		return nil, nil
	}
	p := &Package{Name: found.Name, Methods: map[string][]Func{}, Results: map[string]string{}}
	r := &reader{Package: p, set: token.NewFileSet(), aliases: map[string]ast.Expr{}}
	var files []*ast.File
	for _, name := range found.GoFiles {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if info.Size() > maxSource {
			continue
		}
		f, _ := parser.ParseFile(r.set, filepath.Join(dir, name), nil, parser.SkipObjectResolution) // of one with errors what can be read
		if f != nil {
			files = append(files, f)
			r.declare(f)
		}
	}
	for i, f := range files {
		r.file(filepath.Base(r.set.Position(files[i].Package).Filename), f)
	}
	return p, nil
}

// reader reads one folder.
type reader struct {
	*Package
	set     *token.FileSet
	aliases map[string]ast.Expr // type A = B
	alias   map[string]string   // of the file: imports by name
	dot     []string            // of the file: imports without a name
	name    string              // of the file
}

// declare notes what types a file declares.
func (r *reader) declare(f *ast.File) {
	imports, _ := importNames(f)
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, s := range g.Specs {
			t := s.(*ast.TypeSpec)
			if t.Assign.IsValid() {
				r.aliases[t.Name.Name] = resolved(t.Type, imports)
			}
		}
	}
}

// resolved is a type whose packages are named by their paths.
func resolved(e ast.Expr, imports map[string]string) ast.Expr {
	switch e := e.(type) {
	case *ast.StarExpr:
		return &ast.StarExpr{X: resolved(e.X, imports)}
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok && imports[x.Name] != "" {
			return &ast.SelectorExpr{X: ast.NewIdent(imports[x.Name]), Sel: e.Sel}
		}
	}
	return e
}

// file reads one file.
func (r *reader) file(name string, f *ast.File) {
	r.name = name
	r.alias, r.dot = importNames(f)
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		r.function(fn)
		if fn.Body != nil {
			ast.Inspect(fn.Body, r.call)
		}
	}
	for _, d := range f.Decls { // registered by a variable: var _ = functions.HTTP(…)
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			ast.Inspect(g, r.call)
		}
	}
}

func (r *reader) function(d *ast.FuncDecl) {
	fn := Func{
		Name: d.Name.Name, File: r.name, Line: r.set.Position(d.Name.Pos()).Line, Generic: d.Type.TypeParams != nil,
		Params: r.types(d.Type.Params), Results: r.types(d.Type.Results), Text: r.text(d),
	}
	switch {
	case d.Recv != nil && len(d.Recv.List) == 0:
	case d.Recv != nil:
		if t := typeName(d.Recv.List[0].Type); t != "" {
			r.Methods[t] = append(r.Methods[t], fn)
		}
	case fn.Name == "main":
		r.Main = true
	case d.Name.IsExported():
		r.Funcs = append(r.Funcs, fn)
		if list := d.Type.Results; list != nil && len(list.List) == 1 && len(list.List[0].Names) < 2 {
			r.Package.Results[fn.Name] = typeName(list.List[0].Type)
		}
	case fn.Name != "init":
		r.Unexported = append(r.Unexported, fn)
	}
}

// typeName is the name of a type of the folder's own, or of a pointer to one; "" for others.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// call notes what a call gives to a library of functions.
func (r *reader) call(n ast.Node) bool {
	c, ok := n.(*ast.CallExpr)
	if !ok {
		return true
	}
	pkg, name := r.callee(c.Fun)
	line := r.set.Position(c.Pos()).Line
	kinds := map[string]string{"HTTP": "http", "CloudEvent": "cloudevent", "Typed": "typed"}
	switch {
	case pkg == frameworkDecl && kinds[name] != "" && len(c.Args) == 2:
		target := ""
		if l, ok := c.Args[0].(*ast.BasicLit); ok && l.Kind == token.STRING {
			target, _ = strconv.Unquote(l.Value) // a literal of the parser
		}
		r.Registered = append(r.Registered, Registration{target, kinds[name], r.name, line})
	case pkg == lambdaStart && strings.HasPrefix(name, "Start"):
		r.Starts = Func{Name: name, File: r.name, Line: line, Text: "lambda." + name}
	case pkg == FrameworkServer && strings.HasPrefix(name, "Start"):
		r.Framework = Func{Name: name, File: r.name, Line: line}
	case pkg == FrameworkServer && strings.HasPrefix(name, "Register"):
		r.Routes = true
	default:
		r.serves(c, line)
	}
	return true
}

// listening are the names of functions and methods that serve, whichever package has them.
var listening = []string{"ListenAndServe", "ListenAndServeTLS", "ListenAndServeUNIX", "Serve", "ServeTLS", "Listen", "ListenTLS", "ListenMutualTLS",
	"RunTLS", "RunListener", "RunUnix", "RunFd", "StartTLS", "StartAutoTLS", "StartServer", "StartH2CServer"}

// serves notes a call that serves.
func (r *reader) serves(c *ast.CallExpr, line int) {
	name := ""
	switch e := c.Fun.(type) {
	case *ast.SelectorExpr:
		name = e.Sel.Name
	case *ast.Ident: // imported without a name
		if len(r.dot) > 0 {
			name = e.Name
		}
	}
	switch {
	case slices.Contains(listening, name):
		r.Listens = Func{Name: name, File: r.name, Line: line}
	case slices.Contains([]string{"Run", "Start", "Spin"}, name) && len(c.Args) < 2:
		r.Runs = Func{Name: name, File: r.name, Line: line}
	}
}

// callee is the package and the name of a function that is called; "" for what is of no package.
func (r *reader) callee(e ast.Expr) (pkg, name string) {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return r.alias[x.Name], e.Sel.Name
		}
	case *ast.Ident:
		for _, d := range r.dot {
			if d == frameworkDecl || d == lambdaStart {
				return d, e.Name
			}
		}
	case *ast.IndexExpr: // lambda.StartHandlerFunc[In, Out](…)
		return r.callee(e.X)
	case *ast.IndexListExpr:
		return r.callee(e.X)
	}
	return "", ""
}

// types are the types of a list, one for each name.
func (r *reader) types(list *ast.FieldList) (all []string) {
	if list == nil {
		return nil
	}
	for _, f := range list.List {
		t := r.typeOf(f.Type, 0)
		for range max(1, len(f.Names)) {
			all = append(all, t)
		}
	}
	return all
}

// typeOf writes a type: those that matter by their constants.
func (r *reader) typeOf(e ast.Expr, depth int) string {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return r.typeOf(e.X, depth)
	case *ast.StarExpr:
		return "*" + r.typeOf(e.X, depth)
	case *ast.Ellipsis:
		return "..." + r.typeOf(e.Elt, depth)
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			full := x.Name
			if p := r.alias[x.Name]; p != "" {
				full = p
			}
			if c := canonical[full+"."+e.Sel.Name]; c != "" {
				return c
			}
		}
	case *ast.Ident:
		if a := r.aliases[e.Name]; a != nil && depth < 10 {
			return r.typeOf(a, depth+1)
		}
		for _, d := range r.dot {
			if c := canonical[d+"."+e.Name]; c != "" {
				return c
			}
		}
	}
	return r.print(e)
}

func (r *reader) print(n ast.Node) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, r.set, n); err != nil {
		return "?"
	}
	return b.String()
}

// text is a function without its body and its comment, on one line.
func (r *reader) text(d *ast.FuncDecl) string {
	short := *d
	short.Body, short.Doc = nil, nil
	text := strings.Join(strings.Fields(r.print(&short)), " ")
	if len(text) > 160 {
		text = strings.ToValidUTF8(text[:160], "") + "…"
	}
	return text
}

// importNames are the imports of a file by the names that it has for them.
func importNames(f *ast.File) (names map[string]string, dot []string) {
	names = map[string]string{}
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		switch {
		case err != nil:
		case i.Name == nil:
			names[baseName(p)] = p
		case i.Name.Name == ".":
			dot = append(dot, p)
		default:
			names[i.Name.Name] = p
		}
	}
	return names, dot
}

// baseName is the name of a package by its path, as it is by custom.
func baseName(p string) string {
	if p == CloudEvents {
		return "cloudevents"
	}
	base := path.Base(p)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(p))
	}
	return strings.TrimPrefix(base, "go-")
}

// Func finds an exported function.
func (p *Package) Func(name string) *Func {
	if i := slices.IndexFunc(p.Funcs, func(f Func) bool { return f.Name == name }); i >= 0 {
		return &p.Funcs[i]
	}
	return nil
}

// Method finds a method of a type that the folder declares.
func (p *Package) Method(of, name string) *Func {
	for i := range p.Methods[of] {
		if p.Methods[of][i].Name == name {
			return &p.Methods[of][i]
		}
	}
	return nil
}
