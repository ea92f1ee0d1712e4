// Package elixir is the Elixir buildpack: Elixir and Erlang from Debian's packages, packages by mix, assets of Phoenix, and a release that needs neither
// to run.
package elixir

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

// manifest is the file by which an app is one of Elixir.
const manifest = "mix.exs"

// Buildpack builds Elixir apps.
type Buildpack struct {
	Out io.Writer
}

// New returns the buildpack.
func New(out io.Writer) Buildpack { return Buildpack{Out: out} }

// Detect implements libcnb.Detector.
func (bp Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	app := ctx.Application.Path
	if !kit.IsFile(app, manifest) {
		return kit.LookedFor(bp.Out, manifest), nil
	}
	w, err := wantedVersion(app)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	return kit.Detected(bp.Out, "Elixir (%s, %s)", manifest, w.describe()), nil
}

// build is one build under way.
type build struct {
	Buildpack
	ctx     libcnb.BuildContext
	app     string
	env     kit.Env
	cache   *kit.Cache
	work    string // the folder of the app's cache that has _build and deps
	tool    *debs.Tool
	request debs.Request
	set     *debs.Set
	version string // "1.18.3"
	project project
	release string // the folder of the release below the app; "" where mix starts the app
	layers  []libcnb.LayerContributor
	slices  []libcnb.Slice
}

// Build implements libcnb.Builder.
func (bp Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	b := &build{Buildpack: bp, ctx: ctx, app: ctx.Application.Path, env: kit.NewEnv(ctx.Platform.Environment)}
	b.cache = kit.OpenCache(ctx, b.env)
	for _, step := range []func() error{b.prepare, b.openWork, b.packages, b.read, b.compile, b.assets, b.assemble, b.settings} {
		if err := step(); err != nil {
			return result, err
		}
	}
	if p := b.start(); p != nil {
		p.Default = true
		result.Processes = append(result.Processes, *p)
	}
	result.Slices = b.slices
	result.Layers = append(b.cache.Layers(), b.layers...)
	return result, nil
}

// tools are Debian's packages: Elixir, what compiles packages with C code, and the libraries of Erlang that apps use and that need no screen.
var tools = []string{"elixir", "erlang-dev", "erlang-asn1", "erlang-base", "erlang-crypto", "erlang-eldap", "erlang-eunit", "erlang-ftp", "erlang-inets", "erlang-mnesia", "erlang-os-mon", "erlang-parsetools",
	"erlang-public-key", "erlang-runtime-tools", "erlang-ssh", "erlang-ssl", "erlang-syntax-tools", "erlang-tools", "erlang-xmerl"}

// prepare finds out which Elixir the app gets, and puts it on the PATH.
func (b *build) prepare() error {
	b.env.Default("HOME", os.TempDir())
	b.env.Default("PATH", "/usr/bin:/bin")
	b.env.Default("LANG", "C.UTF-8")
	b.env.Default("MIX_ENV", "prod")
	var err error
	if b.tool, err = debs.Open(b.cache, b.env, b.Out); err != nil {
		return err
	}
	w, err := wantedVersion(b.app)
	if err != nil {
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
	b.request = debs.Request{Packages: tools, Suite: r.suite}
	if b.set, err = b.tool.Resolve(b.request); err != nil {
		return err
	}
	dir, err := b.tool.InCache(b.set, b.cache, "elixir-debian")
	if err != nil {
		return err
	}
	debs.Environment(dir).AddTo(b.env)
	b.version, _, _ = strings.Cut(b.set.Version("elixir"), ".dfsg")
	kit.Say(b.Out, "Elixir %s, Erlang/OTP %s (Debian)", b.version, otp(b.set.Version("erlang-base")))
	if w.pin != "" && !w.met(b.version) {
		kit.Say(b.Out, "%s asks for Elixir %s: Debian's %s builds the app", w.pinFrom, w.pin, b.version)
	}
	return nil
}

// otp takes Debian's suffix off a version of Erlang.
func otp(version string) string {
	version, _, _ = strings.Cut(version, "+")
	return version
}

// run runs a tool in the app's folder.
func (b *build) run(args ...string) error {
	kit.Say(b.Out, "%s", strings.Join(args, " "))
	said, err := kit.Cmd{Args: args, Dir: b.app, Env: b.env, Out: b.Out, Name: strings.Join(args[:min(2, len(args))], " ")}.Run()
	return reason(said, err)
}

// processes are those of the Procfile.
func (b *build) processes() []procfile.Process {
	procs, _ := procfile.Read(b.app) // a malformed one fails in its own buildpack
	return procs
}

// start is how the app starts; nil for one whose Procfile says so.
func (b *build) start() *libcnb.Process {
	switch {
	case procfile.HasWeb(b.app):
		return nil
	case b.release == "" && b.project.phoenix:
		return kit.WebLine("exec mix phx.server --no-compile")
	case b.release == "":
		return kit.WebLine("exec mix run --no-halt --no-compile")
	}
	return &libcnb.Process{Type: "web", Command: filepath.Base(b.release), Arguments: []string{"start"}, Direct: true}
}
