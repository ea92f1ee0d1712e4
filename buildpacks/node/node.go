// Package node is the Node.js buildpack: it installs packages by the lock file, runs the build script and finds out how the
// app starts.
package node

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	functions "github.com/gitd-io/gitd/buildpacks/internal/function"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// Buildpack builds Node.js apps.
type Buildpack struct {
	Root   string // bin/node, bin/npm and what belongs to them
	Lambda string // the program that runs functions of AWS Lambda
	Out    io.Writer
}

// New returns the buildpack with the paths of the build image.
func New(out io.Writer) Buildpack {
	return Buildpack{Root: catalog.NodeRoot, Lambda: catalog.LambdaProgram, Out: out}
}

// Detect implements libcnb.Detector.
func (b Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	app := ctx.Application.Path
	f, err := findFunction(app, kit.NewEnv(ctx.Platform.Environment))
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	p, err := readPackageOf(app, f)
	if errors.Is(err, fs.ErrNotExist) {
		return kit.LookedFor(b.Out, "package.json"), nil
	}
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	if f != nil {
		_, _, w, err := asks(app, p)
		return b.describeFunction(f, w), err
	}
	// A package.json without anything to start may be there for tools only: then another language has the app.
	if p.KindOf(app) != Server {
		for _, f := range []string{"requirements.txt", "pyproject.toml", "setup.py", "Pipfile", "manage.py"} {
			if kit.Exists(app, f) {
				return kit.LookedFor(b.Out, "package.json with a start script"), nil
			}
		}
		if kit.OtherLanguage(app).Name != "" {
			return kit.LookedFor(b.Out, "package.json with a start script"), nil
		}
	}
	if p.KindOf(app) == Neither && kit.IsFile(app, "index.html") {
		return kit.LookedFor(b.Out, "package.json with a start or build script"), nil
	}
	_, m, w, err := asks(app, p)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	if !kit.Exists(app, "package.json") {
		return kit.Detected(b.Out, "Node.js (%s, %s)", programAlone(app), w.describe()), nil
	}
	if m.kind == "bun" {
		return kit.Detected(b.Out, "Bun (package.json, %s)", kit.Pick(m.lock == "", "no lock file", m.lock)), nil
	}
	return kit.Detected(b.Out, "Node.js (package.json, %s, %s)", m.describe(), w.describe()), nil
}

// readPackageOf is ReadPackage for an app that may be a function, which needs no package.json.
func readPackageOf(app string, f *functions.Found) (*Package, error) {
	p, err := ReadPackage(app)
	if f != nil && errors.Is(err, fs.ErrNotExist) {
		return &Package{}, nil
	}
	return p, err
}

// web is the process that takes requests; nil for an app whose Procfile says so itself. The layers get the one of a function, and of a handler.
func (b *build) web(layers *[]libcnb.LayerContributor) (*libcnb.Process, error) {
	if b.function != nil {
		p, err := b.functionProcess(layers)
		if p != nil || err != nil {
			return p, err
		}
	}
	if p, err := b.handlerProcess(layers); p != nil || err != nil {
		return p, err
	}
	return b.start()
}

// Takes tells whether the app is one of Node.js: it has a program to start, or pages to build that belong to no other language.
func Takes(app string) bool {
	p, err := ReadPackage(app)
	return err == nil && (p.KindOf(app) == Server || p.KindOf(app) == Site && kit.OtherLanguage(app).Name == "")
}

// build is one build under way.
type build struct {
	Buildpack
	ctx           libcnb.BuildContext
	app           string
	root          string // the workspace's, where its packages are installed; app where that is in none
	rootPkg       *Package
	members       []member // of the workspace, those that others depend on first
	env           kit.Env
	cache         *kit.Cache
	pkg           *Package
	tool          tool
	node          nodeJS
	key           string
	programs      map[string]string // the package managers on the PATH but npm, and their scripts
	saidKept      bool
	serverVersion map[string]string // of frameworkServers
	npm           string            // the folder of an npm that is not the builder's; "" for that
	function      *functions.Found
	site          bool // the build's output is a static site: known when the build script has run
	began         time.Time
}

