package java

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// The Gradle of an app without a wrapper.
const gradleStandard = "8.14.3"

// gradleRuns are the newest versions of Java that versions of Gradle run on.
var gradleRuns = []limit{{"9.1", 25}, {"8.10", 23}, {"8.5", 21}, {"7.3", 17}, {"6.7", 15}, {"5.0", 11}}

var (
	gradleNumber    = pattern.New(`gradle-([0-9][0-9A-Za-z.+-]*?)-(?:bin|all)\.zip$`)
	gradleToolchain = pattern.New(`(?:JavaLanguageVersion\.of\(\s*|jvmToolchain\(\s*)["']?(\d+)`)
	gradleTarget    = pattern.New(`(?:sourceCompatibility|targetCompatibility|options\.release|jvmTarget)\b[^\n]*?(?:VERSION_1_|VERSION_|JVM_1_|JVM_|["'=(\s])(1\.\d|\d+)`)
	gradleStage     = pattern.New(`(?m)(?:\btask\s+stage\b|tasks\.(?:register|create)\(\s*["']stage["']|\bval\s+stage\s+by\s+tasks)`)
	gradleProgram   = pattern.New(`(?m)^\s*(?:id\s*\(?\s*["'](?:application|io\.ktor\.plugin|io\.micronaut\.(?:minimal\.)?application)["']|application\b|apply\s*\(?\s*plugin\s*[:=]\s*["']application["']|\x60application\x60|alias\(\s*(?:libs|ktorLibs)\.plugins\.ktor)`)
	gradleBoot      = pattern.New(`org\.springframework\.boot|libs\.plugins\.(?:spring|boot)`)
	gradleShadow    = pattern.New(`com\.github\.johnrengelman\.shadow|com\.gradleup\.shadow|libs\.plugins\.shadow`)
	gradleWhole     = pattern.New(`(?m)io\.quarkus|["']war["']|^\s*war\s*$|helidon|zipTree|capsule|shadowJar|fatJar|libs\.plugins\.quarkus|com\.bmuschko|io\.vertx\.vertx-plugin`)
)

// daemonFile names the Java that Gradle is to run on.
const daemonFile = "gradle/gradle-daemon-jvm.properties"

// gradleTexts are the build files of the app: those at the root and one folder below.
func gradleTexts(app string) string {
	text := ""
	for _, p := range []string{"build.gradle", "build.gradle.kts", "*/build.gradle", "*/build.gradle.kts", "buildSrc/src/main/kotlin/*.kts", "buildSrc/src/main/groovy/*.gradle", "gradle/libs.versions.toml"} {
		found, _ := filepath.Glob(filepath.Join(app, p)) // constant patterns
		for _, f := range found[:min(len(found), 50)] {
			text += kit.Text(f) + "\n"
		}
	}
	return text
}

// gradleWrapper reads what the wrapper fetches: the address, the version in it, the checksum.
func gradleWrapper(app string) (address, version, sum string) {
	w := properties(kit.Text(app, "gradle/wrapper/gradle-wrapper.properties"))
	address = w["distributionUrl"]
	if m := gradleNumber.FindStringSubmatch(address); m != nil {
		version = m[1]
	}
	return address, version, w["distributionSha256Sum"]
}

// gradleVersion goes by the toolchain, else by the compiler's target, and by what the app's Gradle runs on.
func gradleVersion(app string) (want, error) {
	_, version, _ := gradleWrapper(app)
	w := want{newest: newestFor(version, gradleRuns)}
	text := gradleTexts(app)
	if m := gradleToolchain.FindStringSubmatch(text); m != nil {
		if v, ok := feature(m[1]); ok {
			return want{version: v, from: "build.gradle"}, nil
		}
	}
	// What Gradle itself runs on: nothing else of that version is here.
	if v, ok := feature(properties(kit.Text(app, daemonFile))["toolchainVersion"]); ok {
		return want{version: v, from: daemonFile}, nil
	}
	if m := gradleTarget.FindStringSubmatch(text); m != nil {
		if v, ok := feature(m[1]); ok {
			w.version, w.atLeast, w.from = v, true, "build.gradle"
		}
	}
	return w, nil
}

// gradle builds the app with Gradle.
func (b *build) gradle() error {
	args, err := b.gradleArgs()
	if err != nil {
		return err
	}
	user, err := b.cache.Dir("java-gradle")
	if err != nil {
		return err
	}
	if err := b.jvmOptions("GRADLE_OPTS"); err != nil {
		return err
	}
	b.env["GRADLE_USER_HOME"] = user
	properties := "org.gradle.daemon=false\norg.gradle.welcome=never\norg.gradle.caching=true\norg.gradle.configuration-cache=false\norg.gradle.console=plain\norg.gradle.java.installations.auto-download=false\n" +
		"org.gradle.java.installations.paths=" + b.home + "\n"
	for _, o := range b.proxyOptions() {
		properties += "systemProp." + strings.TrimPrefix(o, "-D") + "\n"
	}
	if err := os.WriteFile(filepath.Join(user, "gradle.properties"), []byte(properties), 0o600); err != nil {
		return err
	}
	if err := b.gradleMirror(user); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(user, "init.d"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(user, "init.d", "libraries.gradle"), []byte(librariesScript), 0o644); err != nil {
		return err
	}
	kit.Say(b.Out, "gradle %s", strings.Join(args, " "))
	run := []string{filepath.Join(b.tool, "bin", "gradle"), "--no-daemon", "--console=plain"}
	if said, err := (kit.Cmd{Args: append(run, args...), Dir: b.app, Env: b.env, Out: b.Out, Name: "gradle"}).Run(); err != nil {
		return b.reason(said, err)
	}
	return nil
}

