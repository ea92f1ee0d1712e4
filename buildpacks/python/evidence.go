package python

import (
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

// pythonCommand is a program of Python's packages that a Procfile, or a script that it names, starts.
var pythonCommand = pattern.New(`(?m)(?:^|[\s;&|(/'"])(?:python[0-9.]*|gunicorn|uvicorn|hypercorn|daphne|granian|waitress-serve|uwsgi|flask|fastapi|django-admin|manage\.py|celery|rq|huey_consumer|dramatiq|arq|streamlit|chainlit|panel|uv|poetry|pipenv|pdm)(?:$|[\s;&|)'"])`)

// starts says what starts a Python program in the app: a file, or a line of the Procfile. "" for nothing: then the files of requirements may be those of
// tools, in an app of another language.
func starts(app string, s source) string {
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	foreign := false
	for _, p := range procs {
		if pythonCommand.MatchString(p.Command) || namesPython(app, p.Command) {
			return procfile.Name
		}
		foreign = foreign || p.Type == "web" && kit.ForeignCommand(p.Command)
	}
	if foreign {
		return "" // another language's program has the web
	}
	return program(app, s)
}

// program says which file of the app starts a Python program, or names one; "" for none.
func program(app string, s source) string {
	b := &build{app: app, source: s}
	if dir := b.manageDir(); dir != "" {
		return filepath.Join(dir, "manage.py")
	}
	if o := b.findApp(); o.name != "" {
		return o.file
	}
	for _, f := range programs {
		if kit.IsFile(app, f) {
			return f
		}
	}
	for _, path := range glob(app, "*.py") {
		f := filepath.Base(path)
		if text := kit.Text(path); !notApp.MatchString(f) && (mainBlock.MatchString(text) || ownImport.MatchString(text) || pageImport.MatchString(text)) {
			return f
		}
	}
	if len(s.project.Project.Scripts)+len(s.project.Tool.Poetry.Scripts) > 0 {
		return "pyproject.toml"
	}
	return ""
}

// Takes tells whether the app is one of Python.
func Takes(app string) bool {
	s, err := findSource(app)
	if err != nil || s.kind == "" {
		return err != nil
	}
	return otherApp(app, s) == "" || starts(app, s) != ""
}

// pageImport is that of a framework whose own program runs the app's files.
var pageImport = pattern.New(`(?m)^\s*(?:from|import)\s+(?:streamlit|chainlit|panel|shiny|mesop|marimo)\b`)

// namesPython tells whether a command names a file of the app that starts Python: a program, or a shell script that says so.
func namesPython(app, command string) bool {
	for w := range strings.FieldsSeq(command) {
		w = strings.Trim(w, `"'`)
		if !filepath.IsLocal(w) || !kit.IsFile(app, w) {
			continue
		}
		if strings.HasSuffix(w, ".py") || pythonCommand.MatchString(kit.Text(app, w)) {
			return true
		}
	}
	return false
}

// pages are the folders whose index.html is a site that can be served as it is.
var pages = []string{".", "public", "dist", "docs", "_site", "site"}

// serves tells whether the app's code uses a framework, though nothing says how it starts: then its author is told that, and no pages that lie beside it
// are taken for the app. A library that is for a framework may have pages.
func serves(app string, s source) bool {
	if s.project.packaged() || s.kind == "setup.py" {
		return false
	}
	b := &build{app: app}
	for _, f := range b.sources() {
		if !notApp.MatchString(f) && protocolOf(kit.Text(app, f)) != "" {
			return true
		}
	}
	return false
}

// otherApp names the file that makes an app without anything to start in Python one of another kind; "" for none.
func otherApp(app string, s source) string {
	if l := kit.OtherLanguage(app); l.Name != "" {
		return l.File
	}
	for _, f := range []string{"config.ru", "Staticfile", "static.json", "hugo.toml", "hugo.yaml", "book.toml", "_config.yml"} {
		if kit.IsFile(app, f) {
			return f
		}
	}
	for _, d := range pages {
		if kit.IsFile(app, d, "index.html") && !serves(app, s) {
			return filepath.Join(d, "index.html")
		}
	}
	return ""
}
