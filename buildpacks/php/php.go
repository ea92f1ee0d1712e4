// Package php is the PHP buildpack: PHP from Debian's packages, packages by Composer, assets by Node.js, and nginx with FPM to serve them.
package php

import (
	"encoding/json"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/node"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/buildpacks/static"
)

// Buildpack builds PHP apps.
type Buildpack struct {
	Server static.Buildpack // has nginx
	Node   node.Buildpack   // makes assets
	Out    io.Writer
}

// New returns the buildpack with the paths of the build image.
func New(out io.Writer) Buildpack {
	return Buildpack{Server: static.New(out), Node: node.New(out), Out: out}
}

const looksFor = "composer.json, index.php"

// Detect implements libcnb.Detector. A malformed composer.json is an *Error.
func (bp Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	app := ctx.Application.Path
	evidence := evidence(app)
	if evidence == "" {
		return kit.LookedFor(bp.Out, looksFor), nil
	}
	c, err := readComposer(app)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	w, err := wantedVersion(app, c)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	return kit.Detected(bp.Out, "PHP (%s, %s)", evidence, w.describe()), nil
}

// roots are the folders that may be the one to serve.
var roots = []string{"public", "web", "webroot", "pub", "htdocs", "public_html", "www", "html", "."}

// evidence is the file by which an app is one of PHP; "" where it is not.
func evidence(app string) string {
	for _, f := range []string{"composer.json", "artisan", "index.php", "wp-config.php", "wp-config-sample.php", "public/index.php", "web/index.php", "webroot/index.php", "htdocs/index.php"} {
		if kit.IsFile(app, f) {
			return f
		}
	}
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	for _, p := range procs {
		if p.Names("php") || p.Names("heroku-php-apache2") || p.Names("heroku-php-nginx") {
			return procfile.Name
		}
	}
	return page(app)
}

// page is a file of PHP in an app without an index.php: one at the root, or one that pages of HTML beside it send their forms to. As a site of plain files the app
// would hand out its source.
func page(app string) string {
	patterns := []string{"*.php"}
	if kit.IsFile(app, "index.html") {
		patterns = append(patterns, "*/*.php", "*/*/*.php")
	}
	for _, pattern := range patterns {
		found, _ := filepath.Glob(filepath.Join(app, pattern)) // constant patterns: cannot fail
		for _, f := range found {
			f, err := filepath.Rel(app, f)
			if top, _, _ := strings.Cut(f, "/"); err == nil && !strings.HasPrefix(top, ".") && !slices.Contains([]string{"node_modules", "vendor", "tests", "test", "docs"}, top) {
				return f
			}
		}
	}
	return ""
}

// firstPages are the names of a first page in PHP where there is no index.
var firstPages = []string{"home.php", "main.php", "default.php", "app.php"}

// composer is what composer.json and composer.lock say, as far as a build needs it.
type composer struct {
	Require map[string]string `json:"require"`
	Config  struct {
		Platform map[string]any `json:"platform"`
	} `json:"config"`
	Scripts map[string]any `json:"scripts"`
	there   bool
	locked  []lockedPackage
	hasLock bool
}

type lockedPackage struct {
	Name    string          `json:"name"`
	Version string          `json:"version"`
	Require json.RawMessage `json:"require"` // PHP writes an empty one as a list
	require map[string]string
}

// readComposer reads both files. Without a composer.json there is nothing in it.
func readComposer(app string) (*composer, error) {
	c := &composer{}
	if !kit.IsFile(app, "composer.json") {
		return c, nil
	}
	c.there = true
	var raw struct {
		Require json.RawMessage `json:"require"`
		Config  json.RawMessage `json:"config"`
		Scripts json.RawMessage `json:"scripts"`
	}
	if err := json.Unmarshal([]byte(kit.Text(app, "composer.json")), &raw); err != nil {
		return nil, kit.Errorf("correct it and push again", "composer.json is not valid JSON: %v", err)
	}
	// A part of another form is Composer's to complain about.
	_ = json.Unmarshal(raw.Require, &c.Require)
	_ = json.Unmarshal(raw.Config, &c.Config)
	_ = json.Unmarshal(raw.Scripts, &c.Scripts)
	if kit.IsFile(app, "composer.lock") {
		c.hasLock = true
		var lock struct {
			Packages []lockedPackage `json:"packages"`
		}
		if err := json.Unmarshal([]byte(kit.Text(app, "composer.lock")), &lock); err != nil {
			return nil, kit.Errorf("run composer update --lock, commit and push again", "composer.lock is not valid JSON: %v", err)
		}
		for i := range lock.Packages {
			_ = json.Unmarshal(lock.Packages[i].Require, &lock.Packages[i].require)
		}
		c.locked = lock.Packages
	}
	return c, nil
}