// gradleLibraries is our own task, for an app whose libraries no plugin puts beside its jar.
const gradleLibraries = "gitdLibraries"

const librariesScript = `allprojects { p ->
    def libraries = p.tasks.create('` + gradleLibraries + `', Copy) {
        into { "${p.layout.buildDirectory.get()}/libs/dependency" }
    }
    p.plugins.withId('java') { libraries.from(p.configurations.runtimeClasspath) }
}
`

// gradleMirror has Gradle look for packages of Maven Central at the platform's mirror.
func (b *build) gradleMirror(user string) error {
	script := filepath.Join(user, "init.d", "gitd.gradle")
	mirror := b.env["MAVEN_MIRROR_URL"]
	if mirror == "" || strings.ContainsAny(mirror, "'\\\n") {
		if err := os.Remove(script); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(script), 0o755); err != nil {
		return err
	}
	text := `def gitd = { repositories ->
    repositories.all { r ->
        if (r instanceof MavenArtifactRepository && r.url.toString().replaceAll('/$', '').endsWith('` + mavenCentral + `')) {
            r.url = '` + mirror + `'
            if (r.url.scheme == 'http' && r.hasProperty('allowInsecureProtocol')) { r.allowInsecureProtocol = true }
        }
    }
}
settingsEvaluated { s ->
    gitd(s.pluginManagement.repositories)
    if (s.hasProperty('dependencyResolutionManagement')) { gitd(s.dependencyResolutionManagement.repositories) }
}
allprojects { gitd(it.buildscript.repositories); gitd(it.repositories) }
`
	return os.WriteFile(script, []byte(text), 0o644)
}

// gradleArgs are the tasks and options.
func (b *build) gradleArgs() ([]string, error) {
	for _, name := range []string{"BP_GRADLE_BUILD_ARGUMENTS", "GRADLE_TASK", "GOOGLE_BUILD_ARGS"} {
		if b.env[name] != "" {
			return b.env.ShellWords(name)
		}
	}
	text := gradleTexts(b.app)
	tasks := []string{"assemble"}
	switch {
	case gradleStage.MatchString(text):
		tasks = []string{"stage"}
	case gradleProgram.MatchString(text) && !gradleBoot.MatchString(text) && !gradleShadow.MatchString(text):
		tasks = []string{"installDist"}
	case !gradleBoot.MatchString(text) && !gradleShadow.MatchString(text) && !gradleWhole.MatchString(text):
		tasks = append(tasks, gradleLibraries)
	}
	if m := b.module(); m != "" {
		for i := range tasks {
			tasks[i] = ":" + strings.ReplaceAll(strings.Trim(m, ":/"), "/", ":") + ":" + tasks[i]
		}
	}
	if tasks[0] != "stage" {
		return append(tasks, "-x", "test"), nil
	}
	more, err := b.env.ShellWords("BP_GRADLE_ADDITIONAL_BUILD_ARGUMENTS")
	return slices.Concat(tasks, []string{"-x", "check"}, more), err
}

// gradleHome fetches the Gradle that the wrapper names.
func (b *build) gradleHome() (string, error) {
	address, version, sum := gradleWrapper(b.app)
	if version == "" && address != "" {
		version = kit.Key(address)[:16]
	}
	name := "gradle-" + version
	if address == "" {
		name, address = "gradle-"+gradleStandard, fmt.Sprintf("%s/gradle-%s-bin.zip", b.Places.Gradle, gradleStandard)
	}
	if sum == "" {
		var err error
		if sum, err = b.checksum(name, address+".sha256"); err != nil {
			return "", b.gradleMissing(err, address)
		}
	}
	home, err := b.fetchTool(name, address, sum)
	return home, b.gradleMissing(err, address)
}

// gradleMissing says why there is no Gradle.
func (b *build) gradleMissing(err error, address string) error {
	var u *unreachable
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &u):
		return err
	case u.notFound:
		return kit.Errorf("correct distributionUrl in gradle/wrapper/gradle-wrapper.properties", "%s does not have the Gradle that the wrapper names: %s", host(address), address)
	}
	return kit.Errorf("check that builds reach it, or name a mirror as distributionUrl in gradle/wrapper/gradle-wrapper.properties", "Gradle cannot be fetched from %s: %s", host(address), u.reason)
}
