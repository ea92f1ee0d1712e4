package node

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// TestBuildKinds: kinds of apps that people write, with the real package managers. Each says how it starts, and what a line prints in its folder.
func TestBuildKinds(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		start string // words of the process web joined by |
		run   string // node -e
		want  string
	}{
		{"a build that calls another package manager, in a folder", map[string]string{
			"package.json":        `{"scripts":{"build":"cd client && yarn install && yarn build","start":"node server.js"},"dependencies":{"ms":"2.1.3"}}`,
			"client/package.json": `{"name":"client","version":"1.0.0","scripts":{"build":"node -e \"require('fs').writeFileSync('out.txt','x')\""}}`, "client/yarn.lock": "", "server.js": "",
		}, "node|server.js", "require('fs').readFileSync('client/out.txt')+require('ms')('2h')", "x7200000"},
		{"a build that installs the packages once more, and those of a folder", map[string]string{
			"package.json":        `{"scripts":{"build":"npm install && npm install --prefix client && npm run build --prefix client","start":"node server.js"},"dependencies":{"ms":"2.1.3"},"devDependencies":{"semver":"7.6.3"}}`,
			"client/package.json": `{"name":"client","version":"1.0.0","scripts":{"build":"node -e \"require('fs').writeFileSync('out.txt','x')\""}}`, "server.js": "",
		}, "node|server.js", "require('fs').readFileSync('client/out.txt')+require('ms')('2h')+require('fs').existsSync('node_modules/semver')", "x7200000false"},
		{"a server that a framework leaves", map[string]string{
			"package.json": `{"scripts":{"build":"node make.js"},"dependencies":{"ms":"2.1.3"}}`,
			"make.js":      "const fs = require('fs'); fs.mkdirSync('.output/server', {recursive: true}); fs.writeFileSync('.output/server/index.mjs', '')",
		}, "node|.output/server/index.mjs", "require('ms')('1h')", "3600000"},
		{"a build that writes among the packages", map[string]string{
			"package.json": `{"scripts":{"build":"node make.js","start":"node server.js"},"dependencies":{"ms":"2.1.3"},"devDependencies":{"semver":"7.6.3"}}`,
			"make.js":      "const fs = require('fs'); fs.mkdirSync('node_modules/.client'); fs.writeFileSync('node_modules/.client/index.js', 'module.exports = 7')", "server.js": "",
		}, "node|server.js", "require('./node_modules/.client') + ' ' + require('ms')('1h') + ' ' + require('fs').existsSync('node_modules/semver')", "7 3600000 false"},
		{"started by a package for development", map[string]string{
			"package.json": `{"scripts":{"start":"semver 1.2.3"},"devDependencies":{"semver":"7.6.3"}}`, "server.js": "",
		}, "semver|1.2.3", "require('fs').existsSync('node_modules/semver')", "true"},
		{"a package that is compiled, with the headers of the Node.js that is there", map[string]string{
			"package.json": `{"scripts":{"start":"node server.js"},"dependencies":{"unix-dgram":"2.0.6"}}`, "server.js": "", ".npmrc": "disturl=http://127.0.0.1:9/\n",
		}, "node|server.js", "typeof require('unix-dgram').createSocket", "function"},
		{"scripts of an installation, which write among the packages and beside them", map[string]string{
			"package.json": `{"scripts":{"preinstall":"node -e \"require('fs').appendFileSync('log','1')\"","postinstall":"node -e \"require('fs').appendFileSync('log','2');require('fs').writeFileSync('node_modules/ms/made','3')\"","prepare":"node -e \"require('fs').appendFileSync('log',require('semver').valid('4.0.0'))\"","start":"node server.js"},"dependencies":{"ms":"2.1.3"},"devDependencies":{"semver":"7.6.3"}}`, "server.js": "",
		}, "node|server.js", "require('fs').readFileSync('log')+' '+require('fs').readFileSync('node_modules/ms/made')+require('fs').existsSync('node_modules/semver')", "124.0.0 3false"},
		{"CI is not set in the build", map[string]string{
			"package.json": `{"scripts":{"build":"node -e \"require('fs').writeFileSync('ci', String(process.env.CI))\"","start":"node server.js"}}`, "server.js": "",
		}, "node|server.js", "require('fs').readFileSync('ci', 'utf8')", "undefined"},
		{"yarn 3, which cannot leave the development packages out", map[string]string{
			"package.json": `{"name":"y","packageManager":"yarn@3.8.7","scripts":{"start":"node server.js"},"dependencies":{"ms":"2.1.3"},"devDependencies":{"semver":"7.6.3"}}`, "server.js": "",
		}, "node|server.js", "require('ms')('2h')", "7200000"},
		{"Nuxt, whose modules look for files beside the packages, and where those really are", map[string]string{
			"package.json": `{"scripts":{"build":"node make.js","start":"node server.js"},"dependencies":{"nuxt":"npm:ms@2.1.3"}}`, "server.js": "",
			"make.js": "const fs = require('fs'); fs.writeFileSync('made', fs.realpathSync('node_modules/nuxt') == process.cwd() + '/node_modules/nuxt' ? 'beside' : 'elsewhere')",
		}, "node|server.js", "require('fs').readFileSync('made') + require('nuxt')('1h')", "beside3600000"},
		{"a Procfile that calls yarn", map[string]string{
			"package.json": `{"scripts":{"start":"node server.js"},"dependencies":{"ms":"2.1.3"}}`, "server.js": "", "Procfile": "web: yarn start\n",
		}, "node|server.js", "require('child_process').execSync('PATH=$PWD/../layers/node/bin:$PATH yarn --version') + require('ms')('1h')", "1.22.22\n3600000"},
		{"bun, with its own server", map[string]string{
			"package.json": `{"packageManager":"bun@1.3.5","module":"index.ts","dependencies":{"ms":"2.1.3"},"devDependencies":{"semver":"7.6.3"}}`, "index.ts": "export default { port: 1, fetch: () => new Response('x') }",
		}, "bun|run|index.ts", "require('ms')('1h') + require('child_process').execSync('../layers/node/bin/bun --version')", "36000001.3.5"},
		{"a committed node_modules", map[string]string{
			"package.json": `{"scripts":{"start":"node server.js"},"dependencies":{"ms":"2.1.3"}}`, "server.js": "", "node_modules/ms/package.json": `{"version":"0.0.1"}`,
		}, "node|server.js", "require('ms')('1h')", "3600000"},
		{"SvelteKit with the adapter of another platform", map[string]string{
			"package.json":     `{"type":"module","scripts":{"build":"node make.js"},"devDependencies":{"@sveltejs/kit":"file:kit"}}`,
			"kit/package.json": `{"name":"@sveltejs/kit","version":"2.9.0"}`, "svelte.config.js": "import adapter from '@sveltejs/adapter-vercel';\nexport default { kit: { adapter: adapter({ runtime: 'edge' }) } };\n",
			"make.js": "import fs from 'node:fs'; const { default: c } = await import('./svelte.config.js'); fs.mkdirSync('build'); fs.writeFileSync('build/index.js', ''); fs.writeFileSync('build/handler.js', c.kit.adapter.name)",
		}, "node|build", "require('fs').readFileSync('build/handler.js', 'utf8')", "@sveltejs/adapter-node"},
		{"SvelteKit with an adapter that finds no platform", map[string]string{
			"package.json":     `{"type":"module","scripts":{"build":"node make.js"},"devDependencies":{"@sveltejs/kit":"file:kit","@sveltejs/adapter-auto":"2.1.1"}}`,
			"kit/package.json": `{"name":"@sveltejs/kit","version":"1.30.4"}`, "svelte.config.js": "import adapter from '@sveltejs/adapter-auto';\nexport default { kit: { adapter: adapter() } };\n",
			"make.js": "import fs from 'node:fs'; const { default: c } = await import('./svelte.config.js'); fs.mkdirSync('build'); fs.writeFileSync('build/index.js', ''); fs.writeFileSync('build/handler.js', c.kit.adapter.name)",
		}, "node|build", "require('fs').readFileSync('build/handler.js', 'utf8')", "@sveltejs/adapter-node"},
		{"Astro with the adapter of another platform", map[string]string{
			"package.json":       `{"type":"module","scripts":{"build":"node make.js","start":"astro dev"},"dependencies":{"astro":"file:astro"}}`,
			"astro/package.json": `{"name":"astro","version":"5.18.0","type":"module","exports":{"./errors":"./errors.js"}}`, "astro/errors.js": "export class AstroError extends Error {}",
			"astro.config.mjs": "import vercel from '@astrojs/vercel';\nexport default { output: 'server', adapter: vercel() };\n",
			"make.js": `import fs from 'node:fs'; const { default: c } = await import("./astro.config.mjs"); fs.mkdirSync('dist/server', { recursive: true });
c.adapter.hooks['astro:config:done']({ config: { build: {}, server: {} }, setAdapter: (a) => fs.writeFileSync('dist/server/entry.mjs', a.name + ' ' + a.args.mode + ' ' + fs.existsSync(a.serverEntrypoint)) });`,
		}, "node|dist/server/entry.mjs", "require.resolve(process.cwd() + '/dist/server/node_modules/send') && require('fs').readFileSync('dist/server/entry.mjs', 'utf8') + require('fs').existsSync('dist/server/node_modules/astro')", "@astrojs/node standalone truefalse"},
		{"a preset of another platform", map[string]string{
			"package.json": `{"scripts":{"build":"node make.js"},"dependencies":{"nitropack":"file:nitropack"}}`, "nitropack/package.json": `{"name":"nitropack","version":"2.0.0"}`,
			"nitro.config.ts": "export default defineNitroConfig({\n  // preset: 'static',\n  preset: 'vercel-edge',\n})\n",
			"make.js":         "const fs = require('fs'); fs.mkdirSync('.output/server', {recursive: true}); fs.writeFileSync('.output/server/index.mjs', process.env.SERVER_PRESET)",
		}, "node|.output/server/index.mjs", "require('fs').readFileSync('.output/server/index.mjs', 'utf8')", "node-server"},
		{"a pnpm workspace", map[string]string{
			"package.json":              `{"name":"mono","private":true,"packageManager":"pnpm@9.15.4","scripts":{"build":"pnpm -r build","start":"node apps/web/server.js"},"devDependencies":{"semver":"7.6.3"}}`,
			"pnpm-workspace.yaml":       "packages:\n  - apps/*\n  - packages/*\n",
			"apps/web/package.json":     `{"name":"web","version":"1.0.0","private":true,"scripts":{"build":"node -e \"require('fs').writeFileSync('built.txt','yes')\""},"dependencies":{"ms":"2.1.3","lib":"workspace:*"}}`,
			"apps/web/server.js":        "console.log(require('ms')('1h'), require('lib'), require('fs').readFileSync(__dirname + '/built.txt', 'utf8'))",
			"packages/lib/package.json": `{"name":"lib","version":"1.0.0","main":"index.js"}`, "packages/lib/index.js": "module.exports = 'lib'",
		}, "node|apps/web/server.js", "require('child_process').execSync('node apps/web/server.js').toString().trim()", "3600000 lib yes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, out := tools(t)
			r := bptest.New(t, catalog.NodeJS)
			client(t, r)
			built, err := r.Build(b, tt.files)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			web := built.Processes["web"]
			if got := strings.Join(append([]string{web.Command}, web.Arguments...), "|"); got != tt.start {
				t.Errorf("starts by %q, want %q", got, tt.start)
			}
			c := exec.Command(b.Root+"/bin/node", "-p", tt.run)
			c.Dir = r.App
			if got, err := c.CombinedOutput(); err != nil || strings.TrimSpace(string(got)) != tt.want {
				t.Errorf("%s: %q %v, want %q\n%s", tt.run, got, err, tt.want, out)
			}
		})
	}
}
