package java

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// tool is what builds an app.
type tool string

const (
	none    tool = ""
	maven   tool = "Maven"
	gradle  tool = "Gradle"
	sbt     tool = "sbt"
	lein    tool = "Leiningen"
	cljDeps tool = "tools.deps"
	archive tool = "a jar or war" // built already
)

// source is how an app is built.
type source struct {
	tool tool
	file string // what says so
}

// manifests are the files by which an app is found, the first that is there.
var manifests = []source{
	{maven, "pom.xml"}, {gradle, "build.gradle.kts"}, {gradle, "build.gradle"}, {gradle, "settings.gradle.kts"}, {gradle, "settings.gradle"},
	{sbt, "build.sbt"}, {sbt, "project/Build.scala"}, {lein, "project.clj"}, {cljDeps, "deps.edn"},
}

// findSource finds out how the app is built.
func findSource(app string) (source, error) {
	for _, s := range manifests {
		if kit.IsFile(app, s.file) && (s.tool != lein && s.tool != cljDeps || ownsClojure(app)) {
			return s, nil
		}
	}
	return findArchive(app)
}

// foreign are the files of apps in other languages that may have a jar among their files.
var foreign = []string{"package.json", "requirements.txt", "pyproject.toml", "Gemfile", "composer.json", "go.mod", "Cargo.toml", "mix.exs", "project.clj", "deps.edn", "index.html"}

// findArchive finds an app that is built already: one jar or war at the root, or the content of one.
func findArchive(app string) (source, error) {
	if kit.IsDir(app, "WEB-INF") {
		return source{archive, "WEB-INF"}, nil
	}
	if mainClassOf(kit.Text(app, "META-INF/MANIFEST.MF")) != "" {
		return source{archive, "META-INF/MANIFEST.MF"}, nil
	}
	if slices.ContainsFunc(foreign, func(f string) bool { return kit.IsFile(app, f) }) {
		return source{}, nil
	}
	var found, rest []string
	for _, pattern := range []string{"*.jar", "*.war"} {
		paths, _ := filepath.Glob(filepath.Join(app, pattern)) // constant patterns: cannot fail
		for _, p := range paths {
			if a, err := readArchive(p); err == nil && a.runs() {
				found = append(found, filepath.Base(p))
			} else {
				rest = append(rest, filepath.Base(p))
			}
		}
	}
	switch {
	case len(found) == 1:
		return source{archive, found[0]}, nil
	case hasProcfile(app, "java") && len(found)+len(rest) > 0:
		return source{archive, slices.Concat(found, rest)[0]}, nil
	case len(found) > 1:
		return source{}, kit.Errorf("keep one of them, or add a Procfile with a line such as web: java -jar "+found[0], "several jars could be the app: %s", strings.Join(found, ", "))
	}
	return source{}, nil
}

// hasProcfile tells whether a process of the Procfile starts the program.
func hasProcfile(app, program string) bool {
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	return slices.ContainsFunc(procs, func(p procfile.Process) bool { return p.Names(program) })
}

// language names what the app is written in.
func (s source) language(app string) string {
	switch {
	case s.tool == sbt || kit.IsDir(app, "src/main/scala"):
		return "Scala"
	case s.tool == lein || s.tool == cljDeps:
		return "Clojure"
	case kit.IsDir(app, "src/main/kotlin"):
		return "Kotlin"
	}
	return "Java"
}
