package java

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// The sbt of an app that names none.
const sbtStandard = "1.11.7"

var (
	sbtPackager = pattern.New(`Packaging\b|packageArchetype|\bPlay(?:Scala|Java|Service|NettyServer|PekkoHttpServer)\b|play\.(?:Project|sbt)|Lagom(?:Scala|Java|Play)|UniversalPlugin|LauncherJarPlugin`)
	sbtAssembly = pattern.New(`sbt-assembly`)
	sbtPack     = pattern.New(`sbt-pack`)
	sbtSeveral  = pattern.New(`gitd: several main classes: (.+)`)
	sbtStage    = pattern.New(`\bstage\b\s*:=|taskKey\[[^\]]*\]\(\s*"stage"|TaskKey\[[^\]]*\]\("stage"|lazy val stage`)
)

// sbt builds the app with sbt: its launcher is in Maven Central, and fetches the rest by itself.
func (b *build) sbt() error {
	version := sbtWanted(b.app)
	if version == "" {
		version = sbtStandard
	}
	if safe.MatchString(version) {
		return kit.Errorf("write a version such as "+sbtStandard, "project/build.properties asks for sbt %q, which is not a version", short(version))
	}
	launcher, err := b.sbtLauncher(version)
	if err != nil {
		return err
	}
	tasks, err := b.sbtTasks()
	if err != nil {
		return err
	}
	dirs := map[string]string{}
	for _, name := range []string{"java-sbt", "java-ivy", "java-coursier"} {
		if dirs[name], err = b.cache.Dir(name); err != nil {
			return err
		}
	}
	if err := writePack(dirs["java-sbt"], version); err != nil {
		return err
	}
	if err := b.jvmOptions("JAVA_OPTS"); err != nil {
		return err
	}
	options := strings.Fields(b.env["JAVA_OPTS"])
	delete(b.env, "JAVA_OPTS")
	b.env["COURSIER_CACHE"] = dirs["java-coursier"]
	args := append([]string{filepath.Join(b.home, "bin", "java")}, options...)
	args = append(args, "-Xss4m", "-Dsbt.global.base="+dirs["java-sbt"], "-Dsbt.boot.directory="+filepath.Join(dirs["java-sbt"], "boot"), "-Dsbt.ivy.home="+dirs["java-ivy"], "-Dsbt.ci=true", "-Dsbt.color=false", "-Dsbt.supershell=false",
		"-Dsbt.server.autostart=false", "-jar", launcher)
	kit.Say(b.Out, "sbt %s", strings.Join(tasks, " "))
	said, err := (kit.Cmd{Args: append(args, tasks...), Dir: b.app, Env: b.env, Out: b.Out, Name: "sbt"}).Run()
	if err != nil {
		return b.reason(said, err)
	}
	if m := sbtSeveral.FindStringSubmatch(said); m != nil {
		b.several = m[1]
	}
	return nil
}

func (b *build) sbtLauncher(version string) (string, error) {
	address := fmt.Sprintf("%s/org/scala-sbt/sbt-launch/%[2]s/sbt-launch-%[2]s.jar", b.central(), version)
	dir, err := b.toolDir("sbt-"+version, func(dir string) error {
		kit.Say(b.Out, "Fetching sbt %s", version)
		return b.download(address, "", filepath.Join(dir, "sbt-launch.jar"))
	})
	var u *unreachable
	switch {
	case !errors.As(err, &u):
		return filepath.Join(dir, "sbt-launch.jar"), err
	case u.notFound:
		return "", kit.Errorf("correct sbt.version in project/build.properties", "there is no sbt %s in Maven Central", version)
	}
	return "", kit.Errorf("check that builds reach it", "sbt cannot be fetched from %s: %s", host(u.url), u.reason)
}

// sbtTasks are what puts the app together: the plugin that it has for that decides.
func (b *build) sbtTasks() ([]string, error) {
	for _, name := range []string{"BP_SBT_BUILD_ARGUMENTS", "SBT_TASKS"} {
		if b.env[name] != "" {
			return b.env.ShellWords(name)
		}
	}
	task := packTask
	switch text := sbtTexts(b.app); {
	case sbtPackager.MatchString(text) || sbtStage.MatchString(text):
		task = "stage"
	case sbtAssembly.MatchString(text):
		task = "assembly"
	case sbtPack.MatchString(text):
		task = "pack"
	}
	if m := b.module(); m != "" {
		task = filepath.Base(m) + "/" + task
	}
	return []string{task}, nil
}

//go:embed pack.sbt
var packScript string

// packTask is our own task, for an app that no plugin puts together.
const packTask = "gitdPack"

// writePack gives sbt our task.
func writePack(dir, version string) error {
	jars := "(Runtime / fullClasspathAsJars).value.map(_.data)"
	switch {
	case compare(version, "2") >= 0:
		jars = "{ val files = fileConverter.value; (Runtime / fullClasspathAsJars).value.map(a => files.toPath(a.data).toFile) }"
	case compare(version, "1.1") < 0:
		return nil // it does not know the syntax
	}
	return os.WriteFile(filepath.Join(dir, "gitd.sbt"), []byte(strings.Replace(packScript, "JARS", jars, 1)), 0o644)
}
