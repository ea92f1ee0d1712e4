package node

import (
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// start finds out how the app starts: the start script, run as npm would but without npm; else main, else a file with one of
// the usual names. It is nil for an app whose Procfile says so itself.
func (b *build) start() (*libcnb.Process, error) {
	if s := b.pkg.startScript(); s != "" {
		s = b.pkg.follow(s)
		if pre := strings.TrimSpace(b.pkg.Scripts["prestart"]); pre != "" {
			line := procfile.ShellLine(s)
			if line == s { // not one command that exec could take: a list, or variables before it
				line = "{ " + s + "\n}"
			}
			return &libcnb.Process{Type: "web", Command: "bash", Arguments: []string{"-c", "(" + pre + ") && " + line}, Direct: true}, nil
		}
		p := procfile.Start("web", s)
		return &p, nil
	}
	if p := builtServer(b.app); p != nil {
		return p, nil
	}
	files := serverFiles
	if b.pkg.Main != "" {
		files = append([]string{b.pkg.Main, b.pkg.Main + ".js", strings.TrimSuffix(b.pkg.Main, "/") + "/index.js"}, files...)
	}
	for _, f := range files {
		if kit.IsFile(b.app, f) {
			return &libcnb.Process{Type: "web", Command: "node", Arguments: []string{f}, Direct: true}, nil
		}
	}
	procs, err := procfile.Read(b.app)
	if err != nil || len(procs) > 0 {
		return nil, nil // its own buildpack tells what is wrong with it
	}
	return nil, kit.Errorf(`add "start": "node server.js" to the scripts in package.json`,
		"nothing says how the app starts: no start script, no main, no server.js, index.js or app.js, no Procfile")
}

// builtServers are the servers that frameworks leave when they have built an app: what is there is started.
var builtServers = []struct{ file, argument string }{
	{".output/server/index.mjs", ".output/server/index.mjs"}, // Nitro: Nuxt, TanStack Start, SolidStart, Analog
	{"build/handler.js", "build"},                            // SvelteKit with adapter-node: index.js beside it is the server
	{"dist/server/entry.mjs", "dist/server/entry.mjs"},       // Astro with its adapter for Node.js
	{"dist/server/server.mjs", "dist/server/server.mjs"},     // Angular, one project
}

// builtServer is the process of the server that a framework built; nil for none.
func builtServer(app string) *libcnb.Process {
	for _, s := range builtServers {
		if kit.IsFile(app, s.file) {
			return nodeServer(s.argument)
		}
	}
	if kit.IsFile(app, "build/index.js") && !kit.IsFile(app, "build/index.html") { // an adapter's; a site has pages
		return nodeServer("build/index.js")
	}
	if found, _ := filepath.Glob(filepath.Join(app, "dist/*/server/server.mjs")); len(found) == 1 { // a constant pattern: cannot fail
		if rel, err := filepath.Rel(app, found[0]); err == nil {
			return nodeServer(rel)
		}
	}
	return nil
}

// BuiltServer tells whether the build has left a server: such an app is not a static site.
func BuiltServer(app string) bool { return builtServer(app) != nil }

// nodeServer listens on all addresses: some frameworks' servers take localhost unless HOST says otherwise.
func nodeServer(file string) *libcnb.Process {
	return &libcnb.Process{Type: "web", Command: "/bin/sh", Arguments: []string{"-c", "HOST=0.0.0.0 exec node " + file}, Direct: true}
}
