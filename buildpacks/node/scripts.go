package node

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"path"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// runScript is a line that only calls another script, so that neither a package manager nor a shell need stand between the platform and the app.
var runScript = pattern.New(`^(?:npm|pnpm|yarn|bun)(?: run)? ([A-Za-z0-9:._-]+)$`)

// follow looks through scripts that only call another one.
func (p *Package) follow(script string) string {
	for range 5 {
		m := runScript.FindStringSubmatch(script)
		if m == nil || strings.TrimSpace(p.Scripts[m[1]]) == "" || p.Scripts["pre"+m[1]] != "" {
			break
		}
		script = strings.TrimSpace(p.Scripts[m[1]])
	}
	return script
}

// runners start the program that follows them.
var runners = []string{"npx", "pnpx", "bunx", "exec", "env", "cross-env", "cross-env-shell", "env-cmd", "dotenv", "dotenvx", "run", "dlx", "--"}

var variable = pattern.New(`^[A-Za-z_][A-Za-z0-9_]*=`)

// programOf is the line from the program that it starts on: variables, npx, cross-env, pnpm exec and the like before it are taken off.
func programOf(line string) string {
	words := strings.Fields(line)
	files := false // of variables, which the program before names
	for len(words) > 1 {
		w := strings.Trim(words[0], `"'`)
		switch {
		case files && len(words) > 2 && slices.Contains([]string{"-e", "-f", "-p", "-v", "--file"}, w):
			words = words[1:]
		case variable.MatchString(w), slices.Contains(runners, w), strings.HasPrefix(w, "-"):
			files = files || strings.HasPrefix(w, "dotenv") || w == "env-cmd"
		case (w == "pnpm" || w == "yarn" || w == "npm" || w == "bun") && (words[1] == "exec" || words[1] == "dlx" || words[1] == "x"):
			words = words[1:]
		case w == "yarn" && !strings.HasPrefix(words[1], "-"):
		default:
			return strings.Join(append([]string{path.Base(w)}, words[1:]...), " ")
		}
		words = words[1:]
	}
	return path.Base(strings.Join(words, " "))
}

// devServer are programs that serve while a person edits, and are not meant for the public.
var devServer = pattern.New(`^(react-scripts start|craco start|vite( dev| serve| preview)?( -|$)|ng serve|vue-cli-service serve|webpack(-dev-server| serve)|webpack-dev-server|rspack serve|rsbuild (dev|preview)|parcel( serve)?( |$)|astro (dev|preview|start)|` +
	`gatsby (develop|serve)|eleventy .*--serve|docusaurus (start|serve)|vuepress dev|vitepress (dev|preview)|ember (serve|s)( |$)|snowpack dev|stencil build .*--serve|svelte-kit (dev|preview)|vike (dev|preview)|nuxi? (dev|preview)|nuxt (dev|preview)|` +
	`storybook dev|start-storybook|live-server|browser-sync|preact watch|expo start|hexo server|slidev( |$)|wmr( |$)|solid-start dev|nx (serve|dev|run \S+:(serve|dev))|turbo (run )?dev|(umi|max|dumi|sapper|modern|rspress|waku|blitz|rw|redwood|histoire|farm) dev|rspress preview|farm (start|preview)|ice start|brunch watch|polymer serve|sanity (start|dev)|esbuild .*--serve|webpack .*--watch|docsify serve|ladle serve|vinxi dev|remix (dev|vite:dev)|react-router dev)`)

// buildsFirst finds a start script that builds the app before it starts it.
var buildsFirst = pattern.New(`^(?:npm|pnpm|yarn|bun)(?: run)? ([A-Za-z0-9:._-]+) *&& *(.+)$`)

// prestart is what runs before the start script at each start; "" for nothing, and for what the build has run: it need not be done again, and what does it may
// be left out of the image.
func (p *Package) prestart() string {
	pre, build := strings.TrimSpace(p.Scripts["prestart"]), p.BuildScript()
	if m := runScript.FindStringSubmatch(pre); build != "" && (m != nil && m[1] == build || p.follow(pre) == p.follow(strings.TrimSpace(p.Scripts[build]))) {
		return ""
	}
	return pre
}

