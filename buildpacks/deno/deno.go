// Package deno is the buildpack of Deno: it fetches the program and an app's dependencies, runs its build task and finds out how the app starts.
package deno

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/node"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// Buildpack builds apps of Deno.
type Buildpack struct {
	Root string // of Node.js, whose npm fetches Deno
	Out  io.Writer
}

// New returns the buildpack with the paths of the build image.
func New(out io.Writer) Buildpack { return Buildpack{Root: catalog.NodeRoot, Out: out} }

// entries are what is started when no task says what to start.
var entries = []string{"main.ts", "server.ts", "app.ts", "index.ts", "mod.ts", "src/main.ts", "src/server.ts", "src/index.ts", "main.tsx", "main.js", "server.js", "index.js"}

// isDeno finds code that only Deno runs, in a file that stands alone.
var isDeno = pattern.New(`\bDeno\.|from\s+["'](?:jsr|npm):|from\s+["']https://(?:deno\.land|esm\.sh|jsr\.io)`)

// Detect implements libcnb.Detector.
func (b Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	app := ctx.Application.Path
	found := evidence(app)
	if found == "" {
		return kit.LookedFor(b.Out, "deno.json"), nil
	}
	if _, err := readConfig(app); err != nil {
		return libcnb.DetectResult{}, err
	}
	return kit.Detected(b.Out, "Deno (%s, %s)", found, kit.Pick(version(app) == latest, "any deno", "deno "+version(app))), nil
}

// evidence is the file that makes the app one of Deno; "" for none. The lock file of another package manager says that deno.json is for its tools.
func evidence(app string) string {
	for _, f := range []string{"package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"} {
		if kit.Exists(app, f) {
			return ""
		}
	}
	for _, f := range []string{"deno.json", "deno.jsonc", "deno.lock"} {
		if kit.IsFile(app, f) {
			return f
		}
	}
	if kit.Exists(app, "package.json") {
		return ""
	}
	for _, f := range entries {
		if isDeno.MatchString(kit.Text(app, f)) {
			return f
		}
	}
	return ""
}

// config is what deno.json says, as far as a build needs it.
type config struct {
	Tasks map[string]json.RawMessage `json:"tasks"`
	file  string
}

// readConfig reads deno.json or deno.jsonc; an app without one has no tasks.
func readConfig(app string) (config, error) {
	for _, f := range []string{"deno.json", "deno.jsonc"} {
		if !kit.IsFile(app, f) {
			continue
		}
		c := config{file: f}
		if err := json.Unmarshal([]byte(plainJSON(kit.Text(app, f))), &c); err != nil {
			return c, kit.Errorf("correct it and push again", "%s cannot be read: %v", f, err)
		}
		return c, nil
	}
	return config{}, nil
}

// plainJSON takes comments and commas before an end out of JSON, where Deno allows both.
func plainJSON(text string) string {
	var out strings.Builder
	inString := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case inString:
			out.WriteByte(c)
			if c == '\\' && i+1 < len(text) {
				i++
				out.WriteByte(text[i])
			}
			inString = c != '"'
		case c == '"':
			inString = true
			out.WriteByte(c)
		case strings.HasPrefix(text[i:], "//"):
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case strings.HasPrefix(text[i:], "/*"):
			end := strings.Index(text[i+2:], "*/")
			if end < 0 {
				return out.String()
			}
			i += end + 3
		default:
			out.WriteByte(c)
		}
	}
	return commaBeforeEnd.ReplaceAllString(out.String(), "$1")
}

var commaBeforeEnd = pattern.New(`,(\s*[}\]])`)

// task is the command of a task; "" for none. A task is a string, or an object with a command.
func (c config) task(name string) string {
	var line string
	if json.Unmarshal(c.Tasks[name], &line) == nil {
		return strings.TrimSpace(line)
	}
	var t struct{ Command string }
	_ = json.Unmarshal(c.Tasks[name], &t) // deno complains of another form
	return strings.TrimSpace(t.Command)
}

// latest is the version that is taken where nothing says which.
const latest = "2"

// version is the version that the app asks for: a version or a range.
func version(app string) string {
	for _, f := range []string{".deno-version", ".dvmrc"} {
		for _, v := range kit.VersionLines(app, f) {
			return strings.TrimPrefix(v, "v")
		}
	}
	for _, vs := range [][]string{kit.AsdfVersions(app, ".tool-versions", "deno"), kit.MiseVersions(app, "mise.toml", "deno"), kit.MiseVersions(app, ".mise.toml", "deno")} {
		if len(vs) > 0 && vs[0] != "latest" {
			return vs[0]
		}
	}
	return latest
}

// denoPackage is the package of npm's registry that has the program for this machine.
func denoPackage() string {
	return "@deno/linux-" + kit.Pick(runtime.GOARCH == "arm64", "arm64", "x64") + "-glibc"
}

