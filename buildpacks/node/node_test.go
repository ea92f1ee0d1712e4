package node

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// tools returns the buildpack with the Node.js of this machine.
func tools(t *testing.T) (Buildpack, *bytes.Buffer) {
	t.Helper()
	exe, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("these tests need Node.js and npm: %v", err)
	}
	if exe, err = filepath.EvalSymlinks(exe); err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	return Buildpack{Root: filepath.Dir(filepath.Dir(exe)), Out: out}, out
}

// client takes over this machine's configuration of npm, as the platform would hand it in.
func client(t *testing.T, r *bptest.Run) {
	t.Helper()
	for _, k := range []string{"registry", "cafile"} {
		v, err := exec.Command("npm", "config", "get", k).Output()
		if s := strings.TrimSpace(string(v)); err == nil && s != "" && s != "null" {
			r.Env["npm_config_"+k] = s
		}
	}
}

func TestDetect(t *testing.T) {
	tests := []struct {
		name   string
		files  map[string]string
		passed bool
		out    string
		err    string
	}{
		{"npm", map[string]string{"package.json": `{"engines":{"node":"22.x"}}`, "package-lock.json": "{}"}, true, "Node.js (package.json, npm lock file, node 22.x)", ""},
		{"yarn", map[string]string{"package.json": `{}`, "yarn.lock": ""}, true, "Node.js (package.json, yarn lock file, any node)", ""},
		{"pnpm", map[string]string{"package.json": `{}`, "pnpm-lock.yaml": "", ".nvmrc": "v20\n"}, true, "Node.js (package.json, pnpm lock file, node v20)", ""},
		{"none", map[string]string{"package.json": "\ufeff{}"}, true, "Node.js (package.json, no lock file, any node)", ""},
		{"nothing", map[string]string{"go.mod": ""}, false, "package.json", ""},
		{"tools of a Python app", map[string]string{"package.json": `{"scripts":{"build":"tailwind"}}`, "requirements.txt": ""}, false, "package.json with a start script", ""},
		{"a Procfile of Python with tools", map[string]string{"package.json": `{"devDependencies":{"prettier":"3"}}`, "requirements.txt": "", "Procfile": "web: gunicorn app:app\n"}, false, "package.json with a start script", ""},
		{"PHP with assets", map[string]string{"package.json": `{"scripts":{"build":"vite build"}}`, "composer.json": "{}"}, false, "package.json with a start script", ""},
		{"Rails with assets", map[string]string{"package.json": `{"scripts":{"build":"esbuild"}}`, "Gemfile": "", "Procfile": "web: bundle exec puma\n"}, false, "package.json with a start script", ""},
		{"no package.json", map[string]string{"server.js": ""}, true, "Node.js (server.js, any node)", ""},
		{"a script of plain pages", map[string]string{"app.js": "", "index.html": ""}, false, "package.json", ""},
		{"volta", map[string]string{"package.json": `{"volta":{"node":"22.1.0"}}`}, true, "Node.js (package.json, no lock file, node 22.1.0)", ""},
		{"mise", map[string]string{"package.json": `{}`, "mise.toml": "[tools]\nnode = \"22\"\n"}, true, "Node.js (package.json, no lock file, node 22)", ""},
		{"asdf", map[string]string{"package.json": `{}`, ".tool-versions": "ruby 3.3\nnodejs 20.1.0 # x\n"}, true, "Node.js (package.json, no lock file, node 20.1.0)", ""},
		{"nvm with a comment", map[string]string{"package.json": `{}`, ".nvmrc": "# LTS\nlts/*\n"}, true, "Node.js (package.json, no lock file, any node)", ""},
		{"tools of plain pages", map[string]string{"package.json": `{}`, "index.html": ""}, false, "package.json with a start or build script", ""},
		{"malformed", map[string]string{"package.json": "{\n\"a\": 1,\n}"}, false, "", "package.json is not valid JSON, line 3: invalid character '}' looking for beginning of object key string; correct it and push again"},
		{"wrong type", map[string]string{"package.json": `{"scripts": []}`}, false, "", "package.json is malformed: scripts must not be a JSON array; correct it and push again"},
		{"bad engine", map[string]string{"package.json": `{"engines":{"node":"new"}}`}, false, "", `engines in package.json asks for Node.js "new", which is not a range of versions; write a range such as 22.x`},
		{"packageManager against a lock file", map[string]string{"package.json": `{"packageManager":"pnpm@9.1.0"}`, "yarn.lock": ""}, true, "Node.js (package.json, pnpm, no lock file, any node)", ""},
		{"packageManager of no version", map[string]string{"package.json": `{"packageManager":"pnpm"}`, "pnpm-lock.yaml": ""}, true, "Node.js (package.json, pnpm lock file, any node)", ""},
		{"an unknown packageManager", map[string]string{"package.json": `{"packageManager":"cnpm@9"}`}, false, "", `packageManager in package.json is "cnpm@9", which is not npm, yarn, pnpm or bun with a version; write it as pnpm@9.15.0`},
		{"bun", map[string]string{"package.json": `{}`, "bun.lock": ""}, true, "Bun (package.json, bun.lock)", ""},
		{"UTF-16", map[string]string{"package.json": "\xff\xfe{\x00}\x00"}, true, "Node.js (package.json, no lock file, any node)", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := &bytes.Buffer{}
			passed, err := bptest.New(t, catalog.NodeJS).Detect(Buildpack{Out: out}, tt.files)
			got, msg := strings.TrimSpace(out.String()), ""
			got = strings.TrimPrefix(strings.TrimPrefix(got, "gitd-detect: "), "gitd-looked-for: ")
			if err != nil {
				msg = kit.Line(err)
			}
			if passed != tt.passed || got != tt.out || msg != tt.err {
				t.Errorf("got %v %q %q, want %v %q %q", passed, got, msg, tt.passed, tt.out, tt.err)
			}
		})
	}
}

