// Package static is the buildpack for sites of plain files: those that are pushed as they are, and those that a build script
// has made. They are served by nginx.
package static

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/dotnet"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/node"
	"github.com/gitd-io/gitd/buildpacks/python"
	"github.com/gitd-io/gitd/buildpacks/ruby"
)

// Buildpack serves static sites.
type Buildpack struct {
	Nginx string // the program
	Types string // its mime.types
	Out   io.Writer

	zolaArchives string // where Zola comes from instead of its own places; a test sets it
}

// New returns the buildpack with the paths of the build image.
func New(out io.Writer) Buildpack {
	return Buildpack{Nginx: catalog.NginxExe, Types: "/etc/nginx/mime.types", Out: out}
}

const looksFor = "index.html (also in public, dist, build, docs and the like)"

// Detect implements libcnb.Detector.
func (b Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	app := ctx.Application.Path
	env := kit.NewEnv(ctx.Platform.Environment)
	p, err := node.ReadPackage(app)
	switch {
	case rubySite(app), python.IsSite(app) && !node.Takes(app), dotnet.IsSite(app, env):
		return kit.Detected(b.Out, "Static site (output of its generator)"), nil
	case ruby.Evidence(app) != "" && env["BP_STATIC_ROOT"] == "" && !node.Takes(app):
		return kit.LookedFor(b.Out, looksFor), nil
	case dotnet.Evidence(app) != "" && env["BP_STATIC_ROOT"] == "", python.Takes(app) && !node.Takes(app):
		return kit.LookedFor(b.Out, looksFor), nil
	case err == nil && p.KindOf(app) == node.Site && node.Takes(app):
		return kit.Detected(b.Out, "Static site (output of the build script)"), nil
	case err == nil && p.KindOf(app) == node.Server && env["BP_STATIC_ROOT"] == "":
		return kit.LookedFor(b.Out, looksFor), nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return libcnb.DetectResult{}, err
	}
	if root := env["BP_STATIC_ROOT"]; root != "" {
		if _, err := askedRoot(app, root); err != nil {
			return libcnb.DetectResult{}, err
		}
		return kit.Detected(b.Out, "Static site (%s)", root), nil
	}
	if g, f := generatorOf(app); g != nil {
		return kit.Detected(b.Out, "Static site (%s, %s)", g.name, f), nil
	}
	if f := zolaConfig(app); f != "" {
		return kit.Detected(b.Out, "Static site (Zola, %s)", f), nil
	}
	for _, f := range []string{"Staticfile", "static.json"} {
		if kit.IsFile(app, f) {
			return kit.Detected(b.Out, "Static site (%s)", f), nil
		}
	}
	for _, root := range plainRoots {
		if kit.IsFile(app, root, "index.html") {
			return kit.Detected(b.Out, "Static site (%s)", path.Join(root, "index.html")), nil
		}
	}
	if root, page := firstPage(app); page != "" {
		return kit.Detected(b.Out, "Static site (%s)", path.Join(root, page)), nil
	}
	return kit.LookedFor(b.Out, looksFor), nil
}

// rubySite tells whether the buildpack before this one has a site written by a generator in Ruby.
func rubySite(app string) bool { return ruby.IsSite(app) && !node.Takes(app) }

// askedRoot checks BP_STATIC_ROOT.
func askedRoot(app, root string) (string, error) {
	clean := path.Clean(filepath.ToSlash(root))
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", kit.Errorf("name a folder of the app", "BP_STATIC_ROOT is %s, which is outside of the app", root)
	}
	if !kit.IsDir(app, clean) {
		return "", kit.Errorf("name a folder of the app", "BP_STATIC_ROOT is %s, which is not a folder of the app", root)
	}
	return clean, nil
}