// has tells whether the app requires a package, itself or by another.
func (c *composer) has(name string) bool {
	return c.Require[name] != "" || slices.ContainsFunc(c.locked, func(p lockedPackage) bool { return p.Name == name })
}

// build is one build under way.
type build struct {
	Buildpack
	ctx      libcnb.BuildContext
	app      string
	env      kit.Env
	cache    *kit.Cache
	composer *composer
	line     string // "8.4"
	version  string // "8.4.27"
	tool     *debs.Tool
	set      *debs.Set
	php      *kit.Layer
	layers   []libcnb.LayerContributor
}

// Build implements libcnb.Builder.
func (bp Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	b := &build{Buildpack: bp, ctx: ctx, app: ctx.Application.Path, env: kit.NewEnv(ctx.Platform.Environment)}
	b.cache = kit.OpenCache(ctx, b.env)
	for _, step := range []func() error{b.prepare, b.installPHP, b.installPackages, b.assets, b.framework, b.server} {
		if err := step(); err != nil {
			return result, err
		}
	}
	if !procfile.HasWeb(b.app) {
		root, err := b.root()
		if err != nil {
			return result, err
		}
		if root != "" {
			kit.Say(b.Out, "Serving %s with nginx and FPM", kit.Pick(root == ".", "the app's folder", root+"/"))
			result.Processes = append(result.Processes, libcnb.Process{Type: "web", Command: "serve-php", Arguments: []string{root}, Direct: true, Default: true})
		}
	}
	if kit.IsDir(b.app, "vendor") {
		result.Slices = append(result.Slices, libcnb.Slice{Paths: []string{"vendor"}})
	}
	result.Layers = append(append(b.cache.Layers(), b.php), b.layers...)
	return result, nil
}

// root is the folder to serve; "" for an app of workers alone.
func (b *build) root() (string, error) {
	for _, name := range []string{"BP_PHP_WEB_DIR", "BP_STATIC_ROOT"} {
		if dir := b.env[name]; dir != "" {
			if clean := path.Clean(dir); filepath.IsLocal(clean) && kit.IsDir(b.app, clean) {
				return clean, nil
			}
			return "", kit.Errorf("name a folder of the app", "%s is %s, which is not a folder of the app", name, dir)
		}
	}
	for _, dir := range roots {
		if kit.IsFile(b.app, dir, "index.php") {
			b.rewrites(dir)
			return dir, nil
		}
	}
	for _, dir := range roots {
		if kit.IsFile(b.app, dir, "index.html") {
			return dir, nil
		}
	}
	for _, name := range firstPages { // nginx knows them
		if kit.IsFile(b.app, name) {
			return ".", nil
		}
	}
	if kit.IsFile(b.app, "Procfile") {
		return "", nil
	}
	return "", kit.Errorf("add index.php, or a Procfile with a line such as web: php server.php", "nothing says what to serve: there is no index.php at the root, in public/ or in web/")
}

// rewrites says that the rules of Apache do not count.
func (b *build) rewrites(dir string) {
	if strings.Contains(strings.ToLower(kit.Text(b.app, dir, ".htaccess")), "rewriterule") {
		kit.Say(b.Out, "%s is Apache's, and is not read: paths without a file go to index.php, as most such rules say", path.Join(dir, ".htaccess"))
	}
}

// assets runs the build script of a package.json.
func (b *build) assets() error {
	if !kit.IsFile(b.app, "package.json") {
		return nil
	}
	p, err := node.ReadPackage(b.app)
	if err != nil || !p.HasBuild() {
		return err
	}
	a, err := b.Node.OpenAssets(b.ctx, b.cache, b.env)
	if err != nil {
		return err
	}
	for _, step := range []func() error{a.Install, a.Build, a.Remove} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (b *build) prepare() error {
	b.env.Default("HOME", os.TempDir())
	b.env.Default("PATH", "/usr/bin:/bin")
	for _, name := range []string{"PHP_INI_SCAN_DIR", "PHPRC"} {
		delete(b.env, name)
	}
	var err error
	if b.composer, err = readComposer(b.app); err != nil {
		return err
	}
	w, err := wantedVersion(b.app, b.composer)
	if err != nil {
		return err
	}
	if b.tool, err = debs.Open(b.cache, b.env, b.Out); err != nil {
		return err
	}
	suite, err := b.tool.Release()
	if err != nil {
		return err
	}
	r, err := w.choose(available[suite])
	if err != nil {
		return err
	}
	b.line = r.line
	if b.set, err = b.tool.Resolve(debs.Request{Packages: b.packages(r.suite != suite), Suite: r.suite, Launch: true}); err != nil {
		return err
	}
	b.version = b.set.Version("php" + b.line + "-cli")
	kit.Say(b.Out, "PHP %s (Debian)", b.version)
	b.php, err = kit.OpenLayer(b.ctx, "php")
	return err
}
