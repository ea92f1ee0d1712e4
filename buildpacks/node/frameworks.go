package node

import (
	"path/filepath"
	"slices"
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
	{"next", "next build"}, {"nuxt", "nuxt build"}, {"astro", "astro build"}, {"@11ty/eleventy", "eleventy"}, {"gatsby", "gatsby build"}, {"@docusaurus/core", "docusaurus build"}, {"react-scripts", "react-scripts build"},
	{"@sveltejs/kit", "vite build"}, {"vite", "vite build"}, {"parcel", "parcel build"},
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
	return ""
}

// starters are the commands that start what a framework has built, where the app has no script for it.
var starters = []struct{ pkg, command string }{
	{"next", "next start"}, {"@react-router/serve", "react-router-serve ./build/server/index.js"}, {"@remix-run/serve", "remix-serve ./build/server/index.js"}, {"vinxi", "vinxi start"}, {"waku", "waku start"},
	{"@strapi/strapi", "strapi start"},
}

// impliedStart is the command that starts an app of a framework which has no script for it; "" for none.
func (p *Package) impliedStart() string {
	for _, s := range starters {
		if p.has(s.pkg) {
			return s.command
		}
	}
	return ""
}

// memberStart finds the only member of a workspace that has a script to start it, and that script; "" for none or several.
func (p *Package) memberStart(app string) (dir, script string) {
	for _, member := range p.members(app) {
		m, err := ReadPackage(filepath.Join(app, member))
		if err != nil {
			continue // the package manager complains of it
		}
		s := m.startScript()
		if s == "" || devServer.MatchString(programOf(m.follow(s))) {
			continue
		}
		if script != "" {
			return "", ""
		}
		dir, script = member, m.follow(s)
	}
	return dir, script
}

// members lists the folders of a workspace's members.
func (p *Package) members(app string) (dirs []string) {
	for _, pattern := range p.workspaceGlobs(app) {
		pattern = strings.TrimSuffix(strings.ReplaceAll(pattern, "**", "*"), "/")
		if !filepath.IsLocal(pattern) {
			continue
		}
		found, _ := filepath.Glob(filepath.Join(app, pattern, "package.json")) // a malformed one finds nothing
		for _, f := range found {
			if rel, err := filepath.Rel(app, filepath.Dir(f)); err == nil && !slices.Contains(dirs, rel) && len(dirs) < 200 && !strings.Contains(rel, "node_modules") {
				dirs = append(dirs, rel)
			}
		}
	}
	return dirs
}

// legacyHash tells whether the app's webpack uses a hash that Node.js 17 and later have switched off.
func (b *build) legacyHash() bool {
	major, _, _ := strings.Cut(b.node.version, ".")
	if len(major) < 2 || major < "17" {
		return false
	}
	version := moduleVersion(b.app, "webpack")
	return strings.HasPrefix(version, "4.") || strings.HasPrefix(version, "3.")
}

// moduleVersion is the version of an installed package; "" where it is not there.
func moduleVersion(app, name string) string {
	var p struct{ Version string }
	_ = unmarshal(kit.Text(app, "node_modules", name, "package.json"), &p)
	return p.Version
}
