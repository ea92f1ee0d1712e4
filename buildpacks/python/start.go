package python

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// start finds out how the app starts. It is nil for an app whose Procfile says so itself.
func (b *build) start() (*libcnb.Process, error) {
	if procfile.HasWeb(b.app) {
		return nil, nil
	}
	if p := b.ownServer(); p != nil {
		return p, nil
	}
	o := b.object()
	if p := b.serve(o); p != nil {
		if o.dir != "" && o.dir != "." {
			p.WorkingDirectory = filepath.Join(b.app, o.dir)
		}
		return p, nil
	}
	procs, _ := procfile.Read(b.app)
	if len(procs) > 0 && strings.HasSuffix(b.source.kind, ".py") {
		return nil, nil // found by its Procfile, which says what runs
	}
	files := programs
	if o.protocol == own {
		files = []string{o.file}
	}
	for _, f := range files {
		if kit.IsFile(b.app, f) && !names(procs, f) {
			return b.run(f), nil
		}
	}
	if p := b.script(procs); p != nil {
		return p, nil
	}
	if p := b.installedScript(); p != nil {
		return p, nil
	}
	if len(procs) > 0 {
		return nil, nil
	}
	if strings.HasSuffix(b.source.kind, ".py") && b.source.kind != "setup.py" {
		return b.run(b.source.kind), nil
	}
	return nil, kit.Errorf("add a Procfile with a line such as web: gunicorn app:app",
		"nothing says how the app starts: no Procfile, and no app object in app.py, main.py or wsgi.py")
}

// programs are the names of files that are run where nothing says what is.
var programs = []string{"main.py", "app.py", "server.py", "run.py", "bot.py", "__main__.py"}

// serve is the installed server that fits an app object; nil if there is none.
func (b *build) serve(o appObject) *libcnb.Process {
	name, factory := strings.CutSuffix(o.name, "()")
	option := func(flag string) string {
		if factory {
			return flag
		}
		return ""
	}
	switch {
	case o.name == "":
	case o.protocol == requestHandler:
		module, class, _ := strings.Cut(o.name, ":")
		return &libcnb.Process{Type: "web", Command: "python", Arguments: []string{"-c", "from os import environ; from http.server import ThreadingHTTPServer; from " + module + " import " + class +
			"; ThreadingHTTPServer(('0.0.0.0', int(environ.get('PORT') or 8080)), " + class + ").serve_forever()"}, Direct: true}
	case o.protocol == own && b.has("sanic") && sanicMaker.MatchString(kit.Text(b.app, o.file)):
		// Its own program: what the code says of the port would hold else.
		return kit.WebLine("exec sanic " + name + option(" --factory") + ` --host 0.0.0.0 --port "${PORT:-8080}"`)
	case o.protocol == asgi && b.has("uvicorn"):
		return kit.WebLine("exec uvicorn " + name + option(" --factory") + ` --host 0.0.0.0 --port "${PORT:-8080}" --timeout-graceful-shutdown 30`)
	case o.protocol == asgi && b.has("hypercorn"):
		return kit.WebLine("exec hypercorn " + o.name + ` --bind "0.0.0.0:${PORT:-8080}"`)
	case o.protocol == asgi && b.has("daphne") && !factory:
		return kit.WebLine(`exec daphne -b 0.0.0.0 -p "${PORT:-8080}" ` + name)
	case o.protocol != own && b.has("granian") && !b.has("gunicorn"):
		return kit.WebLine("exec granian --interface " + string(o.protocol) + option(" --factory") + ` --host 0.0.0.0 --port "${PORT:-8080}" ` + name)
	case o.protocol == wsgi && b.has("waitress") && !b.has("gunicorn"):
		return kit.WebLine("exec waitress-serve" + option(" --call") + ` --listen="0.0.0.0:${PORT:-8080}" ` + name)
	case o.protocol == wsgi && b.has("gunicorn"):
		// It listens on $PORT and takes the number of workers from WEB_CONCURRENCY by itself. Its heartbeat files are in /tmp,
		// the one place that can be written, and in memory.
		return &libcnb.Process{Type: "web", Command: "gunicorn", Arguments: []string{"--worker-tmp-dir", "/tmp", "--threads", "8", "--error-logfile", "-", gunicornApp(o.name)}, Direct: true}
	}
	return nil
}

var sanicMaker = pattern.New(`(?m)^\w+\s*(?::[^=\n]+)?=\s*(?:\w+\.)?Sanic\(`)

