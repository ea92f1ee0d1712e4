package node

import (
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// Start lines that work on their author's computer and would not here.
var (
	windowsSet  = pattern.New(`^(?i:set) +([A-Za-z_][A-Za-z0-9_]*)=([^&\s"']*) *&& *`)
	windowsPath = pattern.New(`(^| )(\.{0,2}\\)?((?:[\w.-]+\\)*[\w.-]+\.[cm]?[jt]s)\b`)
	leaves      = pattern.New(`(^| )(?:pm2 (?:start|restart|startOrRestart|reload)|forever start) `)
)

// portable writes a start line as this system runs it: "set NAME=VALUE && node .\\app.js" is of Windows, and pm2 and forever would leave the program behind and
// end.
func portable(line string) string {
	variables := ""
	for m := windowsSet.FindStringSubmatch(line); m != nil; m = windowsSet.FindStringSubmatch(line) {
		variables += m[1] + "=" + m[2] + " "
		line = line[len(m[0]):]
	}
	if strings.Contains(line, `\`) {
		for _, m := range windowsPath.FindAllStringSubmatch(line, 8) {
			line = strings.Replace(line, m[0], strings.ReplaceAll(m[0], `\`, "/"), 1)
		}
	}
	if m := leaves.FindString(line); m != "" {
		line = strings.Replace(line, m, kit.Pick(strings.HasPrefix(m, " "), " ", "")+kit.Pick(strings.Contains(m, "pm2"), "pm2-runtime start ", "forever "), 1)
	}
	return variables + line
}

var outDir = pattern.New(`(?m)^[^/\n]*"outDir"\s*:\s*"([^"]+)"`)

// compiles tells whether the app starts what the compiler of TypeScript makes of its sources, and no script calls it.
func (p *Package) compiles(app string) bool {
	m := outDir.FindStringSubmatch(kit.Text(app, "tsconfig.json"))
	if m == nil || p.DevDependencies["typescript"] == "" && p.Dependencies["typescript"] == "" {
		return false
	}
	for _, name := range append([]string{"preinstall", "install", "postinstall", "prepare", "prestart"}, buildScripts...) {
		if p.Scripts[name] != "" {
			return false
		}
	}
	file := p.Main
	if start := strings.TrimSpace(p.Scripts["start"]); start != "" {
		words := strings.Fields(programOf(p.follow(start)))
		i := slices.IndexFunc(words[min(1, len(words)):], func(w string) bool { return !strings.HasPrefix(w, "-") })
		if words[0] != "node" || i < 0 {
			return false
		}
		file = words[1+i]
	}
	file = path.Clean(file)
	return strings.HasPrefix(file, path.Clean(m[1])+"/") && !kit.Exists(app, file) && !kit.Exists(app, file+".js")
}

// bots are packages by which a program asks a service for what there is to do; servers are those by which it takes requests.
var (
	bots    = []string{"discord.js", "eris", "oceanic.js", "telegraf", "grammy", "node-telegram-bot-api", "tmi.js", "whatsapp-web.js", "@whiskeysockets/baileys", "mineflayer", "@twurple/chat"}
	servers = []string{"express", "fastify", "koa", "hono", "@hapi/hapi", "elysia", "polka", "restify", "next", "nuxt", "@nestjs/core", "h3", "nitro", "micro"}
	takes   = pattern.New(`\bcreateServer\b|\.listen\(|\bPORT\b|\bBun\.serve\b|\bDeno\.serve\b|[wW]ebhookCallback|setWebhook|startWebhook`)
)

// isBot tells whether the app is a bot, with nothing in its code that takes requests.
func (p *Package) isBot(app string) bool {
	if !p.has(bots...) || p.has(servers...) {
		return false
	}
	serves, files := false, 0
	_ = filepath.WalkDir(app, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // what cannot be read takes no requests
		case d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case serves || files == 500:
			return fs.SkipAll
		case d.Type().IsRegular() && slices.Contains([]string{".js", ".mjs", ".cjs", ".ts", ".mts"}, filepath.Ext(file)):
			files++
			serves = takes.MatchString(kit.Text(file))
		}
		return nil
	})
	return !serves
}

// elsewhereOnly says how to start an app that is written for a platform that runs it itself; "" for none.
func (p *Package) elsewhereOnly(app string) (file, next string) {
	for _, f := range []string{"wrangler.jsonc", "wrangler.json", "wrangler.toml"} {
		if kit.IsFile(app, f) {
			next := "write a program that serves it and a start script for it"
			if p.has("hono") {
				next = "npm install @hono/node-server, and start a program with: import { serve } from \"@hono/node-server\"; serve({ fetch: app.fetch, port: Number(process.env.PORT) })"
			}
			return f, next
		}
	}
	return "", ""
}
