package java

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

// start finds out how the app starts, and brings its files into the form that runs. The process is nil where a Procfile says it.
func (b *build) start() (*libcnb.Process, error) {
	if b.source.tool == archive {
		return b.startArchive()
	}
	if procfile.HasWeb(b.app) {
		return nil, b.serveProcfile()
	}
	if b.clojure != nil {
		return b.startClojure()
	}
	list, err := b.programs()
	if err != nil {
		return nil, err
	}
	if len(list) == 0 && kit.Exists(b.app, procfile.Name) {
		return nil, b.serveProcfile() // an app of workers alone
	}
	if len(list) == 0 && b.several != "" {
		return nil, kit.Errorf("write Compile / mainClass := Some(\"…\") into build.sbt, or add a Procfile with a web line", "several classes have a main method: %s", b.several)
	}
	p, err := b.choose(list)
	if err != nil {
		return nil, err
	}
	return p.start()
}

// serveProcfile leaves what the build made where a Procfile's commands look for it. A jar of Spring Boot is divided all the same: java -jar starts it as
// before.
func (b *build) serveProcfile() error {
	for _, dir := range b.outputFolders() {
		for _, pattern := range []string{"*.jar", "*.war", "libs/*.jar", "libs/*.war", "uberjar/*.jar"} {
			jars, _ := filepath.Glob(filepath.Join(b.app, dir, pattern)) // constant patterns
			for _, path := range jars {
				j, err := readArchive(path)
				if err != nil {
					continue // not a jar
				}
				if j.boot && j.manifest["Start-Class"] != "" && !strings.Contains(j.manifest["Main-Class"], "PropertiesLauncher") && !b.divided {
					err = b.divide(j)
				} else {
					err = settle(path, path, asIs, "")
				}
				if err != nil {
					return err
				}
			}
		}
		for _, lib := range []string{"dependency", "lib", "libs", "quarkus-app/lib", "universal/stage/lib", "pack/lib"} {
			if kit.IsDir(b.app, dir, lib) {
				b.slices = append(b.slices, libcnb.Slice{Paths: []string{filepath.Join(dir, lib, "**")}})
			}
		}
	}
	return nil
}

func asIs(name string) string { return name }

// ports tell the frameworks which have variables of their own the port. Those that read PORT themselves are as well off.
const ports = `SERVER_PORT="${PORT:-8080}" MICRONAUT_SERVER_PORT="${PORT:-8080}" QUARKUS_HTTP_PORT="${PORT:-8080}" `

// java is a process that runs Java: JAVA_OPTS are its users' own options.
func (b *build) javaProcess(args ...string) *libcnb.Process {
	line := ports + "exec java $JAVA_OPTS " + b.portOptions() + strings.Join(args, " ")
	return &libcnb.Process{Command: "/bin/sh", Arguments: []string{"-c", line}, Direct: true}
}

var ktor = pattern.New(`io\.ktor`)

// portOptions are for frameworks that take the port from properties alone.
func (b *build) portOptions() string {
	text := ""
	for _, f := range []string{"pom.xml", "build.gradle", "build.gradle.kts", "build.sbt", "gradle/libs.versions.toml", "project/plugins.sbt"} {
		text += kit.Text(b.app, f)
	}
	switch {
	case ktor.MatchString(text):
		return `-Dktor.deployment.port="${PORT:-8080}" `
	case play.MatchString(text):
		return b.playOptions()
	}
	return ""
}

// startJar starts a jar that says what its main class is. Libraries that it names are beside it.
func (b *build) startJar(j *jar, rel string) (*libcnb.Process, error) {
	if err := settle(j.path, j.path, asIs, ""); err != nil {
		return nil, err
	}
	named := slices.ContainsFunc(strings.Fields(j.manifest["Class-Path"]), func(entry string) bool { return kit.Exists(filepath.Dir(j.path), entry) })
	if beside := filepath.Join(filepath.Dir(rel), "dependency"); !named && kit.IsDir(b.app, beside) {
		return b.startBeside(rel, beside, j.manifest["Main-Class"])
	}
	keep := []string{rel}
	libs := map[string]bool{}
	for _, entry := range strings.Fields(j.manifest["Class-Path"]) {
		if path := filepath.Join(filepath.Dir(rel), entry); filepath.IsLocal(path) && kit.Exists(b.app, path) {
			keep = append(keep, path)
			if dir := filepath.Dir(path); dir != filepath.Dir(rel) && !libs[dir] {
				libs[dir] = true
				b.slices = append(b.slices, libcnb.Slice{Paths: []string{filepath.Join(dir, "**")}})
			}
		}
	}
	if main := j.manifest["Main-Class"]; !hasClass(j.path, main) && hasClass(j.path, "clojure.main") { // Leiningen names a namespace that is not compiled
		return b.javaProcess("-cp", quote(rel), "clojure.main", "-m", quote(strings.ReplaceAll(main, "_", "-"))), b.clear(keep...)
	}
	return b.javaProcess("-jar", quote(rel)), b.clear(keep...)
}

