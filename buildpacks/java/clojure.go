package java

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"
	"github.com/google/shlex"

	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

var (
	leinRing     = pattern.New(`:ring\s*\{`)
	clojureMain  = pattern.New(`\(defn-?\s+(?:\^\S+\s+)*-main\b`)
	clojureSpace = pattern.New(`\(ns\s+(?:\^(?:\{[^}]*\}|\S+)\s+)*([A-Za-z0-9.*+!_?<>=-]+)`)
)

// ownsClojure tells whether an app with project.clj or deps.edn is a program of Clojure, not the sources of a front end.
func ownsClojure(app string) bool {
	return !kit.IsFile(app, "shadow-cljs.edn") || !kit.IsFile(app, "package.json") || hasProcfile(app, "java") || hasProcfile(app, "lein") || hasProcfile(app, "clojure") || hasProcfile(app, "clj")
}

// leinJar fetches Leiningen, which Debian has as one jar with all that it needs.
func (b *build) leinJar() (string, error) {
	tool, err := debs.Open(b.cache, b.env, b.Out)
	if err != nil {
		return "", err
	}
	set, err := tool.Resolve(debs.Request{Packages: []string{"leiningen"}, Alone: true})
	if err != nil {
		return "", err
	}
	dir, err := tool.InCache(set, b.cache, "java-leiningen")
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "usr/share/java/leiningen.jar"), nil
}

// clojureHome is the home folder of Clojure's tools, which keep packages in it.
func (b *build) clojureHome() (string, error) { return b.cache.Dir("java-clojure") }

// lein builds the app with Leiningen.
func (b *build) lein() error {
	jar, err := b.leinJar()
	if err != nil {
		return err
	}
	for _, tasks := range b.leinTasks() {
		words, err := shlex.Split(tasks)
		if err != nil {
			return kit.Errorf("correct its quotes", "LEIN_BUILD_TASK is not a list of words: %v", err)
		}
		kit.Say(b.Out, "lein %s", tasks)
		if err := b.clojureTool("lein", []string{"-Dfile.encoding=UTF-8", "-Dleiningen.original.pwd=" + b.app, "-cp", jar, "clojure.main", "-m", "leiningen.core.main"}, words); err != nil {
			return err
		}
	}
	if hasProcfile(b.app, "lein") {
		return b.leinLayer(jar)
	}
	return nil
}

// leinTasks are what builds the app: a jar with all in it, but for an app that Leiningen itself runs.
func (b *build) leinTasks() []string {
	for _, name := range []string{"LEIN_BUILD_TASK", "BP_LEIN_BUILD_ARGUMENTS"} {
		if b.env[name] != "" {
			return []string{b.env[name]}
		}
	}
	switch {
	case hasProcfile(b.app, "lein"):
		return []string{"deps", "compile"}
	case leinRing.MatchString(kit.Text(b.app, "project.clj")):
		return []string{"ring uberjar"}
	}
	return []string{"uberjar"}
}

// clojureTool runs a program of Clojure's in the folder of the app.
func (b *build) clojureTool(name string, java, words []string) error {
	home, err := b.clojureHome()
	if err != nil {
		return err
	}
	if err := b.jvmOptions("GITD_JVM"); err != nil {
		return err
	}
	options := strings.Fields(b.env["GITD_JVM"])
	delete(b.env, "GITD_JVM")
	b.env["LEIN_HOME"], b.env["LEIN_JVM_OPTS"], b.env["GITLIBS"] = filepath.Join(home, ".lein"), "", filepath.Join(home, ".gitlibs")
	args := slices.Concat([]string{filepath.Join(b.home, "bin", "java")}, options, []string{"-Duser.home=" + home}, java, words)
	said, err := kit.Cmd{Args: args, Dir: b.app, Env: b.env, Out: b.Out, Name: name}.Run()
	if err != nil {
		return b.reason(said, err)
	}
	return nil
}

// leinLayer brings Leiningen and the app's packages into the image, for a Procfile that runs lein.
func (b *build) leinLayer(jar string) error {
	home, err := b.clojureHome()
	if err != nil {
		return err
	}
	layer, err := kit.OpenLayer(b.ctx, "leiningen")
	if err != nil {
		return err
	}
	b.layers = append(b.layers, layer)
	if err := layer.Reset(libcnb.LayerTypes{Launch: true}, ""); err != nil {
		return err
	}
	if err := kit.CopyTree(home, filepath.Join(layer.Path, "home"), func(rel string) bool {
		return strings.HasSuffix(rel, ".lastUpdated") || filepath.Base(rel) == "resolver-status.properties"
	}); err != nil {
		return err
	}
	if err := kit.CopyFile(jar, filepath.Join(layer.Path, "leiningen.jar")); err != nil {
		return err
	}
	script := `#!/bin/sh
here=$(dirname "$0")/..
export LEIN_HOME="${LEIN_HOME:-/tmp/lein}"
exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dfile.encoding=UTF-8 -Duser.home="$here/home" -Dleiningen.original.pwd="$PWD" -cp "$here/leiningen.jar" clojure.main -m leiningen.core.main -o "$@"
`
	return kit.WriteProgram(filepath.Join(layer.Path, "bin", "lein"), script)
}

// mainSpace finds the namespace with the app's main function, among the sources in its folders.
func mainSpace(app string, folders []string) (string, error) {
	var found []string
	for _, dir := range folders {
		_ = filepath.WalkDir(filepath.Join(app, dir), func(path string, d fs.DirEntry, err error) error { // what cannot be read has none
			if err != nil || len(found) > 100 {
				return fs.SkipAll
			}
			if ext := filepath.Ext(path); d.Type().IsRegular() && (ext == ".clj" || ext == ".cljc") {
				text := kit.Text(path)
				if m := clojureSpace.FindStringSubmatch(text); m != nil && clojureMain.MatchString(text) {
					found = append(found, m[1])
				}
			}
			return nil
		})
	}
	slices.Sort(found)
	for _, end := range []string{"", "main", "core", "server", "app", "web", "system"} {
		match := slices.DeleteFunc(slices.Clone(found), func(s string) bool { return end != "" && s != end && !strings.HasSuffix(s, "."+end) })
		if len(match) == 1 {
			return match[0], nil
		}
	}
	if len(found) == 0 {
		return "", kit.Errorf("write (defn -main [& args] …), an alias :run, or a Procfile with a line such as web: clojure -M -m NAMESPACE", "no namespace has a function -main")
	}
	return "", kit.Errorf("name one in an alias :run {:main-opts [\"-m\" \""+found[0]+"\"]}, or in a Procfile", "several namespaces have a function -main: %s", strings.Join(found, ", "))
}

// clojureCommands are the calls of clojure in the Procfile, by the word with the aliases: "-M:run".
func clojureCommands(app string) (list []string) {
	procs, _ := procfile.Read(app) // a malformed one fails in its own buildpack
	for _, p := range procs {
		words, err := shlex.Split(p.Command)
		if err != nil {
			words = strings.Fields(p.Command)
		}
		for i, w := range words {
			if base := filepath.Base(w); base != "clojure" && base != "clj" {
				continue
			}
			call := "-M"
			for _, w := range words[i+1:] {
				if strings.HasPrefix(w, "-M") || strings.HasPrefix(w, "-X") || strings.HasPrefix(w, "-A") {
					call = w
					break
				}
			}
			if !slices.Contains(list, call) {
				list = append(list, call)
			}
		}
	}
	return list
}
