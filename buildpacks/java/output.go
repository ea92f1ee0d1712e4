package java

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// program is something that a build left and that could be the app.
type program struct {
	module string // the folder of its part of the build, relative to the app: "." for the root
	rank   int    // how sure it is that this is meant to run
	size   int64
	file   string // relative to the app
	start  func() (*libcnb.Process, error)
}

// The ranks.
const (
	aLibrary  = iota // a jar without a main class, whose classes have a main method
	aProgram         // a jar with a main class, or a war
	aWholeApp        // put together by a framework's plugin
)

// sbt2 is where sbt 2 writes, in target.
const sbt2 = "out/jvm/*/*"

// maxFolders bounds the search for what a build left.
const maxFolders = 20_000

// outputs are the folders that builds write into, by the files that say so beside them.
var outputs = map[string][]string{
	"target": {"pom.xml", "build.sbt", "project.clj", "deps.edn", "project", "src"},
	"build":  {"build.gradle", "build.gradle.kts", "gradlew", "src"},
}

// outputFolders finds the folders that the build has written into, relative to the app.
func (b *build) outputFolders() (found []string) {
	written := "target"
	if b.source.tool == gradle {
		written = "build"
	}
	left := maxFolders
	_ = filepath.WalkDir(b.app, func(path string, d fs.DirEntry, err error) error { // what cannot be read is not there
		if err != nil || !d.IsDir() {
			return nil
		}
		left--
		rel, err := filepath.Rel(b.app, path)
		if err != nil || left < 0 {
			return filepath.SkipAll
		}
		name := d.Name()
		if rel != "." && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "src" || strings.Count(rel, "/") > 5) {
			return filepath.SkipDir
		}
		for _, beside := range outputs[name] {
			if rel != "." && name == written && kit.Exists(filepath.Dir(path), beside) {
				found = append(found, rel)
				return filepath.SkipDir
			}
		}
		return nil
	})
	return found
}

// leftOver are names of jars that are never the app.
func leftOver(name string) bool {
	stem := strings.TrimSuffix(strings.TrimSuffix(name, ".jar"), ".war")
	for _, end := range []string{"-sources", "-javadoc", "-tests", "-test", "-plain", "-test-fixtures", "-test-sources"} {
		if strings.HasSuffix(stem, end) {
			return true
		}
	}
	return strings.HasPrefix(name, "original-") || name == "gradle-wrapper.jar" || name == "maven-wrapper.jar"
}

// programs finds what the build left.
func (b *build) programs() (list []program, err error) {
	for _, dir := range b.outputFolders() {
		module := filepath.Dir(dir)
		if m := b.module(); m != "" && module != filepath.Clean(m) && !strings.HasPrefix(strings.TrimPrefix(m, ":"), filepath.Base(module)) {
			continue
		}
		if kit.IsFile(b.app, dir, "quarkus-app/quarkus-run.jar") {
			d := filepath.Join(dir, "quarkus-app")
			list = append(list, program{module: module, rank: aWholeApp, file: d, start: func() (*libcnb.Process, error) { return b.startQuarkus(d) }})
			continue
		}
		list = append(list, b.installed(module, dir)...)
		var jars []string
		for _, pattern := range []string{"*.jar", "*.war", "libs/*.jar", "libs/*.war", "uberjar/*.jar", "scala-*/*.jar", sbt2 + "/*.jar"} {
			found, _ := filepath.Glob(filepath.Join(b.app, dir, pattern)) // constant patterns
			jars = append(jars, found...)
		}
		for _, path := range jars {
			p, ok, err := b.programOf(module, path)
			if err != nil {
				return nil, err
			}
			if ok {
				list = append(list, p)
			}
		}
	}
	return list, nil
}

