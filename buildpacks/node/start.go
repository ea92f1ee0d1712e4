package node

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// start finds out how the app starts: the start script, run as npm would but without npm; else main, else a file with one of
// the usual names. It is nil for an app whose Procfile says so itself.
func (b *build) start() (*libcnb.Process, error) {
	if file, err := b.standalone(); err != nil {
		return nil, err
	} else if s := programOf(b.pkg.follow(b.pkg.startScript())); file != "" && (s == "" || s == "." || s == "next start" || strings.HasPrefix(s, "next start ")) {
		// It listens on what HOSTNAME says, which is the container's name elsewhere.
		return &libcnb.Process{Type: "web", Command: "bash", Arguments: []string{"-c", "HOSTNAME=0.0.0.0 exec node " + kit.Pick(plain.MatchString(file), file, kit.Quote(file))}, Direct: true}, nil
	}
	if s := b.pkg.startScript(); s != "" {
		s = b.withoutEnvFile(b.withPort(b.inBuildFolder(portable(b.pkg.follow(b.developedStart(s))))))
		if pre := b.pkg.prestart(); pre != "" {
			line := procfile.ShellLine(s)
			if line == s { // not one command that exec could take: a list, or variables before it
				line = "{ " + s + "\n}"
			}
			return &libcnb.Process{Type: "web", Command: "bash", Arguments: []string{"-c", "(" + pre + ") && " + line}, Direct: true}, nil
		}
		p := procfile.Start("web", s)
		return &p, nil
	}
	if p := ownServer(b.app); p != nil {
		return p, nil
	}
	if b.pkg.Main == "" || !kit.IsFile(b.app, b.pkg.Main) {
		if err := b.tellMember(); err != nil {
			return nil, err
		}
	}
	if dir, s := b.pkg.memberStart(b.app); s != "" {
		p := inFolder(dir, s)
		return &p, nil
	}
	if p := builtServer(b.app); p != nil {
		return p, nil
	}
	if b.startsByBun() {
		return &libcnb.Process{Type: "web", Command: "bun", Arguments: []string{"run", b.pkg.bunFile(b.app)}, Direct: true}, nil
	}
	files := serverFiles
	if b.pkg.mainProgram() != "" {
		files = append([]string{b.pkg.Main, b.pkg.Main + ".js", strings.TrimSuffix(b.pkg.Main, "/") + "/index.js"}, files...)
	}
	for _, f := range files {
		if kit.IsFile(b.app, f) {
			b.tellFunction(f)
			return &libcnb.Process{Type: "web", Command: "node", Arguments: []string{f}, Direct: true}, nil
		}
	}
	procs, err := procfile.Read(b.app)
	if err != nil || len(procs) > 0 {
		return nil, nil // its own buildpack tells what is wrong with it
	}
	next := `add "start": "node server.js" to the scripts in package.json`
	if file, how := b.pkg.elsewhereOnly(b.app); file != "" {
		return nil, kit.Errorf(how, "nothing starts the app by Node.js: it is written for Cloudflare (%s)", file)
	}
	if dirs := startable(b.app); len(dirs) > 0 {
		next = fmt.Sprintf("take the app in a folder by project.toml: [io.gitd.build] app-dir = %q; or ", dirs[0]) + next
	}
	return nil, kit.Errorf(next, "nothing says how the app starts: no start script, no main, no server.js, index.js or app.js, no Procfile")
}

// tellFunction warns of a file that is started and may be a function.
func (b *build) tellFunction(file string) {
	if hint := perhapsFunction(b.app, file); hint != "" {
		kit.Say(b.Out, "Warning: %s", hint)
	}
}

// startable are the folders of the app, one below the root, whose package.json has a start script.
func startable(app string) (dirs []string) {
	found, _ := filepath.Glob(filepath.Join(app, "*", "package.json")) // a constant pattern: cannot fail
	for _, f := range found {
		dir := filepath.Dir(f)
		if p, err := ReadPackage(dir); err == nil && p.Scripts["start"] != "" && filepath.Base(dir) != "node_modules" {
			dirs = append(dirs, filepath.Base(dir))
		}
	}
	return dirs
}

