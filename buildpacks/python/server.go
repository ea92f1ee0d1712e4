package python

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// protocol is how an app object is called.
type protocol string

// The protocols.
const (
	wsgi protocol = "wsgi"
	asgi protocol = "asgi"
	own  protocol = "own" // the program serves by itself: it is run, not called

	requestHandler protocol = "handler" // a class of which the standard library's server makes one for each request
)

// appObject is what a server is given.
type appObject struct {
	name     string // "module:name", or "module:name()" for a factory
	protocol protocol
	file     string // the file that it is in
	known    bool   // what makes it is a framework's
	dir      string // where it runs, relative to the app; "" for the app's own folder
}

// appFiles are the modules that are looked at for an app object.
var appFiles = []string{"app.py", "main.py", "wsgi.py", "asgi.py", "application.py", "server.py", "run.py", "src/app.py", "src/main.py",
	"app/main.py", "app/app.py", "app/__init__.py", "src/app/main.py"}

// What makes an app object, by what is called: the class decides, not what is installed beside it.
var (
	asgiMaker = pattern.New(`\b(FastAPI|Starlette|Quart|Litestar|Starlite|BlackSheep|FastHTML|ASGIApp|AsyncApp|ProtocolTypeRouter|Esmerald|Ravyn|falcon\.asgi\.App|asgi\.App|get_asgi_application|WsgiToAsgi|WSGIMiddleware|NinjaExtraAPI|Xpresso|http_app|streamable_http_app|sse_app)\(`)
	wsgiMaker = pattern.New(`\b(Flask|APIFlask|OpenAPI|Eve|Bottle|default_app|falcon\.App|falcon\.API|App|API|FlaskApp|get_wsgi_application|make_wsgi_app|WSGIApp|DispatcherMiddleware|wsgifunc|Hug|Chalice)\(`)
	ownMaker  = pattern.New(`\b(web\.Application|tornado\.web\.Application|Sanic|Robyn|Japronto|Vibora|ThreadingHTTPServer|HTTPServer|Blocks|gr\.Interface|gr\.ChatInterface|Flet)\(`)
	appMaker  = pattern.New(`\b(App|API)\(`) // of several frameworks: the import decides
	dashMaker = pattern.New(`\b(Dash|DjangoDash|AppBuilder)\(`)
	fastHTML  = pattern.New(`(?m)^(app)\s*,\s*\w+(?:\s*,\s*\w+)*\s*=\s*(?:fast_app|\w+\.fast_app)\(`)

	assigned   = pattern.New(`(?m)^(app|application|api|server|asgi|asgi_app|wsgi|wsgi_app)\s*(?::[^=\n]+)?=[ \t]*([^=\s][^\n]*)`)
	appFactory = pattern.New(`(?m)^(?:async )?def (create_app|make_app|create_application|build_app|get_app)\(\s*\)|^def (create_app|make_app|create_application|build_app|get_app)\([^)\n]*=[^)\n]*\)`)
	appImport  = pattern.New(`(?m)^from \S+ import (?:.*\b)?(app|application)\b`)
	appDef     = pattern.New(`(?m)^(async )?def (app|application)\(([^)\n]*)\)`)
	mainBlock  = pattern.New(`(?m)^if\s+__name__\s*==\s*["']__main__["']\s*:`)
)

// findApp finds the app object. Its name is "" for none. It looks once: what an object speaks may take the reading of all the app's files.
func (b *build) findApp() appObject {
	if b.found == nil {
		o := b.lookForApp()
		b.found = &o
	}
	return *b.found
}

func (b *build) lookForApp() appObject {
	for _, f := range appFiles {
		if o, ok := b.objectOf(f); ok {
			return o
		}
	}
	// Else the only file that has one: of those at the root, then of the packages there.
	for _, patterns := range [][]string{{"*.py"}, {"*/main.py", "*/app.py", "*/wsgi.py", "*/asgi.py", "*/server.py"}, {"*/__init__.py", "src/*/main.py", "src/*/app.py", "src/*/__init__.py"}} {
		var found []appObject
		for _, p := range patterns {
			for _, path := range glob(b.app, p) {
				f, err := filepath.Rel(b.app, path)
				if err != nil || notApp.MatchString(f) {
					continue
				}
				if o, ok := b.objectOf(f); ok && (o.known || strings.Contains(f, "/wsgi.py") || strings.Contains(f, "/asgi.py")) {
					found = append(found, o)
				}
			}
		}
		if len(found) == 1 {
			return found[0]
		}
	}
	if !kit.IsFile(b.app, "package.json") { // else it answers behind pages, which are the app
		if o, ok := b.objectOf(functionFile); ok {
			return o
		}
	}
	return appObject{}
}

// functionFile is where Vercel looks for a function.
const functionFile = "api/index.py"

var handlerClass = pattern.New(`(?m)^class ([hH]andler)\([^)\n]*BaseHTTPRequestHandler\)`)

