package java

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

var (
	// mavenCompile and the others find the first error of a compiler: file, line, what.
	mavenCompile   = pattern.New(`(?m)^\[ERROR\] (?:file://)?(/\S+\.(?:java|kt|groovy|scala)):(?:\[(\d+),\d+\]|(\d+):\d+:?) (?:error: )?(.+)$`)
	javacError     = pattern.New(`(?m)^(?:\[error\] )?(/?\S+\.(?:java|scala)):(\d+)(?::\d+)?: (?:error: )?(.+)$`)
	kotlinError    = pattern.New(`(?m)^e: (?:file://)?(\S+\.kts?):(\d+):\d+:? (.+)$`)
	oldSource      = pattern.New(`Source option (\d+) is no longer supported`)
	invalidRelease = pattern.New(`(?:invalid (?:target|source) release: |release version |Unsupported class file major version |error: invalid source release: )(\d[\d.]*)(?: not supported)?`)
	wrongToolchain = pattern.New(`(?:Cannot find a Java installation on your machine.*matching|No matching toolchains found for requested specification).*?(?:languageVersion=|version=)(\d+)`)
	noArtifact     = pattern.New(`(?:Could not find artifact|The following artifacts could not be resolved:|Could not find) ([\w.-]+:[\w.-]+(?::[\w.-]+)*:[\w.${}-]+)`)
	noSbtArtifact  = pattern.New(`Error downloading ([\w.-]+:[\w.-]+)(?:;[^:\s]+)*(:[\w.-]+)`)
	noPlugin       = pattern.New(`(?:Plugin ([\w.-]+:[\w.-]+:[\w.-]+) or one of its dependencies could not be resolved|Plugin \[id: '([\w.-]+)'(?:, version: '([\w.-]+)')?)`)
	noParent       = pattern.New(`Non-resolvable parent POM for [^:]+:[^:]+:[^:]+: .*?(?:artifact|transfer artifact) ([\w.-]+:[\w.-]+:\w+:[\w.-]+)`)
	noHost         = pattern.New(`(?:(?:Could not transfer artifact (\S+) from/to \S+ \((https?://[^)\s]+)\))|Could not (?:GET|HEAD|get resource) '(https?://[^']+)'|(?:Unknown host|UnknownHostException:?|Connection refused: connect to|No such host is known)[ :(]*([\w.-]+\.[a-z]{2,})|([\w.-]+\.[a-z]{2,}): (?:Name or service not known|Temporary failure in name resolution))`)
	clojureError   = pattern.New(`Syntax error[^\n]* at \(([^():\s]+):(\d+):\d+\)\.[ \t]*\n(.+)`)
	clojureFailed  = pattern.New(`(?:Execution error|Error)[^\n]* at [^\n]+\n(\S.+)`)
	nodeInstall    = pattern.New(`(?:Could not download Node\.js|Could not extract the Node archive|Could not download npm|Could not download Yarn)[^\n]*`)
	outOfMemory    = pattern.New(`java\.lang\.OutOfMemoryError|Gradle build daemon disappeared unexpectedly|GC overhead limit exceeded`)
	badPOM         = pattern.New(`(?m)^\[(?:FATAL|ERROR)\] (Non-parseable POM .+|'[\w.]+' .+(?: is missing| for .+ is missing)\.?.*)$`)
	failedGoal     = pattern.New(`(?m)^\[ERROR\] Failed to execute goal [\w.-]+:([\w.-]+):[\w.-]+:([\w-]+) .*?: (.+?)(?: -> \[Help 1\])?$`)
	whatWentWrong  = pattern.New(`(?m)^\* What went wrong:\n(.+(?:\n>.*|\n {2,}.*)?)`)
	syntaxGradle   = pattern.New(`(?m)^((?:settings|build) file '[^']+': \d+: .+|Line \d+: .+)$`)
)