// startsByBun tells whether bun runs the app's file: nothing else says how it starts.
func (b *build) startsByBun() bool {
	if b.tool.kind != "bun" || b.pkg.startScript() != "" || builtServer(b.app) != nil || b.pkg.bunFile(b.app) == "" {
		return false
	}
	_, ofNode := b.pkg.handlerFile(b.app)
	return !ofNode // bun serves what has a method fetch, and no other
}

// builtServers are the servers that frameworks leave when they have built an app: what is there is started.
var builtServers = []struct{ file, argument string }{
	{".output/server/index.mjs", ".output/server/index.mjs"}, // Nitro: Nuxt, TanStack Start, SolidStart, Analog
	{"build/handler.js", "build"},                            // SvelteKit with adapter-node: index.js beside it is the server
	{astroServer, astroServer},                               // Astro with its adapter for Node.js
	{"dist/server/server.mjs", "dist/server/server.mjs"},     // Angular, one project
	{"server/entry.express.js", "server/entry.express.js"},   // Qwik with its adapters
	{"server/entry.fastify.js", "server/entry.fastify.js"},
	{"server/entry.node-server.js", "server/entry.node-server.js"},
}

// builtServer is the process of the server that a framework built, in the app or in one member of its workspace; nil for none, and for several.
func builtServer(app string) *libcnb.Process {
	if p := ownServer(app); p != nil {
		return p
	}
	if m, ok := preferred(memberServers(app)); ok {
		p := inFolder(m.dir, m.line)
		return &p
	}
	return nil
}