// Build implements libcnb.Builder.
func (b Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	app := ctx.Application.Path
	env := kit.NewEnv(ctx.Platform.Environment)
	p, err := node.ReadPackage(app)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return result, err
	}
	built := err == nil && p.KindOf(app) == node.Site && node.Takes(app)
	if built && node.BuiltServer(app) && env["BP_STATIC_ROOT"] == "" {
		return result, nil // the build made a server, which the buildpack before this one starts
	}
	set, err := readSettings(app)
	if err != nil {
		return result, err
	}
	cache := kit.OpenCache(ctx, env)
	root, built, err := b.rootOf(ctx, env, cache, set, built)
	if err != nil {
		return result, err
	}
	if built && root != "." {
		if err := keepOnly(app, root); err != nil {
			return result, err
		}
	}
	site, err := survey(filepath.Join(app, root))
	if err != nil {
		return result, err
	}
	followed, err := b.rules(set, filepath.Join(app, root))
	if err != nil {
		return result, err
	}
	c := config{Settings: set, Rules: followed, Root: filepath.Join(app, root), ETag: site.digest, NotFoundPage: kit.IsFile(app, root, "404.html"),
		// What a build script made of a single page is most often an app that has its routes in the browser.
		SPA: set.spa || env.Bool("BP_STATIC_SPA") || env["BP_STATIC_SPA"] == "" && built && site.pages == 1 && !set.noSPA}
	c.Index = b.firstPageOf(filepath.Join(app, root))
	if c.SPA && !kit.IsFile(app, root, "index.html") {
		return result, kit.Errorf("add it, or leave BP_STATIC_SPA out", "BP_STATIC_SPA is set, but %s has no index.html", root)
	}
	kit.Say(b.Out, "Serving %d files of %s with nginx%s", site.files, kit.Pick(root == ".", "the app", root), kit.Pick(site.php > 0, "; files of PHP are not run here, and not served", ""))
	if c.SPA {
		kit.Say(b.Out, "Paths without a file get index.html (BP_STATIC_SPA=false gives them 404)")
	}

	server, err := b.ServerLayer(ctx)
	if err != nil {
		return result, err
	}
	configuration, err := configLayer(ctx, c, app, filepath.Join(server.Path, "mime.types"))
	if err != nil {
		return result, err
	}
	result.Layers = append(cache.Layers(), server, configuration)
	result.Processes = []libcnb.Process{process(filepath.Join(configuration.Path, "nginx.conf"))}
	return result, nil
}

// rootOf finds the folder to serve: by the setting, a generator before this buildpack, the files of other platforms, or its name.
func (b Buildpack) rootOf(ctx libcnb.BuildContext, env kit.Env, cache *kit.Cache, set settings, built bool) (string, bool, error) {
	app, asked := ctx.Application.Path, env["BP_STATIC_ROOT"]
	if g, _ := generatorOf(app); g != nil && !built && asked == "" && !rubySite(app) {
		return g.output, true, b.generate(app, g, env, cache)
	}
	if zolaConfig(app) != "" && !built && asked == "" && !rubySite(app) {
		return siteFolder, true, b.zola(ctx, env, cache)
	}
	if kit.IsDir(app, dotnet.SiteFolder) {
		return dotnet.SiteFolder, true, nil
	}
	if kit.IsDir(app, python.SiteFolder) {
		return python.SiteFolder, true, nil
	}
	if rubySite(app) {
		built = true
		if asked == "" {
			asked = ruby.SiteRoot(app)
		}
	}
	if asked == "" && !(built && set.root == ".") { // a Staticfile that names no folder is beside the pages, where those are not built
		asked = set.root
	}
	root, err := chooseRoot(app, asked, built)
	return root, built, err
}

// process starts nginx, which reads no environment: the port gets into its configuration by a file of one line. exec leaves nginx alone with the signals.
func process(configuration string) libcnb.Process {
	start := `printf 'listen %s;\n' "${PORT:-8080}" >/tmp/nginx-listen.conf && exec nginx -e stderr -c ` + configuration
	return libcnb.Process{Type: "web", Command: "/bin/sh", Arguments: []string{"-c", start}, Direct: true, Default: true}
}

// rules reads the site's redirects and headers, and says what is not followed.
func (b Buildpack) rules(set settings, site string) (rules, error) {
	r, err := set.rules(site)
	if err != nil {
		return r, err
	}
	for _, line := range r.ignored {
		kit.Say(b.Out, "Warning: %s", line)
	}
	if len(r.redirects)+len(r.headers) > 0 {
		kit.Say(b.Out, "Redirects: %d, headers: %d", len(r.redirects), len(r.headers))
	}
	return r, nil
}