// programOf looks at one jar or war.
func (b *build) programOf(module, path string) (program, bool, error) {
	if leftOver(filepath.Base(path)) {
		return program{}, false, nil
	}
	j, err := readArchive(path)
	if err != nil {
		return program{}, false, nil // not a jar
	}
	info, err := os.Stat(path)
	if err != nil {
		return program{}, false, err
	}
	rel, err := filepath.Rel(b.app, path)
	if err != nil {
		return program{}, false, err
	}
	p := program{module: module, size: info.Size(), file: rel, rank: aProgram}
	main := j.manifest["Main-Class"]
	switch {
	case j.boot && j.manifest["Start-Class"] != "" && !strings.Contains(main, "PropertiesLauncher"):
		p.rank, p.start = aWholeApp, func() (*libcnb.Process, error) { return b.startBoot(j, rel) }
	case j.web && main != "":
		p.rank, p.start = aWholeApp, func() (*libcnb.Process, error) { return b.startBootWar(j, rel) }
	case j.web:
		p.start = func() (*libcnb.Process, error) { return b.startWar(j, rel) }
	case main != "":
		p.start = func() (*libcnb.Process, error) { return b.startJar(j, rel) }
	default:
		class := b.findMain(module, j)
		if class == "" {
			return program{}, false, nil
		}
		p.rank, p.start = aLibrary, func() (*libcnb.Process, error) { return b.startClass(module, rel, class) }
	}
	return p, true, nil
}

// telling are names of modules that have the app among those that it is made of, the most telling first.
var telling = []string{"app", "web", "server", "application", "webapp", "api", "service", "boot", "bootstrap", "starter", "main", "backend", "start", "launcher", "rest", "runner"}

// choose finds the one program that is the app.
func (b *build) choose(list []program) (*program, error) {
	if len(list) == 0 {
		return nil, kit.Errorf("name the main class in the build (the plugin of the framework, or Main-Class in the jar's manifest), or add a Procfile with a line such as web: java -cp … Main",
			"the build left nothing that can be started: no jar with a main class, no war, no class with a main method")
	}
	best := slices.MaxFunc(list, func(a, b program) int { return cmp.Compare(a.rank, b.rank) }).rank
	byModule := map[string]*program{}
	var modules []string
	for _, p := range list {
		if p.rank != best {
			continue
		}
		old := byModule[p.module]
		if old == nil {
			modules = append(modules, p.module)
		}
		if old == nil || p.size > old.size { // the one that has the libraries in it
			byModule[p.module] = &p
		}
	}
	slices.Sort(modules)
	if len(modules) == 1 {
		return byModule[modules[0]], nil
	}
	for _, name := range telling {
		var found []string
		for _, m := range modules {
			if base := strings.ToLower(filepath.Base(m)); base == name || strings.HasSuffix(base, "-"+name) {
				found = append(found, m)
			}
		}
		if len(found) == 1 {
			return byModule[found[0]], nil
		}
	}
	setting := "BP_MAVEN_BUILT_MODULE"
	if b.source.tool == gradle {
		setting = "BP_GRADLE_BUILT_MODULE"
	}
	return nil, kit.Errorf("name one of them: "+setting+"="+modules[0]+" under [[io.buildpacks.build.env]] in project.toml; or add a Procfile", "several parts of the build can be started: %s", strings.Join(modules, ", "))
}

// clear removes what builds write but the image does not need: all in their folders but what is kept.
func (b *build) clear(keep ...string) error {
	if kit.Exists(b.app, procfile.Name) {
		return nil // its other processes may need any of it
	}
	for _, dir := range b.outputFolders() {
		err := kit.Prune(filepath.Join(b.app, dir), func(rel string, d fs.DirEntry) bool {
			path := filepath.Join(dir, rel)
			return !slices.ContainsFunc(keep, func(k string) bool {
				return path == k || strings.HasPrefix(path, k+"/") || strings.HasPrefix(k, path+"/")
			})
		})
		if err != nil {
			return err
		}
	}
	for _, dir := range []string{".gradle", ".mvn/wrapper", ".bsp", "project/target", "project/project", ".cpcache"} {
		if err := os.RemoveAll(filepath.Join(b.app, dir)); err != nil {
			return err
		}
	}
	return nil
}
