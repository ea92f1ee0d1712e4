// Package ruby is the Ruby buildpack: Ruby from Debian's packages or its source, gems by Bundler, assets of Rails, and how the app starts. Sites that a generator
// writes are built, and served by the static buildpack.
package ruby

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// Buildpack builds Ruby apps.
type Buildpack struct {
	Out io.Writer
}

// New returns the buildpack.
func New(out io.Writer) Buildpack { return Buildpack{Out: out} }

const looksFor = "Gemfile, config.ru"

// Detect implements libcnb.Detector.
func (bp Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	app := ctx.Application.Path
	evidence := Evidence(app)
	if evidence == "" {
		return kit.LookedFor(bp.Out, looksFor), nil
	}
	b := readBundle(app)
	w, err := wantedVersion(app, &b)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	what := evidence
	if b.lock != "" {
		what = b.lock
	}
	if g := siteOf(app, &b); g != nil {
		return kit.Detected(bp.Out, "%s site (%s, %s)", g.name, what, w.describe()), nil
	}
	return kit.Detected(bp.Out, "Ruby (%s, %s)", what, w.describe()), nil
}

// programs are what is started where nothing says what.
var programs = []string{"app.rb", "main.rb", "server.rb", "web.rb"}

// Evidence is the file by which an app is one of Ruby; "" where it is not. A Gemfile for tools alone, as those of mobile apps have it, says nothing.
func Evidence(app string) string {
	for _, f := range []string{"Gemfile", "gems.rb"} {
		if kit.IsFile(app, f) && !kit.GemsForTools(app) {
			return f
		}
	}
	if kit.IsFile(app, "config.ru") {
		return "config.ru"
	}
	if jekyllAlone(app) {
		return "_config.yml"
	}
	if kit.OtherLanguage(app).Name != "" {
		return ""
	}
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	for _, p := range procs {
		if p.Names("ruby") {
			return procfile.Name
		}
	}
	for _, f := range programs {
		if kit.IsFile(app, f) {
			return f
		}
	}
	return ""
}

// build is one build under way.
type build struct {
	Buildpack
	ctx     libcnb.BuildContext
	app     string
	env     kit.Env
	cache   *kit.Cache
	bundle  bundle
	wanted  wanted
	site    *generator // nil for an app
	tool    *debs.Tool
	set     *debs.Set
	release string   // of Debian, that the image is made of
	source  *source  // of a Ruby that is compiled; nil for Debian's
	line    string   // "3.3"
	version string   // "3.3.8"
	jekyll  []string // Debian's packages for a site of Jekyll's without a Gemfile
	added   bool     // a server was added to the Gemfile
	ruby    *kit.Layer
	gems    *kit.Layer // nil without a Gemfile
	layers  []libcnb.LayerContributor
}

// Build implements libcnb.Builder.
func (bp Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	b := &build{Buildpack: bp, ctx: ctx, app: ctx.Application.Path, env: kit.NewEnv(ctx.Platform.Environment)}
	b.cache = kit.OpenCache(ctx, b.env)
	if err := b.prepare(); err != nil {
		return result, err
	}
	for _, step := range []func() error{b.installGems, b.buildSite, b.assets, b.secret} {
		if err := step(); err != nil {
			return result, err
		}
	}
	if b.site == nil {
		web, err := b.start()
		if err != nil {
			return result, err
		}
		if web != nil {
			web.Default = true
			result.Processes = append(result.Processes, *web)
		}
	}
	result.Layers = append(append(b.cache.Layers(), b.ruby), b.layers...)
	return result, nil
}

// prepare reads what the app says, and finds out which Ruby it gets.
func (b *build) prepare() error {
	b.env.Default("HOME", os.TempDir())
	b.env.Default("PATH", "/usr/bin:/bin")
	b.env.Default("LANG", "C.UTF-8")
	for _, name := range []string{"RUBYOPT", "GEM_HOME", "GEM_PATH"} {
		delete(b.env, name)
	}
	var err error
	if b.tool, err = debs.Open(b.cache, b.env, b.Out); err != nil {
		return err
	}
	if !kit.IsFile(b.app, "Gemfile") && !kit.IsFile(b.app, "gems.rb") && jekyllAlone(b.app) {
		if b.jekyll = debianJekyll(b.app); b.jekyll == nil {
			if err := b.writeGemfile(append(configuredGems(b.app), `gem "jekyll"`, `gem "webrick"`)...); err != nil {
				return err
			}
		}
	}
	b.bundle = readBundle(b.app)
	b.site = siteOf(b.app, &b.bundle)
	if b.wanted, err = wantedVersion(b.app, &b.bundle); err != nil {
		return err
	}
	if b.release, err = b.tool.Release(); err != nil {
		return err
	}
	r, err := b.wanted.choose(available[b.release])
	if err != nil {
		s, err := b.chooseSource(err)
		if err != nil {
			return err
		}
		return b.resolveSource(s)
	}
	b.line = r.line
	return b.resolve(r)
}

// writeGemfile gives an app without one a Gemfile.
func (b *build) writeGemfile(lines ...string) error {
	text := "source \"https://rubygems.org\"\n" + strings.Join(lines, "\n") + "\n"
	kit.Say(b.Out, "There is no Gemfile: one is written for this build, with %s", strings.ReplaceAll(strings.Join(lines, ", "), "gem ", ""))
	return os.WriteFile(filepath.Join(b.app, "Gemfile"), []byte(text), 0o644)
}

// needed tells whether the build itself runs the app's gems, so that they must be there.
func (b *build) needed() bool { return b.site != nil || b.precompiles() }