// build is one build under way.
type build struct {
	Buildpack
	ctx   libcnb.BuildContext
	app   string
	env   kit.Env
	cache *kit.Cache
	conf  config
	exe   string
}

// Build implements libcnb.Builder.
func (b Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	bd := &build{Buildpack: b, ctx: ctx, app: ctx.Application.Path, env: kit.NewEnv(ctx.Platform.Environment)}
	bd.cache = kit.OpenCache(ctx, bd.env)
	var err error
	if bd.conf, err = readConfig(bd.app); err != nil {
		return result, err
	}
	layers, err := bd.build()
	if err != nil {
		return result, err
	}
	web, err := bd.start()
	if err != nil {
		return result, err
	}
	if web != nil {
		web.Default = true
		result.Processes = append(result.Processes, *web)
	}
	result.Layers = append(bd.cache.Layers(), layers...)
	return result, nil
}

func (b *build) build() ([]libcnb.LayerContributor, error) {
	f := node.Fetcher{Root: b.Root, Env: b.env, Cache: b.cache, Out: b.Out}
	dir, err := f.Fetch(denoPackage(), "Deno", version(b.app), kit.Pick(version(b.app) == latest, "the newest", "as the app asks"))
	if err != nil {
		return nil, err
	}
	b.exe = filepath.Join(dir, "deno")
	if err := os.Chmod(b.exe, 0o755); err != nil { // the package leaves that to its script
		return nil, err
	}
	if err := b.prepare(filepath.Dir(b.exe)); err != nil {
		return nil, err
	}
	entry := b.entry()
	if entry != "" || b.conf.file != "" {
		if err := b.install(entry); err != nil {
			return nil, err
		}
	}
	if b.conf.task("build") != "" {
		env := b.env.Clone()
		env.Default("NODE_ENV", "production")
		if err := b.run(env, "task", "build"); err != nil {
			return nil, err
		}
	}
	deps, err := b.dependencies()
	if err != nil {
		return nil, err
	}
	program, err := b.program()
	if err != nil {
		return nil, err
	}
	return []libcnb.LayerContributor{program, deps}, nil
}

// serves finds a program that leaves it to deno serve to listen.
var serves = pattern.New(`(?s)export\s+default\s*(?:\{.*\bfetch\b|app\b|router\b|server\b)`)

// listens finds a program that listens by itself.
var listens = pattern.New(`Deno\.(?:serve|listen)|\.listen\(|\bserve\(`)

// start finds out how the app starts: by its Procfile, its start task, else by the program with one of the usual names. A task that watches files is for
// development; preview is what Fresh calls the other.
func (b *build) start() (*libcnb.Process, error) {
	for _, name := range []string{"start", "serve", "preview", "prod"} {
		s := b.conf.task(name)
		if s == "" || strings.Contains(s, "--watch") || strings.Contains(s, "dev.ts") {
			continue
		}
		// One command needs no task runner between it and its signals.
		if strings.HasPrefix(s, "deno ") && !strings.ContainsAny(s, "&|;$<>*") {
			return b.listening("exec " + s), nil
		}
		return b.listening("exec deno task " + name), nil
	}
	for _, f := range []string{"_fresh/server.js"} {
		if kit.IsFile(b.app, f) {
			return b.listening("exec deno serve -A --host 0.0.0.0 --port ${PORT:-8080} " + f), nil
		}
	}
	if f := b.entry(); f != "" {
		text := kit.Text(b.app, f)
		if serves.MatchString(text) && !listens.MatchString(text) {
			return b.listening("exec deno serve -A --host 0.0.0.0 --port ${PORT:-8080} " + f), nil
		}
		return b.listening("exec deno run -A " + f), nil
	}
	procs, err := procfile.Read(b.app)
	if err != nil || len(procs) > 0 {
		return nil, nil // its own buildpack tells what is wrong with it
	}
	return nil, kit.Errorf(`add "start": "deno run -A main.ts" to the tasks in deno.json`, "nothing says how the app starts: no start task, no main.ts, server.ts, app.ts or index.ts, no Procfile")
}

// listening makes what Deno.serve starts listen where the platform expects it, whatever port the program names.
func (b *build) listening(line string) *libcnb.Process {
	return &libcnb.Process{Type: "web", Command: "bash", Arguments: []string{"-c", `export DENO_SERVE_ADDRESS="${DENO_SERVE_ADDRESS:-tcp:0.0.0.0:${PORT:-8080}}"; ` + line}, Direct: true}
}

// entry is the program with one of the usual names; "" for none.
func (b *build) entry() string {
	for _, f := range entries {
		if kit.IsFile(b.app, f) {
			return f
		}
	}
	return ""
}