// Build implements libcnb.Builder.
func (bp Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	b := &build{Buildpack: bp, ctx: ctx, app: ctx.Application.Path, env: kit.NewEnv(ctx.Platform.Environment)}
	b.cache = kit.OpenCache(ctx, b.env)
	layers, err := b.build()
	if err != nil {
		return result, err
	}
	if b.function != nil {
		label, err := b.function.Label()
		if err != nil {
			return result, err
		}
		result.Labels = append(result.Labels, label)
	}
	if !b.site {
		web, err := b.web(&layers)
		if err != nil {
			return result, err
		}
		if web != nil {
			if b.function == nil && b.pkg.isBot(b.app) {
				web.Type = "worker"
			}
			web.Default = web.Type == "web"
			result.Processes = append(result.Processes, *web)
		}
	}
	result.Layers = append(b.cache.Layers(), layers...)
	return result, nil
}

func (b *build) build() ([]libcnb.LayerContributor, error) {
	var err error
	if b.function, err = findFunction(b.app, b.env); err != nil {
		return nil, err
	}
	if b.pkg, err = readPackageOf(b.app, b.function); err != nil {
		return nil, err
	}
	m, err := b.open()
	if err != nil {
		return nil, err
	}
	if err := b.clean(m); err != nil {
		return nil, err
	}

	b.site = b.function == nil && b.pkg.KindOf(b.app) == Site
	if b.site && len(b.pkg.memberStarts(b.app)) > 1 {
		if err := b.tellMember(); err != nil { // before a build that takes its time
			return nil, err
		}
	}
	var layers []libcnb.LayerContributor
	switch {
	case !kit.Exists(b.app, "package.json"):
	case b.workspaceKey() != "":
		var modules *kit.Layer
		if modules, err = b.workspace(); modules != nil {
			layers = append(layers, modules)
		}
	case b.root != b.app || b.pkg.local(b.app):
		// Installing reads other folders of the app and writes into them: it is repeated, in the app's folder.
		err = b.inPlace()
	default:
		var modules *kit.Layer
		if modules, err = b.layered(); modules != nil {
			layers = append(layers, modules)
		}
	}
	if err != nil {
		return nil, err
	}
	if b.site {
		// Only the output of the build is served: the static buildpack comes next.
		return layers, b.removeModules()
	}
	runtime, err := b.runtimeLayer()
	if err != nil {
		return nil, err
	}
	server, err := b.serverLayer()
	if err != nil {
		return nil, err
	}
	if server != nil {
		layers = append(layers, server)
	}
	return append(layers, runtime), nil
}

// clean tells what about the lock files a person may not expect, and puts away what package managers stumble over.
func (b *build) clean(m manager) error {
	if m.lock == "" && len(b.pkg.Dependencies) > 0 {
		kit.Say(b.Out, "Warning: there is no lock file, so each build may install other versions; commit %s",
			map[string]string{"npm": "package-lock.json", "yarn": "yarn.lock", "berry": "yarn.lock", "pnpm": "pnpm-lock.yaml", "bun": "bun.lock"}[m.kind])
	}
	if len(m.others) > 0 {
		kit.Say(b.Out, "Warning: %s is not used: %s installs the packages; remove what is not needed", strings.Join(m.others, ", "), m.program())
	}
	file := filepath.Join(b.app, "package.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return nil // a program without one
	}
	if text := kit.Decode(data); text != string(data) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	modules := filepath.Join(b.app, "node_modules")
	if !kit.Exists(modules) {
		return nil
	}
	kit.Say(b.Out, "Warning: node_modules is committed; the packages are installed here instead: add it to .gitignore")
	return os.RemoveAll(modules)
}

// tools puts Node.js, npm and the app's package manager on the PATH.
func (b *build) tools(m manager) (err error) {
	b.env.Prepend(filepath.Dir(b.node.exe))
	b.node.headers(b.env)
	b.node.certificates(b.env)
	b.setHeap()
	kit.Say(b.Out, "Node.js %s", b.node.version)
	if err := b.otherNPM(); err != nil {
		return err
	}
	if b.tool, err = b.fetchTool(m); err != nil {
		return err
	}
	b.tool.setEnv(b.env)
	return b.wrap()
}

// open makes Node.js and the package manager that package.json asks for ready.
func (b *build) open() (manager, error) {
	root, m, w, err := asks(b.app, b.pkg)
	if err != nil {
		return m, err
	}
	if err := b.openWorkspace(root); err != nil {
		return m, err
	}
	if err := b.prepare(); err != nil {
		return m, err
	}
	if b.node, err = b.findNode(w); err != nil {
		return m, err
	}
	if err := b.tools(m); err != nil {
		return m, err
	}
	b.key = b.pkg.installKey(b.app, m, b.node.version)
	return m, nil
}

