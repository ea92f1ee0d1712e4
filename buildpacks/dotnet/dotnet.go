// Package dotnet is the .NET buildpack: projects of C#, F# and Visual Basic, published by the SDK that they ask for, and run by the runtime of that line.
//
// A project is published for a runtime that is in the image already (framework-dependent): the runtime is a layer that is the same for all apps of its
// version, and a push writes what the app itself is. A self-contained publication would write some 70 MB of the runtime with each push, and starts no
// sooner: the shared runtime is compiled ahead of time as well.
package dotnet

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// Buildpack builds .NET apps.
type Buildpack struct {
	Out       io.Writer
	Libraries Libraries
	now       func() time.Time
}

// New returns the buildpack.
func New(out io.Writer) Buildpack { return Buildpack{Out: out, Libraries: packaged{}, now: time.Now} }

const looksFor = "*.csproj, *.fsproj, *.sln"

// Detect implements libcnb.Detector.
func (bp Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	app := ctx.Application.Path
	file := Evidence(app)
	if file == "" {
		return kit.LookedFor(bp.Out, looksFor), nil
	}
	what, err := describe(app, file, kit.NewEnv(ctx.Platform.Environment))
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	return kit.Detected(bp.Out, ".NET (%s)", what), nil
}

// describe says what is to be built, and by which version.
func describe(app, file string, env kit.Env) (string, error) {
	if strings.HasSuffix(file, runtimeConfig) {
		return file + ", published", nil
	}
	g, err := readGlobal(app)
	if err != nil {
		return "", err
	}
	t, err := findTargets(app, env)
	if err != nil {
		return "", err
	}
	what := t.main.path
	if what != file && filepath.Dir(file) == "." && file != globalFile {
		what = file + ", " + what
	}
	version := t.framework.name
	if g.version != "" {
		version += ", SDK " + g.version
	}
	return what + ", " + version, nil
}

// Check returns a *kit.Error for an app of .NET that cannot be built: what a Procfile's buildpack asks before it takes the app.
func Check(app string) error {
	if file := Evidence(app); file != "" {
		_, err := describe(app, file, kit.Env{})
		return err
	}
	return nil
}

// build is one build under way.
type build struct {
	Buildpack
	ctx     libcnb.BuildContext
	app     string
	env     kit.Env
	cache   *kit.Cache
	feed    *feed
	targets targets
	sdk     sdk
	outputs []output
	runs    string // what "dotnet run" of the Procfile does; "" for none
	layers  []libcnb.LayerContributor
}

// Build implements libcnb.Builder.
func (bp Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	b := &build{Buildpack: bp, ctx: ctx, app: ctx.Application.Path, env: kit.NewEnv(ctx.Platform.Environment)}
	b.cache = kit.OpenCache(ctx, b.env)
	steps := []func() error{b.prepare, b.findSDK, b.libraries, b.environment, b.intermediate, b.tools, b.frontend, b.publish, b.removeModules, b.replace, b.runtime}
	if strings.HasSuffix(Evidence(b.app), runtimeConfig) {
		steps = []func() error{b.prepare, b.published, b.runtime}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return result, err
		}
	}
	result.Processes = b.processes()
	result.Layers = append(b.cache.Layers(), b.layers...)
	return result, nil
}

// prepare opens what all builds need.
func (b *build) prepare() error {
	b.env.Default("HOME", os.TempDir())
	b.env.Default("PATH", "/usr/bin:/bin")
	b.env.Default("LANG", "C.UTF-8")
	var err error
	b.feed, err = openFeed(b.cache, b.env, b.Out, b.now)
	return err
}

// processesOf are those of the Procfile.
func processesOf(app string) []procfile.Process {
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	return procs
}