// startScript is the script that starts the app; "" for none, and for one that starts a development server while there is a build script, whose
// result is served instead.
func (p *Package) startScript() string {
	s := strings.TrimSpace(p.Scripts["start"])
	if m := buildsFirst.FindStringSubmatch(s); m != nil && p.BuildScript() == m[1] {
		s = m[2] // it has been built, and what builds it may be left out of the image
	}
	s = p.unwatched(s)
	if prod := strings.TrimSpace(p.Scripts["start:prod"]); prod != "" && (s == "" || strings.HasPrefix(programOf(p.follow(s)), "nest start")) {
		return prod // what builds the app before it starts it is for development
	}
	if s == "" && p.dev != "" {
		return p.dev
	}
	if !p.HasBuild() {
		return s
	}
	program := programOf(p.follow(s))
	if s == "" && p.mainProgram() == "" || devServer.MatchString(program) {
		return p.impliedStart()
	}
	// Next.js has a server of its own for what it built.
	if program == "next dev" || strings.HasPrefix(program, "next dev ") {
		return "next start"
	}
	return s
}

// exports tells whether Next.js is told to make a folder of files, which its server refuses to serve.
func (p *Package) exports(app string) bool {
	if !p.has("next") {
		return false
	}
	for _, f := range []string{"next.config.js", "next.config.mjs", "next.config.cjs", "next.config.ts", "next.config.mts"} {
		if nextExport.MatchString(kit.Text(app, f)) {
			return true
		}
	}
	return false
}

var nextExport = pattern.New(`(?m)^[^/\n]*\boutput:\s*["']export["']`)

// packageOf names the packages of programs that are called otherwise than they are.
var packageOf = map[string]string{"nest": "@nestjs/cli", "tsc": "typescript", "ng": "@angular/cli", "knex": "knex", "prisma": "prisma", "sequelize": "sequelize-cli", "sequelize-cli": "sequelize-cli", "dotenv": "dotenv-cli",
	"remix-serve": "@remix-run/serve", "react-router-serve": "@react-router/serve", "babel-node": "@babel/node", "dotenvx": "@dotenvx/dotenvx", "typeorm": "typeorm", "svelte-kit": "@sveltejs/kit", "vue-cli-service": "@vue/cli-service",
	"nuxi": "nuxt", "medusa": "@medusajs/cli", "strapi": "@strapi/strapi", "directus": "directus", "run-s": "npm-run-all", "run-p": "npm-run-all", "docusaurus": "@docusaurus/core", "eleventy": "@11ty/eleventy"}

var calledScript = pattern.New(`\b(?:npm|pnpm|yarn|bun)(?: run)? ([A-Za-z0-9:._-]+)`)

// lines are all that is run when the app runs: the start script, what it calls, and the Procfile's commands.
func (p *Package) lines(app string) []string {
	var lines []string
	add := func(s string) {
		if s = strings.TrimSpace(s); s != "" {
			lines = append(lines, s)
		}
	}
	add(p.prestart())
	add(p.startScript())
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	for _, pr := range procs {
		add(pr.Command)
	}
	for i := 0; i < len(lines) && len(lines) < 50; i++ {
		for _, m := range calledScript.FindAllStringSubmatch(lines[i], -1) {
			for _, name := range []string{"pre" + m[1], m[1]} {
				if s := strings.TrimSpace(p.Scripts[name]); s != "" && !slices.Contains(lines, s) {
					add(s)
				}
			}
		}
	}
	return lines
}

var operators = pattern.New(`&&|\|\||;|\|`)

// runsDevelopment names the development package whose program one of the lines starts; "" for none. Such an app keeps its development packages.
func (p *Package) runsDevelopment(app string) string {
	for _, line := range p.lines(app) {
		for _, part := range operators.Split(line, -1) {
			// The runners are programs of packages too.
			for _, w := range strings.Fields(part) {
				w = path.Base(strings.Trim(w, `"'`))
				name := w
				if n, ok := packageOf[w]; ok {
					name = n
				}
				if p.DevDependencies[name] != "" && p.Dependencies[name] == "" {
					return name
				}
			}
		}
	}
	return ""
}
