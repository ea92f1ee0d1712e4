package node

import (
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

func TestPortable(t *testing.T) {
	for line, want := range map[string]string{
		`set NODE_ENV=production&& node .\server.js`:    "NODE_ENV=production node ./server.js",
		`SET A=1 && set B=2 && node src\lib\app.js --x`: "A=1 B=2 node src/lib/app.js --x",
		`node server.js "a\b"`:                          `node server.js "a\b"`,
		`pm2 start ecosystem.config.js`:                 "pm2-runtime start ecosystem.config.js",
		`NODE_ENV=production pm2 start app.js -i max`:   "NODE_ENV=production pm2-runtime start app.js -i max",
		`forever start app.js`:                          "forever app.js",
		`pm2-runtime app.js`:                            "pm2-runtime app.js",
	} {
		if got := portable(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// TestCompiles: an app that starts what the compiler of TypeScript makes is built by it, where no script does.
func TestCompiles(t *testing.T) {
	config := `{"compilerOptions": {"outDir": "./dist"}}`
	for name, tt := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"the start script": {map[string]string{"tsconfig.json": config, "package.json": `{"scripts":{"start":"NODE_ENV=production node --enable-source-maps dist/index.js"},"devDependencies":{"typescript":"5"}}`}, true},
		"main":             {map[string]string{"tsconfig.json": config, "package.json": `{"main":"dist/index.js","devDependencies":{"typescript":"5"}}`}, true},
		"a build script":   {map[string]string{"tsconfig.json": config, "package.json": `{"scripts":{"build":"tsc -p .","start":"node dist/index.js"},"devDependencies":{"typescript":"5"}}`}, false},
		"it is there":      {map[string]string{"tsconfig.json": config, "dist/index.js": "", "package.json": `{"scripts":{"start":"node dist/index"},"devDependencies":{"typescript":"5"}}`}, false},
		"another folder":   {map[string]string{"tsconfig.json": config, "package.json": `{"scripts":{"start":"node server.js"},"devDependencies":{"typescript":"5"}}`}, false},
	} {
		p, err := ReadPackage(bptest.Tree(t, tt.files))
		if err != nil || (p.impliedBuild() == "tsc") != tt.want {
			t.Errorf("%s: %q %v", name, p.impliedBuild(), err)
		}
	}
}

func TestIsBot(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"a bot":                {map[string]string{"package.json": `{"dependencies":{"discord.js":"14"}}`, "index.js": "client.login()\n", "node_modules/a/a.js": "createServer()"}, true},
		"one with a page":      {map[string]string{"package.json": `{"dependencies":{"discord.js":"14"}}`, "src/page.ts": "http.createServer(f)\n"}, false},
		"one that is called":   {map[string]string{"package.json": `{"dependencies":{"grammy":"1","express":"5"}}`}, false},
		"something else":       {map[string]string{"package.json": `{"dependencies":{"ms":"2"}}`}, false},
		"one with a dashboard": {map[string]string{"package.json": `{"dependencies":{"telegraf":"4"}}`, "bot.mjs": "const port = process.env.PORT\n"}, false},
	} {
		app := bptest.Tree(t, tt.files)
		p, err := ReadPackage(app)
		if err != nil || p.isBot(app) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
