// Package java is the buildpack of Java and the languages of its virtual machine: Maven, Gradle, sbt, Leiningen and tools.deps, or a jar or war that is
// built already.
package java

import (
	"io"
	"os"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/node"
)

// Buildpack builds apps of the Java virtual machine.
type Buildpack struct {
	Out     io.Writer
	Places  Places
	Runtime Runtime
}

// mavenCentral is Maven Central, as Maven itself knows it.
const mavenCentral = "repo.maven.apache.org/maven2"

// Places are the servers that the tools come from.
type Places struct {
	Central string // Maven Central, or a mirror of it
	Gradle  string // where distributions of Gradle are, for an app without a wrapper
	Temurin string // the API that lists builds of OpenJDK
}

// New returns the buildpack as it is in the build image.
func New(out io.Writer) Buildpack {
	return Buildpack{Out: out, Runtime: packaged{}, Places: Places{
		Central: "https://" + mavenCentral, Gradle: "https://services.gradle.org/distributions",
		Temurin: "https://api.adoptium.net",
	}}
}

// Detect implements libcnb.Detector.
func (b Buildpack) Detect(ctx libcnb.DetectContext) (libcnb.DetectResult, error) {
	app := ctx.Application.Path
	s, err := findSource(app)
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	if s.tool == none {
		return kit.LookedFor(b.Out, "pom.xml, build.gradle, build.sbt, project.clj, deps.edn, a jar or a war"), nil
	}
	w, err := wantedVersion(app, s, kit.NewEnv(ctx.Platform.Environment))
	if err != nil {
		return libcnb.DetectResult{}, err
	}
	return kit.Detected(b.Out, "%s (%s, %s)", s.language(app), s.file, w.describe()), nil
}

// Check returns an *kit.Error when the app has files of Java's that cannot be read.
func Check(app string) error {
	s, err := findSource(app)
	if err == nil && s.tool != none {
		_, err = wantedVersion(app, s, kit.Env{})
	}
	return err
}

// build is one build under way.
type build struct {
	Buildpack
	ctx     libcnb.BuildContext
	app     string
	env     kit.Env
	cache   *kit.Cache
	source  source
	java    int          // the version of Java: 21
	home    string       // the JDK
	tool    string       // the home of Gradle
	clojure *basis       // how an app of deps.edn runs without a jar
	assets  *node.Assets // JavaScript beside it
	several string       // classes of which each could be the program's
	layers  []libcnb.LayerContributor
	slices  []libcnb.Slice
	divided bool // a jar of Spring Boot has its libraries in layers

	fromTemurin bool // Debian has the version no more
}

// Build implements libcnb.Builder.
func (bp Buildpack) Build(ctx libcnb.BuildContext) (libcnb.BuildResult, error) {
	result := libcnb.NewBuildResult()
	b := &build{Buildpack: bp, ctx: ctx, app: ctx.Application.Path, env: kit.NewEnv(ctx.Platform.Environment)}
	b.cache = kit.OpenCache(ctx, b.env)
	web, err := b.run()
	if err != nil {
		return result, err
	}
	if web != nil {
		web.Type, web.Default = "web", true
		result.Processes = append(result.Processes, *web)
	}
	result.Layers = append(b.cache.Layers(), b.layers...)
	result.Slices = b.slices
	return result, nil
}

// run builds the app and returns its process; nil where a Procfile says what runs.
func (b *build) run() (*libcnb.Process, error) {
	if err := b.prepare(); err != nil {
		return nil, err
	}
	if err := b.frontend(); err != nil {
		return nil, err
	}
	if err := b.compile(); err != nil {
		return nil, err
	}
	if b.assets != nil {
		if err := b.assets.Remove(); err != nil {
			return nil, err
		}
	}
	web, err := b.start()
	if err != nil {
		return nil, err
	}
	jre, err := b.Runtime.JRE(b)
	if err != nil {
		return nil, err
	}
	b.layers = append(b.layers, jre)
	return web, nil
}

func (b *build) prepare() (err error) {
	if b.source, err = findSource(b.app); err != nil {
		return err
	}
	b.env.Default("HOME", os.TempDir())
	b.env.Default("PATH", "/usr/bin:/bin")
	b.env.Default("LANG", "C.UTF-8")
	w, err := wantedVersion(b.app, b.source, b.env)
	if err != nil {
		return err
	}
	b.java = w.pick()
	if w.version != 0 && !w.atLeast && w.version != b.java {
		kit.Say(b.Out, "Warning: Java %d cannot be had: Java %d takes its place", w.version, b.java)
	}
	if b.source.tool == gradle { // without it, the JDK is fetched in vain
		if b.tool, err = b.gradleHome(); err != nil {
			return err
		}
	}
	b.home, err = b.Runtime.JDK(b)
	if err != nil && b.java == oldest { // Debian's unstable release may lose it at any time
		kit.Say(b.Out, "Warning: Java %d cannot be had (%s): Java %d takes its place", oldest, kit.Line(err), afterOldest)
		b.java = afterOldest
		b.home, err = b.Runtime.JDK(b)
	}
	if err != nil {
		return err
	}
	kit.Say(b.Out, "Java %d", b.java)
	b.env["JAVA_HOME"] = b.home
	b.env.Prepend(b.home + "/bin")
	return nil
}

// compile runs the app's build tool.
func (b *build) compile() error {
	switch b.source.tool {
	case maven:
		return b.maven()
	case gradle:
		return b.gradle()
	case sbt:
		return b.sbt()
	case lein:
		return b.lein()
	case cljDeps:
		return b.depsEDN()
	}
	return nil
}
