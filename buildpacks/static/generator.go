package static

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// generator is a program of Debian's that makes a site of the app's files.
type generator struct {
	name, pkg string
	config    []string // the files that it is found by
	folders   []string // one of them must be there as well; nil for none
	args      []string
	output    string
}

// site is the folder that generators write to: no app has one of that name.
const siteFolder = ".gitd-site"

var generators = []generator{
	{"Hugo", "hugo", []string{"hugo.toml", "hugo.yaml", "hugo.yml", "hugo.json", "config/_default/hugo.toml", "config/_default/config.toml"}, nil, []string{"hugo", "--gc", "--minify", "--destination", siteFolder}, siteFolder},
	{"Hugo", "hugo", []string{"config.toml", "config.yaml", "config.yml", "config.json"}, []string{"archetypes", "content", "layouts", "themes"}, []string{"hugo", "--gc", "--minify", "--destination", siteFolder}, siteFolder},
	{"mdBook", "mdbook", []string{"book.toml"}, nil, []string{"mdbook", "build", "--dest-dir", siteFolder}, siteFolder},
}

// generatorOf finds the generator of an app and the file that says so; nil for none. Zola's configuration has the name of Hugo's older one.
func generatorOf(app string) (*generator, string) {
	for i, g := range generators {
		for _, f := range g.config {
			if !kit.IsFile(app, f) {
				continue
			}
			if f == "config.toml" && zolaConfig(app) != "" || f == "config.toml" && kit.IsDir(app, "templates") && !kit.IsDir(app, "layouts") && !kit.IsDir(app, "archetypes") {
				continue
			}
			if g.folders == nil {
				return &generators[i], f
			}
			for _, d := range g.folders {
				if kit.IsDir(app, d) {
					return &generators[i], f
				}
			}
		}
	}
	return nil, ""
}

// generate makes the site.
func (b Buildpack) generate(app string, g *generator, env kit.Env, cache *kit.Cache) error {
	tool, err := debs.Open(cache, env, b.Out)
	if err != nil {
		return err
	}
	set, err := tool.Resolve(debs.Request{Packages: []string{g.pkg}})
	if err != nil {
		return err
	}
	dir, err := tool.InCache(set, cache, "static-debian")
	if err != nil {
		return err
	}
	env = env.Clone()
	debs.Environment(dir).AddTo(env)
	env["PATH"] += ":" + filepath.Join(catalog.GoRoot, "bin") // Hugo's modules are Go's
	env.Default("HOME", os.TempDir())
	store, err := cache.Dir("static-generator")
	if err != nil {
		return err
	}
	env.Default("HUGO_CACHEDIR", store)
	env.Default("GOFLAGS", "-modcacherw")
	env.Default("MDBOOK_OUTPUT__HTML__COPY_FONTS", "false") // Debian's mdBook has none, but names a style sheet of them
	args := g.args
	if g.pkg == "hugo" && env["HUGO_BASEURL"] == "" {
		args = append(args[:len(args):len(args)], "--baseURL", "/") // the site answers under a name that the build does not know
	}
	have := plain(set.Version(g.pkg))
	kit.Say(b.Out, "%s %s of Debian", g.name, have)
	asked, from := g.asked(app, env)
	if asked != "" && asked != have {
		kit.Say(b.Out, "Warning: %s asks for %s %s: Debian's takes its place", from, g.name, asked)
	}
	tail, err := kit.Cmd{Args: args, Dir: app, Env: env, Out: b.Out, Name: g.name}.Run()
	if err == nil && g.pkg == "mdbook" {
		return b.completeBook(app, have, env, store, b.byCargo(tool, env, cache, store))
	}
	if err == nil {
		return nil
	}
	for line := range strings.Lines(tail) {
		if line = strings.TrimSpace(line); strings.HasPrefix(strings.ToLower(line), "error") {
			next := g.next(app, line)
			if next == "" && asked != "" && asked != have {
				next = "make the site fit " + g.name + " " + have + ", or push the pages that " + g.name + " " + asked + " (" + from + ") makes of it"
			}
			return kit.Errorf(next, "%s failed: %s", g.name, strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(line, "Error:"), "ERROR")))
		}
	}
	return err
}

// asked is the version of Hugo that the app is made for, and what says so; "" for nothing.
func (g generator) asked(app string, env kit.Env) (version, from string) {
	if g.pkg != "hugo" {
		return "", ""
	}
	if v := env["HUGO_VERSION"]; v != "" {
		return strings.TrimPrefix(v, "v"), "HUGO_VERSION"
	}
	version, from = platformVariable(app, "HUGO_VERSION")
	return strings.TrimPrefix(version, "v"), from
}

// next says what to do about an error of the generator's.
func (g generator) next(app, line string) string {
	if strings.Contains(line, "module") && strings.Contains(line, "not found") || strings.Contains(line, "theme") && kit.IsFile(app, ".gitmodules") {
		return "add the theme as a submodule and commit it: git submodule add URL themes/NAME"
	}
	return ""
}

// plain takes Debian's suffixes off a version.
func plain(version string) string {
	version, _, _ = strings.Cut(version, "+")
	return version
}