// prepare sets the environment of node and the package managers.
func (b *build) prepare() error {
	npmCache, err := b.cache.Downloads("node-npm")
	if err != nil {
		return err
	}
	b.env.Prepend(filepath.Join(b.Root, "bin"))
	b.env.Default("HOME", os.TempDir())
	if ca := b.env["SSL_CERT_FILE"]; ca != "" {
		b.env.Default("NODE_EXTRA_CA_CERTS", ca) // node reads no other variable
	}
	b.env["npm_config_cache"] = npmCache
	for k, v := range map[string]string{"update_notifier": "false", "fund": "false", "audit": "false", "progress": "false"} {
		b.env.Default("npm_config_"+k, v)
	}
	return nil
}

func (b *build) install(dev bool) error {
	env := b.env.Clone()
	env.Default("CI", "true")             // package managers ask no questions then; to builds it says more, so that they do not get it
	env.Default("JOBS", kit.Processors()) // of node-gyp, which compiles one file at a time without it
	return b.commandIn(b.root, b.tool.install(dev), env)
}

// quiet keeps build tools from servers of their own beside the build, and from telling their makers about it.
var quiet = map[string]string{"NX_DAEMON": "false", "DO_NOT_TRACK": "1", "NEXT_TELEMETRY_DISABLED": "1", "NUXT_TELEMETRY_DISABLED": "1", "ASTRO_TELEMETRY_DISABLED": "1", "GATSBY_TELEMETRY_DISABLED": "1", "NG_CLI_ANALYTICS": "false",
	"TURBO_TELEMETRY_DISABLED": "1", "STORYBOOK_DISABLE_TELEMETRY": "1"}

func (b *build) runBuild() error {
	if !b.pkg.HasBuild() {
		return nil
	}
	env := b.env.Clone()
	env.Default("NODE_ENV", "production")
	env.Default("npm_config_include", "dev") // of an app in a folder, which the script installs and builds
	if b.tool.kind == "yarn" {               // later ones refuse variables that they do not know
		env.Default("YARN_PRODUCTION", "false")
	}
	for name, value := range quiet {
		env.Default(name, value)
	}
	if err := b.forNode(env); err != nil {
		return err
	}
	after, err := b.astroForHere(env)
	if err != nil {
		return err
	}
	b.noteServers()
	done, err := b.keepCaches()
	if err != nil {
		return err
	}
	if b.legacyHash() && !strings.Contains(env["NODE_OPTIONS"], "openssl") {
		env["NODE_OPTIONS"] = strings.TrimSpace(env["NODE_OPTIONS"] + " --openssl-legacy-provider")
	}
	if err := b.buildMembers(env); err != nil {
		return err
	}
	if err := after(); err != nil {
		return err
	}
	if err := done(); err != nil {
		return err
	}
	if b.site = b.site && builtServer(b.app) == nil; b.site && len(memberServers(b.app)) > 1 {
		return b.tellMember()
	}
	if b.site && b.pkg.has("@builder.io/qwik-city", "@qwik.dev/router") && kit.IsFile(b.app, "dist/q-manifest.json") && !kit.IsFile(b.app, "dist/index.html") {
		return kit.Errorf("run npm run qwik add express, or add static for pages alone, and commit what it writes", "Qwik has built neither a server nor pages: the app has no adapter")
	}
	return nil
}

// buildCommand runs the script that builds the app, else the framework's own command.
func (b *build) buildCommand() []string {
	if name := b.pkg.BuildScript(); name != "" {
		return b.tool.run(name)
	}
	words := strings.Fields(b.pkg.impliedBuild())
	return b.tool.exec(words...)
}

// exec is the command that runs a program of a package.
func (t tool) exec(words ...string) []string {
	how := map[string][]string{"npm": {"exec", "--"}, "pnpm": {"exec"}, "bun": {"x"}}[t.kind]
	if how == nil {
		how = []string{"run"}
	}
	return slices.Concat(t.argv, how, words)
}

func (b *build) command(args []string, env kit.Env) error { return b.commandIn(b.app, args, env) }

func (b *build) commandIn(dir string, args []string, env kit.Env) error {
	title := b.tool.title(args)
	kit.Say(b.Out, "%s", title)
	words := strings.Fields(title)
	n := 2
	if words[1] == "run" {
		n = 3
	}
	said, err := kit.Cmd{Args: args, Dir: dir, Env: env, Out: b.Out, Name: strings.Join(words[:min(n, len(words))], " ")}.Run()
	return b.reason(said, err)
}

func mkdir(dir string) error { return os.MkdirAll(dir, 0o755) }