func TestKindAndStart(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		kind  Kind
		start string // words joined by |
	}{
		{"start", map[string]string{"package.json": `{"scripts":{"start":"node server.js --x 'a b'"}}`}, Server, "node|server.js|--x|a b"},
		{"start with a variable", map[string]string{"package.json": `{"scripts":{"start":"next start -p $PORT"}}`}, Server, "bash|-c|exec next start -p $PORT"},
		{"start calls a script", map[string]string{"package.json": `{"scripts":{"start":"npm run serve","serve":"node a.js"}}`}, Server, "node|a.js"},
		{"start calls itself", map[string]string{"package.json": `{"scripts":{"start":"npm run start"}}`}, Server, "npm|run|start"},
		{"prestart", map[string]string{"package.json": `{"scripts":{"prestart":"x","start":"node a.js"}}`}, Server, "bash|-c|(x) && exec node a.js"},
		{"prestart that is the build", map[string]string{"package.json": `{"scripts":{"prestart":"npm run build","build":"tsc","start":"node a.js"}}`}, Server, "node|a.js"},
		{"prestart that does what the build does", map[string]string{"package.json": `{"scripts":{"compile":"tsc","gcp-build":"npm run compile","prestart":"npm run compile","start":"functions-framework --source=build"}}`}, Server, "functions-framework|--source=build"},
		{"prestart that does more than the build", map[string]string{"package.json": `{"scripts":{"build":"tsc","prestart":"npm run build && node migrate","start":"node a.js"}}`}, Server, "bash|-c|(npm run build && node migrate) && exec node a.js"},
		{"prestart before a list", map[string]string{"package.json": `{"scripts":{"prestart":"x","start":"node m.js && node a.js"}}`}, Server, "bash|-c|(x) && { node m.js && node a.js\n}"},
		{"prestart before a variable", map[string]string{"package.json": `{"scripts":{"prestart":"x","start":"NODE_ENV=production node a.js"}}`}, Server, "bash|-c|(x) && { NODE_ENV=production node a.js\n}"},
		{"start runs dev", map[string]string{"package.json": `{"scripts":{"dev":"vite","build":"vite build","start":"npm run dev"}}`}, Site, ""},
		{"a development server behind cross-env", map[string]string{"package.json": `{"scripts":{"build":"vite build","start":"cross-env-shell vite --port $PORT"}}`}, Site, ""},
		{"a development server behind variables and npx", map[string]string{"package.json": `{"scripts":{"build":"x","start":"HOST=0.0.0.0 npx react-scripts start"}}`}, Site, ""},
		{"docusaurus", map[string]string{"package.json": `{"scripts":{"build":"docusaurus build","start":"docusaurus start"}}`}, Site, ""},
		{"a program that is called like one", map[string]string{"package.json": `{"scripts":{"build":"x","start":"vitepress-server --port 1"}}`}, Server, "vitepress-server|--port|1"},
		{"next dev", map[string]string{"package.json": `{"scripts":{"build":"next build","start":"next dev"}}`}, Server, "next|start"},
		{"expo", map[string]string{"package.json": `{"main":"expo-router/entry","dependencies":{"expo":"56","expo-router":"56"},"scripts":{"build":"expo export --platform web","start":"expo start"}}`}, Site, ""},
		{"expo without a build script", map[string]string{"package.json": `{"main":"node_modules/expo/AppEntry.js","dependencies":{"expo":"52"},"scripts":{"start":"expo start"}}`}, Site, ""},
		{"next with an export", map[string]string{"package.json": `{"dependencies":{"next":"15"},"scripts":{"build":"next build","start":"next start"}}`, "next.config.mjs": "export default {\n  output: 'export',\n}\n"}, Site, ""},
		{"a server that Nitro built", map[string]string{"package.json": `{}`, ".output/server/index.mjs": ""}, Neither, "node|.output/server/index.mjs"},
		{"a server that SvelteKit built", map[string]string{"package.json": `{}`, "build/index.js": "", "build/handler.js": ""}, Neither, "node|build"},
		{"what TanStack Start built", map[string]string{"package.json": `{"dependencies":{"@tanstack/react-start":"1"}}`, "dist/server/server.js": "", "dist/client/a.js": ""}, Neither,
			"bash|-c|s=node_modules/srvx; [ -e $s ] || s=node_modules/.pnpm/node_modules/srvx; exec node $s/bin/srvx.mjs --prod -s ../client dist/server/server.js"},
		{"one of several members", map[string]string{"package.json": `{"workspaces":["apps/*"]}`, "apps/docs/package.json": `{"scripts":{"start":"next start -p 3001"}}`, "apps/web/package.json": `{"scripts":{"build":"x","start":"node server.js"}}`}, Server,
			`bash|-c|cd 'apps/web' && PATH="$PWD/node_modules/.bin:$PATH" && exec node server.js`},
		{"several members", map[string]string{"package.json": `{"workspaces":["apps/*"]}`, "apps/a/package.json": `{"scripts":{"start":"node a.js"}}`, "apps/b/package.json": `{"scripts":{"start":"node b.js"}}`}, Neither, "error"},
		{"what Nx built of a server", map[string]string{"package.json": `{"devDependencies":{"nx":"1"}}`, "nx.json": "{}", "dist/apps/api/main.js": "", "apps/api/src/main.ts": ""}, Site,
			`bash|-c|cd 'dist/apps/api' && PATH="$PWD/node_modules/.bin:$PATH" && exec node main.js`},
		{"what Nx built of Next.js", map[string]string{"package.json": `{"dependencies":{"next":"16"},"devDependencies":{"nx":"1"}}`, "nx.json": "{}", "apps/web/.next/BUILD_ID": ""}, Site,
			`bash|-c|cd 'apps/web' && PATH="$PWD/node_modules/.bin:$PATH" && exec next start`},
		{"a development server of Nx", map[string]string{"package.json": `{"scripts":{"build":"nx build","start":"nx serve"}}`}, Site, ""},
		{"a main that is no program", map[string]string{"package.json": `{"main":"package.json","scripts":{"start":"sanity start","build":"sanity build"}}`}, Site, ""},
		{"a development server that another script starts", map[string]string{"package.json": `{"scripts":{"dev":"umi dev","start":"npm run dev","build":"umi build"}}`}, Site, ""},
		{"React Router with bundles for a platform", map[string]string{"package.json": `{"scripts":{"build":"react-router build","start":"react-router-serve ./build/server/index.js"}}`, "build/server/nodejs_x/index.js": ""}, Server, "react-router-serve|./build/server/nodejs_x/index.js"},
		{"next with a port", map[string]string{"package.json": `{"scripts":{"build":"next build","start":"next start -p 3000"}}`}, Server, "bash|-c|exec next start -p $PORT"},
		{"serve with a port, behind npx", map[string]string{"package.json": `{"scripts":{"start":"npx serve -s dist --listen=5000 --no-clipboard"}}`}, Server, "bash|-c|exec npx serve -s dist --listen=$PORT --no-clipboard"},
		{"a program of the app with a port", map[string]string{"package.json": `{"scripts":{"start":"node server.js --port 3000"}}`}, Server, "node|server.js|--port|3000"},
		{"Qwik with a server", map[string]string{"package.json": `{"scripts":{"build":"qwik build","start":"vite --open --mode ssr"}}`, "server/entry.express.js": ""}, Site, "node|server/entry.express.js"},
		{"pages with an index.js", map[string]string{"package.json": `{}`, "build/index.js": "", "build/index.html": ""}, Neither, "error"},
		{"nest", map[string]string{"package.json": `{"scripts":{"build":"nest build","start":"nest start","start:prod":"node dist/main"}}`}, Server, "node|dist/main"},
		{"next without a start script", map[string]string{"package.json": `{"scripts":{"build":"next build"},"dependencies":{"next":"15"}}`}, Server, "next|start"},
		{"a framework without scripts", map[string]string{"package.json": `{"dependencies":{"@11ty/eleventy":"3"}}`}, Site, "error"},
		{"an app that was built into a folder of its own", map[string]string{"package.json": `{"scripts":{"build":"node ace build","start":"node bin/server.js"}}`, "build/bin/server.js": ""}, Server, "bash|-c|cd build && exec node bin/server.js"},
		{"next, standalone", map[string]string{"package.json": `{"dependencies":{"next":"15"},"scripts":{"build":"next build","start":"next start"}}`, ".next/standalone/server.js": ""}, Server, "bash|-c|HOSTNAME=0.0.0.0 exec node .next/standalone/server.js"},
		{"the only member with a start script", map[string]string{"package.json": `{"workspaces":["apps/*"],"scripts":{"build":"turbo build"}}`, "apps/web/package.json": `{"scripts":{"start":"node server.js"}}`, "apps/docs/package.json": `{"scripts":{"build":"vite build","start":"vite"}}`},
			Server, `bash|-c|cd 'apps/web' && PATH="$PWD/node_modules/.bin:$PATH" && exec node server.js`},
		{"a Procfile of another language", map[string]string{"package.json": `{"scripts":{"build":"tailwind"}}`, "Procfile": "web: PORT=1 exec bundle exec puma\n"}, Site, ""},
		{"main", map[string]string{"package.json": `{"main":"lib/a.js"}`, "lib/a.js": "", "server.js": ""}, Server, "node|lib/a.js"},
		{"server.js", map[string]string{"package.json": `{"main":"gone.js"}`, "server.js": ""}, Server, "node|server.js"},
		{"site", map[string]string{"package.json": `{"scripts":{"build":"vite build"}}`}, Site, ""},
		{"site with a development server", map[string]string{"package.json": `{"scripts":{"build":"react-scripts build","start":"react-scripts start"}}`}, Site, ""},
		{"typescript", map[string]string{"package.json": `{"main":"dist/index.js","scripts":{"build":"tsc"}}`, "dist/index.js": ""}, Server, "node|dist/index.js"},
		{"procfile", map[string]string{"package.json": `{"scripts":{"build":"tsc"}}`, "Procfile": "web: node x.js\n"}, Server, ""},
		{"nothing", map[string]string{"package.json": `{}`}, Neither, "error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := bptest.New(t, catalog.NodeJS)
			if _, err := r.Detect(Buildpack{Out: &bytes.Buffer{}}, tt.files); err != nil {
				t.Fatal(err)
			}
			p, err := ReadPackage(r.App)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.KindOf(r.App); got != tt.kind {
				t.Errorf("kind %d, want %d", got, tt.kind)
			}
			if tt.kind == Site && tt.start == "" {
				return
			}
			b := &build{Buildpack: Buildpack{Out: &bytes.Buffer{}}, app: r.App, root: r.App, pkg: p, rootPkg: p}
			proc, err := b.start()
			got := ""
			if proc != nil {
				got = strings.Join(append([]string{proc.Command}, proc.Arguments...), "|")
			}
			if err != nil {
				got = "error"
			}
			if got != tt.start {
				t.Errorf("start %q, want %q (%v)", got, tt.start, err)
			}
		})
	}
}