// handlerIn finds the class by which such a function answers where it has no app object.
func handlerIn(text string) (appObject, bool) {
	m := handlerClass.FindStringSubmatch(text)
	if m == nil {
		return appObject{}, false
	}
	return appObject{name: m[1], protocol: requestHandler, known: true}, true
}

// notApp are files that have an object of their own, or none.
var notApp = pattern.New(`^(?:setup|conftest|manage|noxfile|fabfile)\.py$|(?:^|/)(?:test_[^/]*|[^/]*_test)\.py$|^(?:tests?|docs|examples?|scripts|venv|env|node_modules)/`)

// objectOf finds the app object of a file.
func (b *build) objectOf(f string) (appObject, bool) {
	text := kit.Text(b.app, f)
	if text == "" {
		return appObject{}, false
	}
	o, ok := b.objectIn(text)
	if !ok && f == functionFile {
		o, ok = handlerIn(text)
	}
	if !ok {
		return o, false
	}
	o.dir = b.startFolder(f, text)
	name := strings.TrimSuffix(f, ".py")
	if o.dir != "" {
		name = strings.TrimPrefix(name, o.dir+"/")
	} else if !kit.IsFile(b.app, "src", "__init__.py") && !relativeImport.MatchString(text) {
		name = strings.TrimPrefix(name, "src/") // which is in PYTHONPATH
	}
	o.name = strings.ReplaceAll(strings.TrimSuffix(name, "/__init__"), "/", ".") + ":" + o.name
	o.file = f
	return o, true
}

var (
	imported       = pattern.New(`(?m)^[ \t]*(?:from[ \t]+(\w+)[\w.]*[ \t]+import\b|import[ \t]+(\w+))`)
	relativeImport = pattern.New(`(?m)^[ \t]*from[ \t]+\.`)
)

// startFolder is the folder of a program that imports the files beside it as if it were started there: "cd app && uvicorn main:app". "" for others, which
// are started in the app's own folder.
func (b *build) startFolder(f, text string) string {
	dir := filepath.Dir(f)
	if dir == "." || relativeImport.MatchString(text) {
		return ""
	}
	there := func(elem ...string) bool {
		at := filepath.Join(elem...)
		return kit.IsFile(b.app, at+".py") || kit.IsDir(b.app, at)
	}
	for _, m := range imported.FindAllStringSubmatch(text, -1) {
		if name := m[1] + m[2]; there(dir, name) && !there(name) && (kit.IsFile(b.app, "src", "__init__.py") || !there("src", name)) {
			return dir
		}
	}
	return ""
}

// objectIn finds the app object that a file makes or imports.
func (b *build) objectIn(text string) (appObject, bool) {
	if m := fastHTML.FindStringSubmatch(text); m != nil {
		return appObject{name: m[1], protocol: asgi, known: true}, true
	}
	all := assigned.FindAllStringSubmatch(text, -1)
	var unknown string
	for _, m := range all {
		switch made, known := b.madeBy(m[2], text); {
		case known && made == wsgi && dashMaker.MatchString(m[2]):
			return appObject{name: m[1] + ".server", protocol: wsgi, known: true}, true
		case known:
			return appObject{name: m[1], protocol: made, known: true}, true
		case unknown == "" && m[1] != "api" && !strings.HasPrefix(m[2], `"`):
			unknown = m[1]
		}
	}
	if m := appDef.FindStringSubmatch(text); m != nil {
		p := wsgi
		if strings.Count(m[3], ",") == 2 || m[1] != "" {
			p = asgi // app(scope, receive, send)
		}
		return appObject{name: m[2], protocol: p}, true
	}
	if unknown == "" {
		if m := appImport.FindStringSubmatch(text); m != nil {
			unknown = m[1]
		}
	}
	if m := appFactory.FindStringSubmatch(text); unknown == "" && m != nil {
		// A factory that makes a framework's object itself is as good as that.
		made := asgiMaker.MatchString(text) || wsgiMaker.MatchString(text)
		return appObject{name: m[1] + m[2] + "()", protocol: b.imported(text), known: made}, true
	}
	if unknown == "" {
		return appObject{}, false
	}
	return appObject{name: unknown, protocol: b.imported(text)}, true
}

// madeBy tells what protocol the object speaks that an expression makes.
func (b *build) madeBy(expression, text string) (protocol, bool) {
	switch {
	case ownMaker.MatchString(expression) && !strings.Contains(expression, "wsgi"):
		if strings.Contains(text, "import web\n") && strings.Contains(text, ".wsgifunc(") { // web.py
			return wsgi, true
		}
		return own, true
	case dashMaker.MatchString(expression):
		return wsgi, true
	case asgiMaker.MatchString(expression):
		return asgi, true
	case appMaker.MatchString(expression):
		return b.imported(text), true
	case wsgiMaker.MatchString(expression):
		return wsgi, true
	}
	return "", false
}

