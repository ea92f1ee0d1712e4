package function

import (
	"cmp"
	"path"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/function"
)

// bare finds a file that is a function by its name.
func (q *question) bare() (*Found, error) {
	if q.s.Handler != "" || q.s.Target != "" || q.s.Source != "" || !q.said && q.elsewhere() {
		return nil, nil
	}
	for _, file := range q.l.Bare {
		if !kit.IsFile(q.app, file) {
			continue
		}
		all := q.l.Exports(q.app, file)
		names := []string{"handler", "handle", "lambda_handler", "default"}
		if len(all) == 1 {
			names = append(names, all[0].Name)
		}
		e, ok := q.export(file, names...)
		if !strings.HasPrefix(file, "handler.") && (!ok || !takesContext(e)) {
			continue // AWS' name for a handler of its own: no other contract's
		}
		if !ok && !q.said {
			return nil, nil // a module of that name, which something else has
		}
		if !ok {
			return nil, q.notExported(file, "handler")
		}
		f := &Found{Spec: function.Spec{Target: e.Name}, Source: file, Evidence: file + ": " + e.Line}
		switch {
		case knativeShape(e):
			f.Contract, f.Health, f.Signature = function.Knative, "/health/readiness", cmp.Or(q.s.Signature, function.HTTP)
		case takesContext(e):
			f.Contract, f.Target = function.Lambda, strings.TrimSuffix(file, path.Ext(file))+"."+e.Name
		default:
			f.Contract, f.Signature = function.FunctionsFramework, cmp.Or(q.s.Signature, signatureOf(e))
		}
		return f, nil
	}
	return nil, nil
}

// foreign are files that make an app with a file of such a name more than that.
var foreign = []string{"index.html", "deno.json", "deno.jsonc", "Dockerfile", "manage.py", "config.ru", "Staticfile", "hugo.toml", "mkdocs.yml", "Cargo.toml"}

// elsewhere tells whether the app has something besides a bare function: pages, another program, or an app in another language.
func (q *question) elsewhere() bool {
	for _, f := range foreign {
		if kit.IsFile(q.app, f) {
			return true
		}
	}
	if q.l.Program(q.app) != "" {
		return true
	}
	others := map[string][]string{
		"nodejs": {"requirements.txt", "pyproject.toml", "Pipfile", "setup.py", "go.mod"},
		"python": {"package.json", "go.mod"},
		"go":     {"package.json", "requirements.txt", "pyproject.toml"},
	}[q.l.Name]
	for _, f := range others {
		if kit.IsFile(q.app, f) {
			return true
		}
	}
	return kit.OtherLanguage(q.app).Name != ""
}