// startClass starts a class of a jar that names none, with the libraries that the build has put beside it.
func (b *build) startClass(module, rel, class string) (*libcnb.Process, error) {
	path := filepath.Join(b.app, rel)
	if err := settle(path, path, asIs, ""); err != nil {
		return nil, err
	}
	kit.Say(b.Out, "Main class %s", class)
	return b.startBeside(rel, filepath.Join(filepath.Dir(rel), "dependency"), class)
}

// startBeside starts a class of a jar whose libraries are in a folder, where it has any.
func (b *build) startBeside(rel, libs, class string) (*libcnb.Process, error) {
	cp := rel
	if kit.IsDir(b.app, libs) {
		b.slices = append(b.slices, libcnb.Slice{Paths: []string{filepath.Join(libs, "**")}})
		cp += ":" + libs + "/*"
	}
	return b.javaProcess("-cp", quote(cp), quote(class)), b.clear(rel, libs)
}

// startQuarkus starts what Quarkus put together.
func (b *build) startQuarkus(dir string) (*libcnb.Process, error) {
	for _, d := range []string{"lib/boot", "lib/main", "quarkus"} {
		b.slices = append(b.slices, libcnb.Slice{Paths: []string{filepath.Join(dir, d, "**")}})
	}
	app := filepath.Join(b.app, dir)
	jars, _ := filepath.Glob(filepath.Join(app, "app", "*.jar")) // constant patterns
	more, _ := filepath.Glob(filepath.Join(app, "quarkus", "*.jar"))
	for _, p := range append(append(jars, more...), filepath.Join(app, "quarkus-run.jar")) {
		if err := settle(p, p, asIs, ""); err != nil {
			return nil, err
		}
	}
	return b.javaProcess("-jar", quote(filepath.Join(dir, "quarkus-run.jar"))), b.clear(dir)
}

// installed finds the programs that Gradle's application plugin and sbt's native packager install.
func (b *build) installed(module, dir string) (list []program) {
	for _, pattern := range []string{"install/*", "universal/stage", "pack", sbt2 + "/universal/stage", sbt2 + "/pack"} {
		found, _ := filepath.Glob(filepath.Join(b.app, dir, pattern)) // constant patterns
		for _, d := range found {
			scripts, _ := filepath.Glob(filepath.Join(d, "bin", "*"))
			for _, script := range scripts {
				if strings.HasSuffix(script, ".bat") || !kit.IsDir(d, "lib") || !isExecutable(script) {
					continue
				}
				rel, err := filepath.Rel(b.app, script)
				if err != nil {
					continue
				}
				list = append(list, program{module: module, rank: aWholeApp - 1, size: 1 << 50, file: rel, start: func() (*libcnb.Process, error) { return b.startScript(rel) }})
				break
			}
		}
	}
	return list
}

// startScript starts a program by its script, which knows its classes and options.
func (b *build) startScript(rel string) (*libcnb.Process, error) {
	root := filepath.Dir(filepath.Dir(rel))
	b.slices = append(b.slices, b.librarySlice(root)...)
	line := ports + `JAVA_OPTS="` + strings.ReplaceAll(b.portOptions(), `"`, "") + `$JAVA_OPTS" exec ` + quote(rel)
	return &libcnb.Process{Command: "/bin/sh", Arguments: []string{"-c", line}, Direct: true}, b.clear(root)
}

// librarySlice divides the libraries of an installed program from what this build made.
func (b *build) librarySlice(root string) []libcnb.Slice {
	own := map[string]bool{}
	for _, dir := range b.outputFolders() {
		for _, pattern := range []string{"*.jar", "libs/*.jar", "scala-*/*.jar", sbt2 + "/*.jar"} {
			made, _ := filepath.Glob(filepath.Join(b.app, dir, pattern)) // constant patterns
			for _, p := range made {
				own[filepath.Base(p)] = true
			}
		}
	}
	jars, _ := filepath.Glob(filepath.Join(b.app, root, "lib", "*.jar")) // constant pattern
	var paths []string
	for _, p := range jars {
		base := filepath.Base(p)
		if own[base] || strings.Contains(base, "SNAPSHOT") || strings.HasSuffix(base, "-launcher.jar") || strings.Contains(base, filepath.Base(b.app)) {
			_ = settle(p, p, asIs, "") // one that is no jar stays as it is
			continue
		}
		paths = append(paths, filepath.Join(root, "lib", base))
	}
	if len(paths) == 0 {
		return nil
	}
	return []libcnb.Slice{{Paths: paths}}
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// quote makes a word of the shell.
func quote(s string) string {
	if !strings.ContainsAny(s, " \t\n'\"\\$&|;<>()*?[]{}~#!`") {
		return s
	}
	return kit.Quote(s)
}