// keepOnly removes all of the app but one folder: sources of a site that was built are of no use when it is served.
func keepOnly(app, keep string) error {
	for dir := keep; dir != "."; dir = path.Dir(dir) {
		parent := filepath.Join(app, path.Dir(dir))
		entries, err := os.ReadDir(parent)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Name() == path.Base(dir) || slices.Contains([]string{"Procfile", "Staticfile", "Staticfile.auth", "static.json"}, e.Name()) && path.Dir(dir) == "." {
				continue
			}
			if err := os.RemoveAll(filepath.Join(parent, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// siteInfo is what a site consists of.
type siteInfo struct {
	files, pages int
	php          int // sources that nothing here runs
	digest       string
}

func survey(root string) (siteInfo, error) {
	var s siteInfo
	var parts []string
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		s.files++
		if strings.HasSuffix(file, ".html") {
			s.pages++
		}
		if strings.HasSuffix(file, ".php") {
			s.php++
		}
		sum, err := kit.FileKey(file)
		parts = append(parts, strings.TrimPrefix(file, root), sum)
		return err
	})
	s.digest = kit.Key(parts...)[:20]
	return s, err
}

// ServerLayer has nginx itself. The libraries that it needs are in the run image.
func (b Buildpack) ServerLayer(ctx libcnb.BuildContext) (*kit.Layer, error) {
	layer, err := kit.OpenLayer(ctx, "nginx")
	if err != nil {
		return nil, err
	}
	sum, err := kit.FileKey(b.Nginx)
	if err != nil {
		return nil, kit.Errorf("the builder image may be broken", "nginx is missing from the builder: %v", err)
	}
	types, err := kit.FileKey(b.Types)
	if err != nil {
		return nil, kit.Errorf("the builder image may be broken", "nginx's types are missing from the builder: %v", err)
	}
	key := kit.Key("1", sum, types)
	version := debianVersion("nginx")
	if reuse, err := layer.Renew(key); err != nil {
		return nil, err
	} else if !reuse {
		if err := kit.CopyFile(b.Nginx, filepath.Join(layer.Path, "bin", "nginx")); err != nil {
			return nil, err
		}
		if err := kit.CopyFile(b.Types, filepath.Join(layer.Path, "mime.types")); err != nil {
			return nil, err
		}
	}
	return layer, kit.WriteSBOM(layer.Layer, []kit.Package{{Name: "nginx", Version: version, PURL: "pkg:deb/debian/nginx"}})
}

// debianVersion looks a package up in the build image's own list; "" where it is not there.
func debianVersion(pkg string) string {
	data, err := os.ReadFile("/var/lib/dpkg/status")
	if err != nil {
		return ""
	}
	_, entry, ok := strings.Cut("\n"+string(data), "\nPackage: "+pkg+"\n")
	if !ok {
		return ""
	}
	entry, _, _ = strings.Cut(entry, "\n\n")
	_, version, _ := strings.Cut(entry, "\nVersion: ")
	return kit.First(version)
}

func configLayer(ctx libcnb.BuildContext, c config, app, types string) (*kit.Layer, error) {
	layer, err := kit.OpenLayer(ctx, "config")
	if err != nil {
		return nil, err
	}
	passwords := ""
	if c.Settings.password {
		passwords = kit.Text(app, "Staticfile.auth")
		c.Passwords = filepath.Join(layer.Path, "passwords")
	}
	text := c.render(types)
	key := kit.Key(text, passwords)
	if reuse, err := layer.Renew(key); err != nil || reuse {
		return layer, err
	}
	if c.Passwords != "" {
		if err := os.WriteFile(c.Passwords, []byte(passwords+"\n"), 0o644); err != nil {
			return nil, err
		}
	}
	return layer, os.WriteFile(filepath.Join(layer.Path, "nginx.conf"), []byte(text), 0o644)
}