// reason puts the cause of a build's failure, which is some lines above the last one, into the error.
func (b *build) reason(said string, err error) error {
	var e *kit.Error
	if !errors.As(err, &e) {
		return err
	}
	fail := func(next, format string, args ...any) error {
		return kit.Errorf(next, "%s: %s", e.Message, fmt.Sprintf(format, args...))
	}
	if outOfMemory.MatchString(said) {
		return fail("more memory for builds: gitd serve --build-memory", "it ran out of memory")
	}
	if m := nodeInstall.FindString(said); m != "" {
		return fail("check that builds reach nodejs.org, or build the front end before the push", "the front end needs Node.js, which its Maven plugin fetches by itself: %s", m)
	}
	if m := invalidRelease.FindStringSubmatch(said); m != nil {
		v := m[1]
		if strings.Contains(m[0], "class file") {
			return fail("write an older one into system.properties, such as java.runtime.version=17, or update the wrapper", "%s is too old for Java %d", b.source.tool, b.java)
		}
		return fail("write java.runtime.version="+v+" into system.properties", "the app is written for Java %s, and this is Java %d", v, b.java)
	}
	if m := oldSource.FindStringSubmatch(said); m != nil {
		return fail("set maven.compiler.release in pom.xml, or write java.runtime.version=8 into system.properties", "the build asks for the language of Java %s, which Java %d does not compile", m[1], b.java)
	}
	if m := wrongToolchain.FindStringSubmatch(said); m != nil {
		return fail("write java.runtime.version="+m[1]+" into system.properties", "its toolchain asks for Java %s, and this is Java %d", m[1], b.java)
	}
	for _, p := range []*pattern.Pattern{mavenCompile, kotlinError, javacError, clojureError} {
		if m := p.FindStringSubmatch(said); m != nil {
			line := m[2]
			if p == mavenCompile && line == "" {
				line = m[3]
			}
			return fail("", "%s, line %s: %s", b.relative(m[1]), line, strings.TrimSpace(m[len(m)-1]))
		}
	}
	if err := b.missing(said, fail); err != nil {
		return err
	}
	if m := badPOM.FindStringSubmatch(said); m != nil {
		return fail("correct pom.xml and push again", "%s", m[1])
	}
	if m := failedGoal.FindStringSubmatch(said); m != nil {
		return fail("", "%s: %s", strings.TrimSuffix(strings.TrimSuffix(m[1], "-maven-plugin"), "-plugin")+" "+m[2], m[3])
	}
	if m := syntaxGradle.FindStringSubmatch(said); m != nil {
		return fail("correct it and push again", "%s", strings.ReplaceAll(m[1], b.app+"/", ""))
	}
	if m := clojureFailed.FindStringSubmatch(said); m != nil && (b.source.tool == lein || b.source.tool == cljDeps) {
		return fail("", "%s", m[1])
	}
	if m := whatWentWrong.FindStringSubmatch(said); m != nil {
		return fail("", "%s", strings.ReplaceAll(strings.Join(strings.Fields(m[1]), " "), b.app+"/", ""))
	}
	return err
}

// missing tells what could not be found, and where.
func (b *build) missing(said string, fail func(next, format string, args ...any) error) error {
	unreached := noHost.FindStringSubmatch(said)
	from := ""
	for _, s := range unreached[min(1, len(unreached)):] {
		if strings.Contains(s, ".") && (strings.HasPrefix(s, "http") || !strings.Contains(s, ":")) {
			from = host(s)
		}
	}
	if m := noSbtArtifact.FindStringSubmatch(said); m != nil {
		if from != "" {
			return fail("check that builds reach it, or take a newer version: those of sbt's plugins are in Maven Central", "%s was not found, and %s cannot be reached", m[1]+m[2], from)
		}
		return fail("check its name and version", "the dependency %s was not found", m[1]+m[2])
	}
	if from != "" && strings.Contains(said, "Could not find artifact") { // and the server that may have it does not answer
		if m := noArtifact.FindStringSubmatch(said); m != nil {
			return fail("check that builds reach it", "%s was not found, and %s cannot be reached", strings.TrimSuffix(m[1], "."), from)
		}
	}
	if from != "" {
		return fail("check that builds reach it; MAVEN_MIRROR_URL names a mirror of Maven Central", "%s cannot be reached", from)
	}
	if m := noPlugin.FindStringSubmatch(said); m != nil {
		name := m[1]
		if name == "" {
			name = strings.TrimSpace(m[2] + " " + m[3])
		}
		return fail("check its name and version", "the plugin %s was not found", name)
	}
	if m := noParent.FindStringSubmatch(said); m != nil {
		return fail("check its name and version", "the parent %s was not found", m[1])
	}
	if m := noArtifact.FindStringSubmatch(said); m != nil {
		return fail("check its name and version, and that the repository that has it is one of the build's", "the dependency %s was not found", strings.TrimSuffix(m[1], "."))
	}
	return nil
}

// relative shortens the path of a file of the app.
func (b *build) relative(path string) string {
	if rel, err := filepath.Rel(b.app, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}