func TestWantedVersion(t *testing.T) {
	tests := []struct {
		engine, nvmrc string
		yes, no       []string
	}{
		{"", "", []string{"22.1.0", "24.0.0"}, nil},
		{">=18 <21", "", []string{"18.0.0", "20.9.0"}, []string{"21.0.0"}},
		{"^20.5 || >=22", "", []string{"20.5.0", "23.0.0"}, []string{"20.4.9", "21.0.0"}},
		{"20.x", "22", []string{"20.9.0"}, []string{"22.0.0"}},
		{"", "lts/jod", []string{"22.9.0"}, []string{"20.0.0"}},
		{"", "v20.11.1", []string{"20.11.1"}, []string{"20.11.2"}},
		{"", "lts/*", []string{"24.0.0"}, nil},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		if tt.nvmrc != "" {
			if err := os.WriteFile(filepath.Join(dir, ".nvmrc"), []byte(tt.nvmrc+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		w, err := wantedVersion(dir, &Package{Engines: []byte(`{"node":"` + tt.engine + `"}`)})
		if err != nil {
			t.Errorf("%q %q: %v", tt.engine, tt.nvmrc, err)
			continue
		}
		for _, v := range tt.yes {
			if !w.allows(v) {
				t.Errorf("%q %q refuses %s", tt.engine, tt.nvmrc, v)
			}
		}
		for _, v := range tt.no {
			if w.allows(v) {
				t.Errorf("%q %q allows %s", tt.engine, tt.nvmrc, v)
			}
		}
	}
}

func TestLockPackages(t *testing.T) {
	tests := []struct{ kind, lock, want string }{
		{"npm", `{"packages":{"":{},"node_modules/a":{"version":"1.0.0"},"node_modules/a/node_modules/@b/c":{"version":"2.0.0"},"node_modules/d":{"version":"3.0.0","dev":true}}}`, "@b/c@2.0.0 a@1.0.0"},
		{"yarn", "# yarn lockfile v1\n\n\n\"@b/c@^2.0.0\":\n  version \"2.0.0\"\n\na@^1, a@^1.0.0:\n  version \"1.0.0\"\n", "@b/c@2.0.0 a@1.0.0"},
		{"berry", "\n__metadata:\n  version: 8\n\n\"@b/c@npm:^2.0.0\":\n  version: 2.0.0\n\n\"a@npm:1\":\n  version: 1.0.0\n", "@b/c@2.0.0 a@1.0.0"},
		{"pnpm", "lockfileVersion: '9.0'\n\npackages:\n\n  '@b/c@2.0.0':\n    resolution: {}\n\n  a@1.0.0:\n    resolution: {}\n\nsnapshots:\n\n  z@1.0.0: {}\n", "@b/c@2.0.0 a@1.0.0"},
	}
	for _, tt := range tests {
		var got []string
		for _, p := range lockPackages(tt.kind, tt.lock) {
			got = append(got, p.Name+"@"+p.Version)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.kind, got, tt.want)
		}
	}
}

// TestBuildExample: the Express example is installed and answers; a changed line installs nothing and makes no new layer.
func TestBuildExample(t *testing.T) {
	b, out := tools(t)
	r := bptest.New(t, catalog.NodeJS)
	client(t, r)
	built, err := r.BuildDir(b, exampleDir(t))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	web := built.Processes["web"]
	if web.Command != "node" || !slices.Equal(web.Arguments, []string{"server.js"}) || !web.Direct || !web.Default {
		t.Errorf("web is %+v", web)
	}
	port := freePort(t)
	get := bptest.Serve(t, r, exec.Command(filepath.Join(r.Layers, "node/bin/node"), "server.js"), port)
	if got := get("/"); got != "hello from Node.js, v1\n" {
		t.Errorf("the app says %q", got)
	}
	if sbom, err := os.ReadFile(filepath.Join(r.Layers, "modules.sbom.cdx.json")); err != nil || !bytes.Contains(sbom, []byte("pkg:npm/express@4.")) {
		t.Errorf("bill of materials: %s %v", sbom, err)
	}
	out.Reset()
	if _, err := r.BuildDir(b, exampleDir(t)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !r.Reused("modules") || !r.Reused("node") || !strings.Contains(out.String(), "Using cached dependencies") || strings.Contains(out.String(), "npm ci") {
		t.Errorf("not reused:\n%s", out)
	}
	if got, _ := os.Readlink(filepath.Join(r.App, "node_modules")); got != filepath.Join(r.Layers, "modules/node_modules") {
		t.Errorf("node_modules leads to %q", got)
	}
}

func exampleDir(t *testing.T) string {
	t.Helper()
	// The harness changes the working directory: it is found by this package's folder, once.
	return filepath.Join(packageDir, "../../examples/node")
}

var packageDir = func() string { d, _ := os.Getwd(); return d }()

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// TestBuildScript: the script runs with the packages for development there, fails with its own words, and a site leaves its output only.
func TestBuildScript(t *testing.T) {
	b, out := tools(t)
	r := bptest.New(t, catalog.NodeJS)
	client(t, r)
	const lock = `{"name":"a","lockfileVersion":3,"requires":true,"packages":{"":{"name":"a"}}}`
	files := map[string]string{"package.json": `{"name":"a","scripts":{"build":"node build.js"}}`, "package-lock.json": lock,
		"build.js": `require('fs').mkdirSync('dist'); require('fs').writeFileSync('dist/index.html', process.env.NODE_ENV)`}
	built, err := r.Build(b, files)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := kit.Text(r.App, "dist/index.html"); got != "production" || len(built.Processes) != 0 {
		t.Errorf("output %q, processes %v", got, built.Processes)
	}
	files["build.js"] = "nonsense("
	_, err = r.Build(b, files)
	if err == nil || kit.Line(err) != "npm run build failed (exit status 1)" || !strings.Contains(out.String(), "SyntaxError") {
		t.Errorf("error %v\n%s", err, out)
	}
}

// TestLockMismatch: npm says what does not fit, and we what to do.
func TestLockMismatch(t *testing.T) {
	b, out := tools(t)
	r := bptest.New(t, catalog.NodeJS)
	client(t, r)
	_, err := r.Build(b, map[string]string{"package.json": `{"name":"a","dependencies":{"express":"4"},"scripts":{"start":"node a.js"}}`, "a.js": "",
		"package-lock.json": `{"name":"a","lockfileVersion":3,"packages":{"":{"name":"a"}}}`})
	if err == nil || !strings.HasPrefix(kit.Line(err), "package-lock.json does not fit package.json: it lacks ") {
		t.Errorf("error %v\n%s", err, out)
	}
}

func TestNPMVersion(t *testing.T) {
	for node, want := range map[string]string{"24.1.0": "", "22.9.0": "", "22.8.0": "10", "21.7.3": "10", "20.17.0": "", "20.9.0": "10", "20.3.0": "9", "18.20.0": "10", "18.2.0": "9", "17.9.1": "8", "16.20.0": "9", "16.5.0": "8",
		"15.14.0": "7", "14.21.0": "9", "14.10.0": "6", "13.14.0": "6", "12.22.0": "6", "11.15.0": "6", "10.24.1": "6", "8.17.0": "6", "6.17.1": "6", "5.12.0": "4", "4.9.1": "4"} {
		if got, err := npmVersion(node); err != nil || got != want {
			t.Errorf("Node.js %s: npm %q %v, want %q", node, got, err, want)
		}
	}
	if _, err := npmVersion("0.12.18"); err == nil {
		t.Error("Node.js 0.12 has an npm")
	}
}

// TestRunsDevelopment: what starts the app stays, also where it is listed for development.
func TestRunsDevelopment(t *testing.T) {
	tests := []struct{ pkg, procfile, want string }{
		{`{"scripts":{"start":"nest start"},"devDependencies":{"@nestjs/cli":"1","typescript":"5"}}`, "", "@nestjs/cli"},
		{`{"scripts":{"start":"node dist/main"},"devDependencies":{"@nestjs/cli":"1"}}`, "", ""},
		{`{"scripts":{"start":"cross-env A=1 node x.js"},"devDependencies":{"cross-env":"7"}}`, "", "cross-env"},
		{`{"scripts":{"start":"npm run serve","serve":"tsx src/x.ts"},"devDependencies":{"tsx":"4"}}`, "", "tsx"},
		{`{"scripts":{"start":"npm run a && npm run b","a":"knex migrate:latest","b":"node x.js"},"devDependencies":{"knex":"4"}}`, "", "knex"},
		{`{"scripts":{"start":"tsx x.ts"},"dependencies":{"tsx":"4"},"devDependencies":{"tsx":"4"}}`, "", ""},
		{`{"scripts":{"build":"tsc","start":"node x.js"},"devDependencies":{"typescript":"5"}}`, "release: npx prisma migrate deploy\n", ""},
		{`{"devDependencies":{"prisma":"5"}}`, "release: npx prisma migrate deploy\nweb: node x.js\n", "prisma"},
	}
	for _, tt := range tests {
		r := bptest.New(t, catalog.NodeJS)
		files := map[string]string{"package.json": tt.pkg}
		if tt.procfile != "" {
			files["Procfile"] = tt.procfile
		}
		if _, err := r.Detect(Buildpack{Out: &bytes.Buffer{}}, files); err != nil {
			t.Fatal(err)
		}
		p, err := ReadPackage(r.App)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.runsDevelopment(r.App); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.pkg, tt.procfile, got, tt.want)
		}
	}
}

// TestCertificates: an old Node.js reads no variable for certificate authorities, its npm a setting.
func TestCertificates(t *testing.T) {
	for version, want := range map[string]string{"4.2.5": "/ca.pem", "6.17.1": "/ca.pem", "8.0.0": "", "10.24.1": "", "24.1.0": ""} {
		env := kit.Env{"SSL_CERT_FILE": "/ca.pem"}
		if (nodeJS{version: version}).certificates(env); env["npm_config_cafile"] != want {
			t.Errorf("Node.js %s: %q, want %q", version, env["npm_config_cafile"], want)
		}
	}
}
