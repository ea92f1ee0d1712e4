package ruby

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

// generator is a program that writes a site.
type generator struct {
	name    string
	gem     string
	config  []string // one of these is there
	command []string
	env     string // the variable that says production
	output  string // the folder of the site, unless its configuration names one
}

var generators = []generator{
	{"Jekyll", "jekyll", []string{"_config.yml", "_config.yaml", "_config.toml", "_posts", "_layouts", "index.md", "index.html"}, []string{"jekyll", "build"}, "JEKYLL_ENV", "_site"},
	{"Jekyll", "github-pages", []string{"_config.yml", "_posts", "_layouts", "index.md", "index.html", "README.md"}, []string{"jekyll", "build"}, "JEKYLL_ENV", "_site"},
	{"Bridgetown", "bridgetown", []string{"bridgetown.config.yml", "config/initializers.rb", "src"}, []string{"bridgetown", "deploy"}, "BRIDGETOWN_ENV", "output"},
	{"Middleman", "middleman", []string{"config.rb", "source"}, []string{"middleman", "build"}, "RACK_ENV", "build"},
	{"nanoc", "nanoc", []string{"nanoc.yaml", "Rules"}, []string{"nanoc", "compile"}, "NANOC_ENV", "output"},
}

// siteOf tells which generator writes the app's pages. An app that has a server for them, or says how it starts, is no site.
func siteOf(app string, b *bundle) *generator {
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	if slices.ContainsFunc(procs, func(p procfile.Process) bool { return p.Type == "web" }) || b.has("railties") || b.has("rails") {
		return nil
	}
	if b.file == "" && jekyllAlone(app) {
		return &generators[0]
	}
	for i, g := range generators {
		if b.has(g.gem) && slices.ContainsFunc(g.config, func(f string) bool { return kit.Exists(app, f) }) {
			return &generators[i]
		}
	}
	return nil
}

// IsSite tells whether the app is one of pages that a program in Ruby writes.
func IsSite(app string) bool {
	if Evidence(app) == "" {
		return false
	}
	b := readBundle(app)
	return siteOf(app, &b) != nil
}

// jekyllAlone tells whether the app is a site of Jekyll's without a Gemfile, as GitHub Pages takes them.
func jekyllAlone(app string) bool {
	if !kit.IsFile(app, "_config.yml") || kit.IsFile(app, "Gemfile") || kit.IsFile(app, "package.json") {
		return false
	}
	return kit.IsDir(app, "_posts") || kit.IsDir(app, "_layouts") || kit.IsDir(app, "_includes") || kit.IsFile(app, "index.md")
}

// debianPlugins are the plugins and themes of Jekyll's that Debian has, by the gem.
var debianPlugins = map[string]string{
	"jekyll-feed": "ruby-jekyll-feed", "jekyll-seo-tag": "ruby-jekyll-seo-tag", "jekyll-sitemap": "ruby-jekyll-sitemap", "jekyll-paginate": "ruby-jekyll-paginate", "jekyll-gist": "ruby-jekyll-gist",
	"jekyll-redirect-from": "ruby-jekyll-redirect-from", "jekyll-include-cache": "ruby-jekyll-include-cache", "jekyll-archives": "ruby-jekyll-archives", "jekyll-mentions": "ruby-jekyll-mentions",
	"jekyll-relative-links": "ruby-jekyll-relative-links", "jekyll-avatar": "ruby-jekyll-avatar", "jekyll-titles-from-headings": "ruby-jekyll-titles-from-headings",
	"jekyll-optional-front-matter": "ruby-jekyll-optional-front-matter", "jekyll-readme-index": "ruby-jekyll-readme-index", "jekyll-default-layout": "ruby-jekyll-default-layout",
	"jekyll-toc": "ruby-jekyll-toc", "jekyll-commonmark": "ruby-jekyll-commonmark", "minima": "jekyll-theme-minima",
}

// configured are the lines of Jekyll's configuration that name plugins and a theme.
var (
	pluginsLine = pattern.New(`(?m)^(?:plugins|gems):[ \t]*(?:\[([^\]]*)\]|((?:\s*\n[ \t]*-[^\n]*)+))`)
	themeLine   = pattern.New(`(?m)^(?:theme|remote_theme):[ \t]*["']?([A-Za-z0-9_./-]+)`)
	gemName     = pattern.New(`([A-Za-z][A-Za-z0-9_-]*)`)
)

// configuredPlugins are the gems that the configuration of a site without a Gemfile names.
func configuredPlugins(app string) (gems []string) {
	text := kit.Text(app, "_config.yml")
	if m := pluginsLine.FindStringSubmatch(text); m != nil {
		for line := range strings.Lines(strings.ReplaceAll(m[1]+m[2], ",", "\n")) {
			line, _, _ = strings.Cut(line, "#")
			if m := gemName.FindStringSubmatch(line); m != nil {
				gems = append(gems, m[1])
			}
		}
	}
	if m := themeLine.FindStringSubmatch(text); m != nil && !strings.Contains(m[1], "/") {
		gems = append(gems, m[1])
	}
	return gems
}

// debianJekyll are the packages for a site of Jekyll's without a Gemfile; nil where Debian lacks one of its plugins.
func debianJekyll(app string) []string {
	packages := []string{"jekyll"}
	for _, g := range configuredPlugins(app) {
		p := debianPlugins[g]
		if p == "" {
			return nil
		}
		packages = append(packages, p)
	}
	return packages
}

// configuredGems are the lines of a Gemfile for what the configuration names.
func configuredGems(app string) (lines []string) {
	for _, g := range configuredPlugins(app) {
		lines = append(lines, `gem "`+g+`"`)
	}
	return lines
}

var destination = pattern.New(`(?m)^(?:destination|output_dir):\s*["']?([^\s"'#]+)`)

// SiteRoot is the folder of the site that the generator has written.
func SiteRoot(app string) string {
	b := readBundle(app)
	g := siteOf(app, &b)
	if g == nil {
		return ""
	}
	for _, f := range g.config {
		if m := destination.FindStringSubmatch(kit.Text(app, f)); m != nil {
			if dir := filepath.Clean(strings.TrimPrefix(m[1], "./")); filepath.IsLocal(dir) && kit.IsDir(app, dir) {
				return dir
			}
		}
	}
	return g.output
}

// buildSite has the generator write the site.
func (b *build) buildSite() error {
	if b.site == nil {
		return nil
	}
	b.env.Default(b.site.env, "production")
	if kit.IsFile(b.app, "package.json") {
		if err := b.packages4js(true); err != nil {
			return err
		}
	}
	command := append([]string{"bundle", "exec"}, b.site.command...)
	if b.jekyll != nil {
		command = []string{"ruby", b.usr("bin", "jekyll"), "build"}
	}
	if err := b.run(command...); err != nil {
		return err
	}
	root := SiteRoot(b.app)
	if !kit.IsDir(b.app, root) {
		return kit.Errorf("see what it says above", "%s has written no %s", b.site.name, root)
	}
	return os.RemoveAll(filepath.Join(b.app, "node_modules"))
}