// Frameworks by what is imported.
var (
	asgiImport = pattern.New(`(?m)^\s*(?:from|import)\s+(?:fastapi|starlette|quart|litestar|blacksheep|fasthtml|falcon\.asgi|connexion\.AsyncApp|channels)\b`)
	wsgiImport = pattern.New(`(?m)^\s*(?:from|import)\s+(?:flask|django|bottle|falcon|pyramid|apiflask|dash|werkzeug|webob|cherrypy|pecan|connexion|chalice)\b`)
	ownImport  = pattern.New(`(?m)^\s*(?:from|import)\s+(?:aiohttp|tornado|sanic|robyn|gradio|nicegui|flet|http\.server)\b`)
)

// imported tells what protocol an object speaks that a file has from elsewhere: by the frameworks that this file imports, then by those of
// all the app's files. Both, or neither: WSGI, which most speak.
func (b *build) imported(text string) protocol {
	if p := protocolOf(text); p != "" {
		return p
	}
	var all strings.Builder
	for _, f := range b.sources() {
		all.WriteString(kit.Text(b.app, f))
		all.WriteByte('\n')
	}
	if p := protocolOf(all.String()); p != "" {
		return p
	}
	return wsgi
}

func protocolOf(text string) protocol {
	a, w, o := asgiImport.MatchString(text), wsgiImport.MatchString(text), ownImport.MatchString(text)
	switch {
	case w:
		return wsgi
	case a:
		return asgi
	case o:
		return own
	}
	return ""
}

// maxSources bounds the files that are looked at for what they import.
const maxSources = 200

// sources lists the app's own Python files, without tests and what tools put there.
func (b *build) sources() (files []string) {
	skip := []string{"node_modules", "tests", "test", "docs", "migrations", "venv", "env", "__pycache__", "site-packages"}
	_ = filepath.WalkDir(b.app, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // what cannot be read imports nothing
		case d.IsDir() && path != b.app && (strings.HasPrefix(d.Name(), ".") || slices.Contains(skip, d.Name())):
			return fs.SkipDir
		case len(files) == maxSources:
			return fs.SkipAll
		case d.Type().IsRegular() && strings.HasSuffix(path, ".py"):
			if rel, err := filepath.Rel(b.app, path); err == nil {
				files = append(files, rel)
			}
		}
		return nil
	})
	return files
}

// addServer installs a server when the app has none: gunicorn for WSGI, uvicorn for ASGI.
func (b *build) addServer() error {
	var server string
	switch b.object().protocol {
	case asgi:
		server = "uvicorn"
	case wsgi:
		server = "gunicorn"
	}
	if procfile.HasWeb(b.app) {
		return b.addNamedServer()
	}
	if b.function != nil { // its library has one
		return nil
	}
	if server == "" || b.has(server) {
		return nil
	}
	if server == "uvicorn" && slices.ContainsFunc([]string{"hypercorn", "daphne", "granian"}, b.has) {
		return nil
	}
	if server == "gunicorn" && slices.ContainsFunc([]string{"waitress", "granian"}, b.has) {
		return nil
	}
	if err := b.pip("uv pip install "+server+" (the app names no server)", server); err != nil {
		return err
	}
	names, err := b.freeze()
	b.names = names
	return err
}

// servers are the programs that serve an app, and their packages.
var servers = map[string]string{"gunicorn": "gunicorn", "uvicorn": "uvicorn", "hypercorn": "hypercorn", "daphne": "daphne", "granian": "granian", "waitress-serve": "waitress"}

// namedServer is the package of the server that a line of the Procfile starts by its name; "" for none.
func (b *build) namedServer() string {
	procs, _ := procfile.Read(b.app) // a malformed one fails in its own buildpack
	for _, p := range procs {
		words := strings.Fields(p.Command)
		for i, w := range words {
			if pkg := servers[w]; pkg != "" && (i == 0 || !strings.HasPrefix(words[i-1], "-")) {
				return pkg
			}
			if !strings.Contains(w, "=") && w != "exec" && w != "run" && !slices.Contains(runners, w) && w != "uv" {
				break
			}
		}
	}
	return ""
}

// addNamedServer installs the server that the Procfile starts, where no file lists it.
func (b *build) addNamedServer() error {
	pkg := b.namedServer()
	if pkg == "" || b.has(pkg) {
		return nil
	}
	if err := b.pip("uv pip install "+pkg+" (the Procfile starts it, and "+b.source.kind+" does not list it)", pkg); err != nil {
		return err
	}
	names, err := b.freeze()
	b.names = names
	return err
}

// object is the app object that is served: Django's, where the app is one.
func (b *build) object() appObject {
	if b.isDjango() {
		if o := b.djangoApp(); o.name != "" {
			return o
		}
	}
	return b.findApp()
}
