package node

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

// developmentScripts are what people call the script that starts an app on their computer.
var developmentScripts = []string{"dev", "start:dev", "develop", "server", "serve", "dev:server"}

// interpreters run a program of the app's own: what they are given is the server, which the servers of tools for development are not.
var interpreters = pattern.New(`^(?:node|ts-node|ts-node-esm|tsx|babel-node|swc-node|esno|esmo)(?: |$)`)

// usualPrograms are where a server is whose package.json says nothing of it.
var usualPrograms = []string{"src/server.js", "src/index.js", "src/app.js", "src/main.js", "src/server.mjs", "src/index.mjs", "server/index.js", "server/server.js", "server/app.js", "lib/server.js", "bin/www"}

// developed is the line that starts an app which nothing says how to start, for production: what its script for development runs, without what watches
// files, else the program with a usual name that takes requests. "" for other apps.
func (p *Package) developed(app string) string {
	handler, ofNode := p.handlerFile(app) // one of Node.js' may be what a program in another file serves
	if p.startScript() != "" || procfile.HasWeb(app) || p.usesBun(app) || handler != "" && !ofNode {
		return ""
	}
	if p.mainProgram() != "" && p.Main != handler && (kit.IsFile(app, p.Main) || p.HasBuild() && p.Main != "index.js") ||
		slices.ContainsFunc(serverFiles, func(f string) bool { return kit.IsFile(app, f) && f != handler }) {
		return ""
	}
	if file, _ := p.elsewhereOnly(app); file != "" || kit.OtherLanguage(app).Name != "" || kit.Manifest(app, catalog.NodeJS) != "" {
		return "" // what such scripts run are tools
	}
	framework := slices.ContainsFunc(servers, func(n string) bool { return p.Dependencies[n] != "" })
	serves := !p.HasBuild() && !kit.IsFile(app, "index.html") || framework // else a site
	for _, runs := range []func(app, file string) bool{p.makes, runs} {
		for _, name := range slices.Concat(productionScripts, developmentScripts) {
			line := p.follow(p.unwatched(strings.TrimSpace(p.Scripts[name])))
			if program := programOf(line); serves && interpreters.MatchString(program) && slices.ContainsFunc(strings.Fields(program)[1:], func(w string) bool {
				return filepath.IsLocal(w) && runs(app, w) && (framework || listens.MatchString(kit.Text(app, w)))
			}) {
				return line
			}
		}
	}
	for _, f := range usualPrograms {
		if text := kit.Text(app, f); serves && (f == "bin/www" && text != "" || listens.MatchString(text)) {
			return "node " + f
		}
	}
	return ""
}

// runs tells whether a word of a command is a file of the app.
func runs(app, word string) bool {
	return kit.IsFile(app, word) || kit.IsFile(app, word+".js") || kit.IsFile(app, word, "index.js")
}

// makes tells whether it is a file that the build is to make.
func (p *Package) makes(app, word string) bool {
	return p.HasBuild() && built.MatchString(word) && !kit.Exists(app, word)
}

var (
	built  = pattern.New(`^(?:\./)?(?:dist|build|out|lib)/`)
	source = pattern.New(`(?:^| )(?:\./)?((?:src/)?)([\w./-]+)\.m?ts(?: |$)`)
)

// developedStart says what starts an app without a start script, and takes what the build has compiled in place of sources that are translated while they
// run. Other lines stay as they are.
func (b *build) developedStart(line string) string {
	if line != b.pkg.dev {
		return line
	}
	dir, file := outDir.FindStringSubmatch(kit.Text(b.app, "tsconfig.json")), source.FindStringSubmatch(programOf(line))
	if dir != nil && file != nil {
		for _, f := range []string{filepath.Join(dir[1], file[2]+".js"), filepath.Join(dir[1], file[1], file[2]+".js")} {
			if kit.IsFile(b.app, f) {
				line = "node " + f
				break
			}
		}
	}
	kit.Say(b.Out, "package.json has no start script: the app is started by %s", line)
	return line
}