// ownServer is that of one folder.
func ownServer(app string) *libcnb.Process {
	for _, s := range builtServers {
		if kit.IsFile(app, s.file) {
			return nodeServer(s.argument)
		}
	}
	if fetchHandler(app) {
		// srvx comes with the framework; pnpm keeps it in a folder of its own.
		line := "s=node_modules/srvx; [ -e $s ] || s=node_modules/.pnpm/node_modules/srvx; exec node $s/bin/srvx.mjs --prod -s ../client dist/server/server.js"
		return &libcnb.Process{Type: "web", Command: "bash", Arguments: []string{"-c", line}, Direct: true}
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

// memberServers are the servers that were built in the members of a workspace, and where Nx puts what it builds.
func memberServers(root string) (found []started) {
	p, err := ReadPackage(root)
	if err != nil {
		return nil
	}
	dirs := p.members(root)
	nx := kit.IsFile(root, "nx.json")
	if nx {
		for _, pattern := range []string{"apps/*", "dist/apps/*", "dist/*"} {
			some, _ := filepath.Glob(filepath.Join(root, pattern)) // a constant pattern: cannot fail
			for _, dir := range some {
				if rel, err := filepath.Rel(root, dir); err == nil && kit.IsDir(dir) && !slices.Contains(dirs, rel) {
					dirs = append(dirs, rel)
				}
			}
		}
	}
	for _, dir := range dirs {
		at := filepath.Join(root, dir)
		s := ownServer(at)
		switch {
		case s != nil:
		case kit.IsFile(at, ".next/BUILD_ID") && !kit.IsFile(at, "out/index.html"):
			s = &libcnb.Process{Command: "next", Arguments: []string{"start"}}
		case nx && kit.IsFile(at, "main.js") && !kit.IsFile(at, "index.html"):
			s = nodeServer("main.js")
		case nx && kit.IsFile(at, "dist/main.js") && !kit.IsFile(at, "dist/index.html"):
			s = nodeServer("dist/main.js")
		default:
			continue
		}
		line := strings.Join(append([]string{s.Command}, s.Arguments...), " ")
		if s.Command == "bash" {
			line = s.Arguments[1]
		}
		found = append(found, started{dir, line})
	}
	return found
}

// inFolder runs a line in a folder of the app, with the programs of its packages.
func inFolder(dir, line string) libcnb.Process {
	return libcnb.Process{Type: "web", Command: "bash", Arguments: []string{"-c", "cd " + kit.Quote(dir) + ` && PATH="$PWD/node_modules/.bin:$PATH" && ` + procfile.ShellLine(line)}, Direct: true}
}

// fetchHandler tells whether TanStack Start has left a handler of requests, without a server around it.
func fetchHandler(app string) bool {
	if !kit.IsFile(app, "dist/server/server.js") || !kit.IsDir(app, "dist/client") {
		return false
	}
	p, err := ReadPackage(app)
	return err == nil && p.has("@tanstack/react-start", "@tanstack/solid-start", "@tanstack/vue-start")
}

// BuiltServer tells whether the build has left a server: such an app is not a static site.
func BuiltServer(app string) bool { return builtServer(app) != nil }

func nodeServer(file string) *libcnb.Process {
	return &libcnb.Process{Type: "web", Command: "node", Arguments: []string{file}, Direct: true}
}

var (
	plain = pattern.New(`^[\w./-]+$`)
	// fixedPort finds a port in the command of a server of a tool, which has an option for it.
	fixedPort = pattern.New(`^((?:next start|serve|http-server|nuxt start|nuxi preview|json-server|sirv|servor|waku start|vinxi start|fastify start)(?: [^|&;]*?)?? (?:-p|--port|-l|--listen)(?: |=))(?:tcp://0\.0\.0\.0:)?([0-9]{2,5})( .*)?$`)
)

// withPort makes a server of a tool listen on the port that it is given, where its command names another.
func (b *build) withPort(line string) string {
	program := programOf(line)
	m := fixedPort.FindStringSubmatch(program)
	if m == nil || !strings.HasSuffix(line, program) {
		return line
	}
	kit.Say(b.Out, "The start script names the port %s: it listens on $PORT instead", m[2])
	return strings.TrimSuffix(line, program) + m[1] + "$PORT" + m[3]
}

// envFile finds the option by which Node.js reads variables from a file, and ends where there is none.
var envFile = pattern.New(`--env-file[= ]"?([\w./-]+)"? ?`)

// withoutEnvFile leaves out a file of variables that the repository does not have: what is in it comes from the app's settings here.
func (b *build) withoutEnvFile(line string) string {
	for _, m := range envFile.FindAllStringSubmatch(line, 8) {
		if !kit.Exists(b.app, m[1]) {
			kit.Say(b.Out, "The start script reads variables from %s, which is not in the repository: it starts without", m[1])
			line = strings.Replace(line, m[0], "", 1)
		}
	}
	return line
}

// inBuildFolder runs a program where the build has put it: AdonisJS and others make an app of its own in build.
func (b *build) inBuildFolder(line string) string {
	words := strings.Fields(line)
	// React Router and Remix put each bundle of a server into a folder of its own, where their presets for platforms divide it.
	if at := slices.IndexFunc(words, func(w string) bool { return strings.HasSuffix(w, "build/server/index.js") }); at >= 0 && filepath.IsLocal(words[at]) && !kit.Exists(b.app, words[at]) {
		if found, _ := filepath.Glob(filepath.Join(b.app, "build/server/*/index.js")); len(found) == 1 { // a constant pattern: cannot fail
			return strings.Replace(line, words[at], "./build/server/"+filepath.Base(filepath.Dir(found[0]))+"/index.js", 1)
		}
	}
	if len(words) < 2 || words[0] != "node" || !filepath.IsLocal(words[1]) || !strings.Contains(words[1], ".") {
		return line
	}
	if !kit.Exists(b.app, words[1]) && kit.IsFile(b.app, "build", words[1]) {
		return "cd build && exec " + line
	}
	return line
}

// standalone completes the server that Next.js makes for output: standalone, which lacks the pages' files by design, and returns its file; "" where there
// is none. In a workspace it has the place below .next/standalone that the app has in the workspace.
func (b *build) standalone() (string, error) {
	rel, err := filepath.Rel(b.root, b.app)
	if err != nil {
		return "", err
	}
	base := filepath.Join(".next/standalone", rel)
	if !kit.IsFile(b.app, base, "server.js") {
		base = ".next/standalone"
	}
	if !b.pkg.has("next") && !b.rootPkg.has("next") || !kit.IsFile(b.app, base, "server.js") {
		return "", nil
	}
	for _, dir := range []string{"public", ".next/static"} {
		if !kit.IsDir(b.app, dir) || kit.Exists(b.app, base, dir) {
			continue
		}
		if err := kit.CopyTree(filepath.Join(b.app, dir), filepath.Join(b.app, base, dir), nil); err != nil {
			return "", err
		}
	}
	return filepath.Join(base, "server.js"), nil
}
