package java

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
	"github.com/gitd-io/gitd/internal/pattern"
)

// toolsDeps is the version of the library that reads deps.edn, from Maven Central.
const toolsDeps = "0.29.1598"

//go:embed deps.clj
var depsScript string

var (
	comment  = pattern.New(`;[^\n]*`)
	uberFunc = pattern.New(`\(defn\s+(?:\^\S+\s+)*(uber|uberjar|uber-jar|ci|all)\b`)
	firstKey = pattern.New(`:(exec-fn|ns-default|main-opts)\b`)
)

// basis is what tools.deps says of a set of aliases.
type basis struct {
	roots   []string // the class path
	options []string // of the JVM
	words   []string // of clojure.main
}

// depsAlias finds an alias of deps.edn among names, and which key it has that says what runs.
func depsAlias(text string, names ...string) (alias, key string) {
	for _, name := range names {
		rest := text
		for {
			_, after, ok := strings.Cut(rest, ":"+name)
			if !ok {
				break
			}
			rest = after
			at := strings.IndexByte(after, '{')
			if at < 0 || strings.TrimSpace(comment.ReplaceAllString(after[:at], "")) != "" {
				continue // another name that begins so, or a key of another kind
			}
			if m := firstKey.FindStringSubmatch(enclosed(after[at:])); m != nil {
				return name, m[1]
			}
		}
	}
	return "", ""
}

// enclosed is the text of the map that it begins with.
func enclosed(text string) string {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return text[:i+1]
			}
		}
	}
	return text
}

// depsEDN builds an app of deps.edn: by the alias that makes a jar with all in it, else it only needs its packages.
func (b *build) depsEDN() error {
	text := kit.Text(b.app, "deps.edn")
	call := ""
	if a := b.env["BP_CLJ_BUILD_ALIAS"]; a != "" {
		call = "-T :" + strings.TrimPrefix(a, ":")
	}
	alias, key := depsAlias(text, "uberjar", "uber", "build", "depstar")
	fn := uberFunc.FindStringSubmatch(kit.Text(b.app, "build.clj"))
	switch {
	case call != "":
	case key == "exec-fn":
		call = "-X :" + alias
	case key == "ns-default" && fn != nil:
		call = "-T :" + alias + " " + fn[1]
	case key == "main-opts":
		call = "-M :" + alias
	}
	calls := map[string]string{}
	if call != "" {
		calls["build"] = call
	}
	for _, c := range clojureCommands(b.app) {
		calls["run"+strings.ReplaceAll(c, "/", "_")] = c[:2] + " " + c[2:]
	}
	run := ""
	if call == "" && !procfile.HasWeb(b.app) {
		run = "-M "
		if alias, key := depsAlias(text, "run", "run-m", "start", "server", "serve", "main", "prod", "production", "web", "app", "run-x"); key == "exec-fn" {
			run = "-X :" + alias
		} else if key == "main-opts" {
			run = "-M :" + alias
		}
		calls["web"] = run
	}
	found, err := b.resolveDeps(calls)
	if err != nil {
		return err
	}
	if made, ok := found["build"]; ok {
		kit.Say(b.Out, "clojure %s", strings.ReplaceAll(strings.Replace(call, " ", "", 1), "\n", " "))
		java := slices.Concat(made.options, []string{"-cp", strings.Join(made.roots, ":"), "clojure.main"})
		if err := b.clojureTool("clojure", java, made.words); err != nil {
			return err
		}
	}
	return b.keepBases(found)
}