// ownServers are packages whose own program serves the app. Where requests come is in the environment, or in the line.
var ownServers = []struct{ pkg, imports, line string }{
	{"streamlit", "streamlit", "exec streamlit run %FILE% --server.address 0.0.0.0 --server.port \"${PORT:-8080}\" --server.headless true --browser.gatherUsageStats false"},
	{"chainlit", "chainlit", "exec chainlit run %FILE% --headless --host 0.0.0.0 --port \"${PORT:-8080}\""},
	{"panel", "panel", "exec panel serve %FILE% --address 0.0.0.0 --port \"${PORT:-8080}\" --allow-websocket-origin='*'"},
	{"shiny", "shiny", "exec shiny run --host 0.0.0.0 --port \"${PORT:-8080}\" %FILE%"},
	{"marimo", "marimo", "exec marimo run %FILE% --headless --no-token --host 0.0.0.0 --port \"${PORT:-8080}\""},
	{"mesop", "mesop", "exec mesop --port \"${PORT:-8080}\" --prod %FILE%"},
}

// ownServer serves an app by the program of its framework.
func (b *build) ownServer() *libcnb.Process {
	for _, s := range ownServers {
		if !b.has(s.pkg) {
			continue
		}
		imports := pattern.New(`(?m)^\s*(?:import|from)\s+` + s.imports + `\b`)
		files := []string{s.pkg + "_app.py", "app.py", "main.py", "Home.py", "home.py", "src/" + s.pkg + "_app.py", "src/app.py", "src/main.py", "app/main.py", "app/app.py"}
		var others []string
		for _, path := range glob(b.app, "*.py") {
			others = append(others, filepath.Base(path))
		}
		for _, f := range append(files, others...) {
			if imports.MatchString(kit.Text(b.app, f)) {
				return kit.WebLine(strings.ReplaceAll(s.line, "%FILE%", shellWord(f)))
			}
		}
	}
	return nil
}

// installedScript runs the program that the app's own package installs: the only one, or the one with a usual name.
func (b *build) installedScript() *libcnb.Process {
	p := b.source.project
	var names []string
	for _, scripts := range []map[string]any{p.Project.Scripts, p.Tool.Poetry.Scripts} {
		names = append(names, slices.Collect(maps.Keys(scripts))...)
	}
	slices.Sort(names)
	name := ""
	if len(names) == 1 {
		name = names[0]
	}
	for _, n := range []string{"web", "server", "serve", "start", "app", p.Project.Name} {
		if name == "" && slices.Contains(names, n) {
			name = n
		}
	}
	if name == "" || !kit.IsFile(b.venv.Path, "bin", name) {
		return nil
	}
	return &libcnb.Process{Type: "web", Command: name, Direct: true}
}

// names tells whether a line of the Procfile runs a program: a worker's program is not the server as well.
func names(procs []procfile.Process, program string) bool {
	return slices.ContainsFunc(procs, func(p procfile.Process) bool { return p.Names(program) })
}

// script runs the only file at the root that has a block for being run, and that no line of the Procfile runs.
func (b *build) script(procs []procfile.Process) *libcnb.Process {
	var found []string
	for _, path := range glob(b.app, "*.py") {
		f := filepath.Base(path)
		if f != "setup.py" && f != "manage.py" && f != "conftest.py" && !strings.HasPrefix(f, "test_") && mainBlock.MatchString(kit.Text(path)) {
			found = append(found, f)
		}
	}
	if len(found) != 1 || names(procs, found[0]) {
		return nil
	}
	return b.run(found[0])
}

// run runs a program. Gradio has its address from the environment alone.
func (b *build) run(file string) *libcnb.Process {
	if b.has("gradio") {
		return kit.WebLine(`GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT="${PORT:-8080}" exec python ` + file)
	}
	return &libcnb.Process{Type: kit.Pick(b.isBot(file), "worker", "web"), Command: "python", Arguments: []string{file}, Direct: true}
}

// Bots ask a service for what there is to do, and take no requests.
var (
	botImport = pattern.New(`(?m)^\s*(?:from|import)\s+(?:telegram|telebot|aiogram|telethon|pyrogram|discord|disnake|nextcord|hikari|interactions|twitchio|slack_bolt\.adapter\.socket_mode|vkbottle|nio)\b`)
	listens   = pattern.New(`\bPORT\b|webhook|\b(?:run_app|TCPSite|create_server|start_server|HTTPServer)\b|\bweb\.Application\b`)
)

// isBot tells whether a program is a bot, with nothing in the app that takes requests.
func (b *build) isBot(file string) bool {
	bot := false
	for _, f := range append(b.sources(), file) {
		text := kit.Text(b.app, f)
		if protocolOf(text) != "" || listens.MatchString(text) || pageImport.MatchString(text) {
			return false
		}
		bot = bot || botImport.MatchString(text)
	}
	return bot
}

// gunicornApp is an app object as gunicorn takes it: it calls what finds an attribute of an attribute, which it does not look for itself.
func gunicornApp(name string) string {
	if module, attribute, _ := strings.Cut(name, ":"); strings.Contains(attribute, ".") {
		return `pkgutil:resolve_name("` + module + ":" + attribute + `")`
	}
	return name
}
