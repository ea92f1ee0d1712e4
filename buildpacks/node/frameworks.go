package node

import (
	"path"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// buildScripts are the scripts that build an app, those for platforms first: an app that has one means it for here.
var buildScripts = []string{"heroku-postbuild", "gcp-build", "build", "docs:build"}

// BuildScript is the name of the script that builds the app; "" for none.
func (p *Package) BuildScript() string {
	for _, name := range buildScripts {
		if strings.TrimSpace(p.Scripts[name]) != "" {
			return name
		}
	}
	return ""
}

// generators make pages of sources by a command of their own, without a script that says so.
var generators = []struct{ pkg, command string }{
	{"nx", "nx run-many -t build"}, {"turbo", "turbo run build"}, {"next", "next build"}, {"nuxt", "nuxt build"}, {"astro", "astro build"}, {"@11ty/eleventy", "eleventy"}, {"gatsby", "gatsby build"}, {"@docusaurus/core", "docusaurus build"}, {"react-scripts", "react-scripts build"},
	{"@sveltejs/kit", "vite build"}, {"vite", "vite build"}, {"parcel", "parcel build"}, {"expo", "expo export --platform web"},
}

// impliedBuild is the command that builds an app of a framework which has no script for it; "" for none.
func (p *Package) impliedBuild() string {
	if p.BuildScript() != "" {
		return ""
	}
	start := programOf(p.follow(strings.TrimSpace(p.Scripts["start"])))
	for _, g := range generators {
		if !p.has(g.pkg) {
			continue
		}
		// A server of the app's own may use the same packages.
		if start == "" || start == "." || devServer.MatchString(start) || g.pkg == "next" && strings.HasPrefix(start, "next ") {
			return g.command
		}
	}
	return kit.Pick(p.tsc, "tsc", "")
}

// starters are the commands that start what a framework has built, where the app has no script for it.
var starters = []struct{ pkg, command string }{
	{"next", "next start"}, {"@react-router/serve", "react-router-serve ./build/server/index.js"}, {"@remix-run/serve", "remix-serve ./build/server/index.js"}, {"vinxi", "vinxi start"}, {"waku", "waku start"},
	{"@strapi/strapi", "strapi start"},
}

// impliedStart is the command that starts an app of a framework which has no script for it; "" for none.
func (p *Package) impliedStart() string {
	if p.has("nx") && p.BuildScript() == "" { // what it builds is in folders of its own
		return ""
	}
	for _, s := range starters {
		if p.has(s.pkg) {
			return s.command
		}
	}
	return p.router
}

// started is a member of a workspace that can be started.
type started struct{ dir, line string }

// memberStart finds the member of a workspace that is started: the only one that has a script for it, else the one that is named like an app of the web.
func (p *Package) memberStart(app string) (dir, script string) {
	m, _ := preferred(p.memberStarts(app))
	return m.dir, m.line
}

// memberStarts lists the members that have a script to start them; where none has, those that are started as they are on their author's computer.
func (p *Package) memberStarts(app string) (all []started) {
	var developed []started
	for _, dir := range p.members(app) {
		m, err := ReadPackage(filepath.Join(app, dir))
		if err != nil {
			continue // the package manager complains of it
		}
		if s := m.startScript(); s != "" && !devServer.MatchString(programOf(m.follow(s))) {
			if s == m.dev {
				developed = append(developed, started{dir, s})
				continue
			}
			all = append(all, started{dir, m.follow(s)})
		}
	}
	if all == nil {
		return developed
	}
	return all
}

// preferred chooses one of several members; none where no name tells.
func preferred(all []started) (started, bool) {
	if len(all) == 1 {
		return all[0], true
	}
	for _, name := range []string{"web", "server", "api", "app", "site", "www"} {
		for _, s := range all {
			if path.Base(s.dir) == name {
				return s, true
			}
		}
	}
	return started{}, false
}

// tellMember says which of several members is started. The error is for several of which no name tells.
func (b *build) tellMember() error {
	all := b.pkg.memberStarts(b.app)
	if len(all) == 0 {
		all = memberServers(b.app)
	}
	if len(all) < 2 {
		return nil
	}
	var dirs []string
	for _, s := range all {
		dirs = append(dirs, s.dir)
	}
	one, ok := preferred(all)
	if !ok {
		return kit.Errorf(`name one in project.toml: [io.gitd.build] app-dir = "`+dirs[0]+`"`, "the workspace has several apps, and nothing says which is started: %s", strings.Join(dirs, ", "))
	}
	kit.Say(b.Out, "Of %s the app %s is started; app-dir in project.toml names another", strings.Join(dirs, ", "), one.dir)
	return nil
}

// legacyHash tells whether the app's webpack uses a hash that Node.js 17 and later have switched off.
func (b *build) legacyHash() bool {
	major, _, _ := strings.Cut(b.node.version, ".")
	if len(major) < 2 || major < "17" {
		return false
	}
	version := kit.Pick(moduleVersion(b.app, "webpack") != "", moduleVersion(b.app, "webpack"), moduleVersion(b.root, "webpack"))
	return strings.HasPrefix(version, "4.") || strings.HasPrefix(version, "3.")
}

// moduleVersion is the version of an installed package; "" where it is not there.
func moduleVersion(app, name string) string {
	var p struct{ Version string }
	_ = unmarshal(kit.Text(app, "node_modules", name, "package.json"), &p)
	return p.Version
}