// resolveDeps asks tools.deps about calls of clojure, and fetches the packages.
func (b *build) resolveDeps(calls map[string]string) (map[string]basis, error) {
	found := map[string]basis{}
	if len(calls) == 0 {
		return found, nil
	}
	libs, err := b.toolsDeps()
	if err != nil {
		return nil, err
	}
	out, err := os.MkdirTemp("", "deps-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(out)
	script := filepath.Join(out, "deps.clj")
	if err := os.WriteFile(script, []byte(depsScript), 0o644); err != nil {
		return nil, err
	}
	words := []string{out}
	for name, call := range calls {
		words = append(words, name, call)
	}
	kit.Say(b.Out, "Fetching what deps.edn names")
	if err := b.clojureTool("clojure", []string{"-cp", filepath.Join(libs, "*"), "clojure.main", script}, words); err != nil {
		return nil, err
	}
	for name := range calls {
		lines := strings.Split(kit.Text(out, name), "\n")
		if len(lines) < 2 {
			return nil, fmt.Errorf("tools.deps said nothing of %s", name)
		}
		n, err := strconv.Atoi(lines[1])
		if err != nil || n < 0 || n > len(lines)-2 {
			return nil, fmt.Errorf("tools.deps said %q", short(lines[1]))
		}
		found[name] = basis{roots: strings.Split(lines[0], ":"), options: lines[2 : 2+n], words: lines[2+n:]}
	}
	return found, nil
}

// toolsDeps fetches the library that reads deps.edn, by Maven.
func (b *build) toolsDeps() (string, error) {
	home, err := b.mavenHome()
	if err != nil {
		return "", err
	}
	return b.toolDir("tools.deps-"+toolsDeps, func(dir string) error {
		run, err := b.mavenCommand(home)
		if err != nil {
			return err
		}
		pom := filepath.Join(dir, "pom.xml")
		text := `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>gitd</groupId><artifactId>tools</artifactId><version>1</version><packaging>pom</packaging>` +
			`<dependencies><dependency><groupId>org.clojure</groupId><artifactId>tools.deps</artifactId><version>` + toolsDeps + "</version></dependency></dependencies></project>\n"
		if err := os.WriteFile(pom, []byte(text), 0o644); err != nil {
			return err
		}
		kit.Say(b.Out, "Fetching tools.deps %s", toolsDeps)
		args := append(run, "-q", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+dir)
		said, err := kit.Cmd{Args: args, Dir: dir, Env: b.env, Out: b.Out, Name: "mvn"}.Run()
		if err != nil {
			return b.reason(said, err)
		}
		return nil
	})
}

// clojureLibs is where the app's packages are put.
const clojureLibs = "target/lib"

// keepBases brings what the app runs with into its folder, or, for calls of the Procfile, into a layer with a program clojure.
func (b *build) keepBases(found map[string]basis) error {
	for name, f := range found {
		if name == "build" {
			continue
		}
		for i, root := range f.roots {
			if !filepath.IsAbs(root) || !kit.Exists(root) {
				continue
			}
			to := filepath.Join(clojureLibs, filepath.Base(root))
			if kit.IsDir(root) { // the sources of a package that is a repository
				to = filepath.Join(clojureLibs, kit.Key(root)[:12])
			}
			f.roots[i] = to
			if kit.Exists(b.app, to) {
				continue
			}
			if err := kit.CopyTree(root, filepath.Join(b.app, to), nil); err != nil {
				return err
			}
		}
	}
	if web, ok := found["web"]; ok {
		b.clojure = &web
	}
	b.slices = append(b.slices, libcnb.Slice{Paths: []string{clojureLibs + "/**"}})
	return b.clojureLayer(found)
}

// clojureLayer has the program clojure for the calls of the Procfile, whose class paths are known already.
func (b *build) clojureLayer(found map[string]basis) error {
	cases := ""
	for name, f := range found {
		call, ok := strings.CutPrefix(name, "run")
		if !ok {
			continue
		}
		words := make([]string, len(f.words))
		for i, w := range f.words {
			words[i] = kit.Quote(w)
		}
		options := ""
		for _, o := range f.options {
			options += kit.Quote(o) + " "
		}
		cases += fmt.Sprintf("%s) exec java $JAVA_OPTS %s-cp %s clojure.main %s \"$@\" ;;\n", kit.Quote(call), options, kit.Quote(strings.Join(f.roots, ":")), strings.Join(words, " "))
	}
	if cases == "" {
		return nil
	}
	layer, err := kit.OpenLayer(b.ctx, "clojure")
	if err != nil {
		return err
	}
	b.layers = append(b.layers, layer)
	if err := layer.Reset(libcnb.LayerTypes{Launch: true}, ""); err != nil {
		return err
	}
	script := "#!/bin/sh\n# clojure, for the commands of the Procfile.\ncd " + kit.Quote(b.app) + "\ncall=-M\ncase \"$1\" in -[MXA]*) call=$1; shift ;; esac\ncase \"$call\" in\n" + cases +
		"*) echo \"clojure $call is not in the Procfile, so that its packages are not in the image\" >&2; exit 1 ;;\nesac\n"
	for _, name := range []string{"clojure", "clj"} {
		if err := kit.WriteProgram(filepath.Join(layer.Path, "bin", name), script); err != nil {
			return err
		}
	}
	return nil
}

// startClojure starts an app of deps.edn that no alias makes a jar of.
func (b *build) startClojure() (*libcnb.Process, error) {
	words := b.clojure.words
	if len(words) == 0 {
		var folders []string
		for _, r := range b.clojure.roots {
			if !strings.HasSuffix(r, ".jar") && !strings.HasPrefix(r, clojureLibs) {
				folders = append(folders, r)
			}
		}
		space, err := mainSpace(b.app, folders)
		if err != nil {
			return nil, err
		}
		kit.Say(b.Out, "Namespace %s", space)
		words = []string{"-m", space}
	}
	args := slices.Concat(b.clojure.options, []string{"-cp", strings.Join(b.clojure.roots, ":"), "clojure.main"}, words)
	for i, a := range args {
		args[i] = quote(a)
	}
	return b.javaProcess(args...), nil
}
