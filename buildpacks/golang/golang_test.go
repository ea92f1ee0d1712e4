package golang

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// toolchain returns the buildpack with the Go of this machine, and a seed that stays from run to run.
func toolchain(t *testing.T) (Buildpack, *bytes.Buffer) {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("these tests need the go command: %v", err)
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	b := Buildpack{Root: strings.TrimSpace(string(root)), Cache: filepath.Join(caches, "gitd-test", "go-seed"), Out: out}
	args, env := catalog.SeedGoCache(b.Root, b.Cache)
	// Of the standard library the tests need this much; what is there already takes no time.
	cmd := exec.Command(args[0], append(args[1:len(args)-1], "net/http")...)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), env...)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("filling the seed: %v\n%s", err, msg)
	}
	for i := range 256 {
		if err := os.MkdirAll(filepath.Join(b.Cache, string("0123456789abcdef"[i/16])+string("0123456789abcdef"[i%16])), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return b, out
}

func TestDetect(t *testing.T) {
	tests := []struct {
		name   string
		files  map[string]string
		passed bool
		out    string
		err    string
	}{
		{"module", map[string]string{"go.mod": "module a\n\ngo 1.26\n"}, true, "gitd-detect: Go (go.mod, go 1.26)\n", ""},
		{"module without a version", map[string]string{"go.mod": "module a\n"}, true, "gitd-detect: Go (go.mod, go 1.16)\n", ""},
		{"workspace", map[string]string{"go.work": "go 1.26.2\n\nuse ./a\n", "a/go.mod": "module a"}, true, "gitd-detect: Go (go.work, go 1.26.2)\n", ""},
		{"nothing", map[string]string{"main.py": ""}, false, "gitd-looked-for: go.mod\n", ""},
		{"themes of a site", map[string]string{"go.mod": "module a\n", "hugo.toml": ""}, false, "gitd-looked-for: go.mod of a program\n", ""},
		{"a library beside an app in Python", map[string]string{"go.mod": "module a\n", "fast/a.go": "package fast\n", "requirements.txt": "flask\n"}, false, "gitd-looked-for: go.mod of a program\n", ""},
		{"the Procfile starts Python", map[string]string{"go.mod": "module a\n", "main.go": "package main\n", "requirements.txt": "flask\n", "Procfile": "web: gunicorn app:app\n"}, false, "gitd-looked-for: go.mod of a program\n", ""},
		{"with tools in Python", map[string]string{"go.mod": "module a\n\ngo 1.26\n", "main.go": "package main\n", "requirements.txt": "mkdocs\n"}, true, "gitd-detect: Go (go.mod, go 1.26)\n", ""},
		{"no go.mod", map[string]string{"main.go": "package main\n", "util.go": "package main\n"}, true, "gitd-detect: Go (main.go, no go.mod)\n", ""},
		{"no go.mod, below cmd", map[string]string{"cmd/web/server.go": "package main\n", "store/store.go": "package store\n"}, true, "gitd-detect: Go (cmd/web/server.go, no go.mod)\n", ""},
		{"a tool in Go beside an app in Python", map[string]string{"main.go": "package main\n", "requirements.txt": ""}, false, "gitd-looked-for: go.mod\n", ""},
		{"a library without go.mod", map[string]string{"a.go": "package a\n"}, false, "gitd-looked-for: go.mod\n", ""},
		{"malformed", map[string]string{"go.mod": "modul a\ngo\n"}, false, "", "go.mod cannot be read: go.mod:2: go directive expects exactly one argument; run go mod tidy and push again"},
		{"folder", map[string]string{"go.mod/x": ""}, false, "", "go.mod is not a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := &bytes.Buffer{}
			passed, err := bptest.New(t, catalog.Go).Detect(Buildpack{Out: out}, tt.files)
			msg := ""
			if err != nil {
				msg = kit.Line(err)
			}
			if passed != tt.passed || out.String() != tt.out || msg != tt.err {
				t.Errorf("got %v %q %q, want %v %q %q", passed, out, msg, tt.passed, tt.out, tt.err)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	const mainGo = "package main\n\nfunc main() {}\n"
	tests := []struct {
		name  string
		files map[string]string
		asked string
		want  string // dir=name …
		err   string // a part of it
	}{
		{"root", map[string]string{"main.go": mainGo, "cmd/tool/main.go": mainGo}, "", ".=shop", ""},
		{"root and what the Procfile starts", map[string]string{"main.go": mainGo, "cmd/worker/main.go": mainGo, "cmd/x/main.go": mainGo,
			"Procfile": "web: shop\nworker: bin/worker -v\n"}, "", ".=shop ./cmd/worker=worker", ""},
		{"only one below cmd", map[string]string{"lib.go": "package shop\n", "cmd/foo/main.go": mainGo, "tools/gen/main.go": mainGo}, "", "./cmd/foo=foo", ""},
		{"only one anywhere", map[string]string{"app/main.go": mainGo}, "", "./app=app", ""},
		{"web", map[string]string{"cmd/web/main.go": mainGo, "cmd/worker/main.go": mainGo}, "", "./cmd/web=web", ""},
		{"server", map[string]string{"cmd/server/main.go": mainGo, "cmd/worker/main.go": mainGo}, "", "./cmd/server=server", ""},
		{"like the module", map[string]string{"cmd/shop/main.go": mainGo, "cmd/worker/main.go": mainGo}, "", "./cmd/shop=shop", ""},
		{"by the Procfile", map[string]string{"cmd/a/main.go": mainGo, "cmd/b/main.go": mainGo, "Procfile": "web: b --port $PORT\n"}, "", "./cmd/b=b", ""},
		{"ambiguous", map[string]string{"cmd/a/main.go": mainGo, "cmd/b/main.go": mainGo}, "", "", "./cmd/a, ./cmd/b; set BP_GO_TARGETS"},
		{"none", map[string]string{"lib.go": "package shop\n"}, "", "", "no main package"},
		{"the only one that answers requests, through a package of the app", map[string]string{"cmd/a/main.go": mainGo, "cmd/b/main.go": "package main\n\nimport _ \"example.com/shop/v2/internal/site\"\n\nfunc main() {}\n",
			"internal/site/site.go": "package site\n\nimport _ \"net/http\"\n"}, "", "./cmd/b=b", ""},
		{"only the modules of a workspace", map[string]string{"go.work": "go 1.25\n\nuse (\n\t./api\n\t./lib\n)\n", "main.go": mainGo, "api/go.mod": "module api\n", "api/main.go": mainGo, "lib/go.mod": "module lib\n", "lib/lib.go": "package lib\n",
			"old/go.mod": "module old\n", "old/main.go": mainGo}, "", "./api=api", ""},
		{"ignored files do not count", map[string]string{"gen.go": "//go:build ignore\n\n" + mainGo, "main_windows.go": mainGo, "cmd/a/main.go": mainGo}, "", "./cmd/a=a", ""},
		{"other modules do not count", map[string]string{"cmd/a/main.go": mainGo, "cmd/b/main.go": mainGo, "cmd/b/go.mod": "module b\n"}, "", "./cmd/a=a", ""},
		{"asked", map[string]string{"cmd/a/main.go": mainGo, "cmd/b/main.go": mainGo}, "./cmd/b,cmd/a", "./cmd/b=b ./cmd/a=a", ""},
		{"asked for nothing", map[string]string{"main.go": mainGo}, "./cmd/b", "", "not a folder of the app"},
		{"asked for outside", map[string]string{"main.go": mainGo}, "../b", "", "outside of the app"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, ok := tt.files["go.work"]; !ok {
				tt.files["go.mod"] = "module example.com/shop/v2\n\ngo 1.26\n"
			}
			r := bptest.New(t, catalog.Go)
			if _, err := r.Detect(Buildpack{Out: &bytes.Buffer{}}, tt.files); err != nil {
				t.Fatal(err)
			}
			m, err := readModule(r.App)
			if err != nil {
				t.Fatal(err)
			}
			procs, err := procfile.Read(r.App)
			if err != nil {
				t.Fatal(err)
			}
			targets, err := chooseTargets(r.App, m, kit.Env{"X": tt.asked}.Words("X"), procs)
			var got []string
			for _, g := range targets {
				got = append(got, g.dir+"="+g.name)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("targets %q, want %q", got, tt.want)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func server(version string) map[string]string {
	return map[string]string{
		"go.mod":             "module example.com/hello\n\ngo 1.25\n",
		"main.go":            "package main\n\nimport (\n\t\"fmt\"\n\t\"net/http\"\n)\n\nfunc main() { fmt.Println(\"" + version + "\", http.MethodGet) }\n",
		"internal/a/a.go":    "package a\n",
		"templates/a.html":   "<p>",
		"testdata/x":         "",
		"Procfile":           "web: bin/hello\n",
		"internal/a/keep.me": "",
	}
}

// TestBuild: the binary runs, unchanged sources make an unchanged layer, changed ones a new layer without compiling the standard library.
func TestBuild(t *testing.T) {
	b, out := toolchain(t)
	r := bptest.New(t, catalog.Go)
	built, err := r.Build(b, server("one"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	web := built.Processes["web"]
	if web.Command != "hello" || !web.Direct || !web.Default {
		t.Errorf("web is %+v", web)
	}
	run := func() string {
		t.Helper()
		text, err := exec.Command(filepath.Join(r.Layers, "bin/bin/hello")).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	if got := run(); got != "one GET" {
		t.Errorf("the binary says %q", got)
	}
	for name, want := range map[string]bool{"main.go": false, "go.mod": false, "testdata": false, "internal/a/a.go": false,
		"internal/a/keep.me": true, "templates/a.html": true, "bin/hello": true} {
		if kit.Exists(r.App, name) != want {
			t.Errorf("%s is there: %v, want %v", name, !want, want)
		}
	}
	sbom, err := os.ReadFile(filepath.Join(r.Layers, "bin.sbom.cdx.json"))
	if err != nil || !bytes.Contains(sbom, []byte("pkg:golang/stdlib@1.")) {
		t.Errorf("bill of materials: %s, %v", sbom, err)
	}
	// The seed hits: what the build itself put into the cache is a few entries, not the standard library's hundreds.
	own := 0
	err = eachEntry(filepath.Join(r.Env["BP_CACHE_MOUNT"], "go-build"), func(rel string, e os.DirEntry) error {
		if strings.HasSuffix(rel, "-d") && e.Type().IsRegular() {
			own++
		}
		return nil
	})
	if err != nil || own > 20 {
		t.Errorf("%d outputs were compiled, %v", own, err)
	}

	if _, err = r.Build(b, server("one")); err != nil {
		t.Fatal(err)
	}
	if !r.Reused("bin") {
		t.Error("equal sources made another layer")
	}
	if _, err = r.Build(b, server("two")); err != nil {
		t.Fatal(err)
	}
	if r.Reused("bin") || run() != "two GET" {
		t.Error("the change did not get into the layer")
	}
}

// TestBuildWithoutMount: where the platform has no cache folder, cached layers stand in.
func TestBuildWithoutMount(t *testing.T) {
	b, out := toolchain(t)
	r := bptest.New(t, catalog.Go)
	delete(r.Env, "BP_CACHE_MOUNT")
	built, err := r.Build(b, server("one"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"cache-go-mod", "cache-go-build", "cache-go-bin"} {
		if l := built.Metadata[name]; !l.Cache || l.Launch {
			t.Errorf("%s: %+v", name, l.LayerTypes)
		}
	}
	if _, err := r.Build(b, server("one")); err != nil || !r.Reused("bin") {
		t.Errorf("the second build: %v, reused %v", err, r.Reused("bin"))
	}
}

// TestCompileError: the compiler's first error.
func TestCompileError(t *testing.T) {
	b, out := toolchain(t)
	files := server("one")
	files["main.go"] = "package main\n\nfunc main() { undefined(); other() }\n"
	_, err := bptest.New(t, catalog.Go).Build(b, files)
	if err == nil || kit.Line(err) != "go build failed: main.go:3:15: undefined: undefined" {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(out.String(), "./main.go:3:15: undefined: undefined") {
		t.Errorf("output %s", out)
	}
}

// TestSeedChanges: links to an older builder's seed are replaced, and trimming takes the app's old entries, not the seed's.
func TestSeedChanges(t *testing.T) {
	mk := func(name string) string {
		dir := t.TempDir()
		for i := range 256 {
			sub := filepath.Join(dir, string("0123456789abcdef"[i/16])+string("0123456789abcdef"[i%16]))
			if err := os.MkdirAll(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, kind := range []string{"-a", "-d"} {
				if err := os.WriteFile(filepath.Join(sub, name+kind), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		return dir
	}
	first, second, cache := mk("one"), mk("two"), t.TempDir()
	for _, from := range []string{first, first, second, filepath.Join(first, "missing")} {
		if err := seed(from, cache); err != nil {
			t.Fatal(err)
		}
	}
	if kit.Exists(cache, "00/one-d") || !kit.Exists(cache, "00/one-a") || !kit.Exists(cache, "00/two-d") {
		t.Error("the links are not those of the second seed")
	}
	if got, err := os.Readlink(filepath.Join(cache, "ff/two-d")); err != nil || got != filepath.Join(second, "ff/two-d") {
		t.Errorf("link to %s, %v", got, err)
	}
}

// TestBuildFlags: flags are words of a shell: a comma stays in its word, and quotes keep spaces together.
func TestBuildFlags(t *testing.T) {
	b, out := toolchain(t)
	r := bptest.New(t, catalog.Go)
	r.Env["BP_GO_BUILD_FLAGS"] = `-tags=one,two -ldflags="-X 'main.version=1.2 beta'"`
	files := map[string]string{
		"go.mod": "module example.com/hello\n\ngo 1.25\n", "main.go": "package main\n\nimport \"fmt\"\n\nvar version, a, b string\n\nfunc main() { fmt.Println(version, a, b) }\n",
		"a.go": "//go:build one\n\npackage main\n\nfunc init() { a = \"one\" }\n", "b.go": "//go:build two\n\npackage main\n\nfunc init() { b = \"two\" }\n",
	}
	if _, err := r.Build(b, files); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, err := exec.Command(filepath.Join(r.Layers, "bin/bin/hello")).Output(); err != nil || string(got) != "1.2 beta one two\n" {
		t.Errorf("the binary says %q, %v", got, err)
	}
	r.Env["BP_GO_BUILD_FLAGS"] = `-tags="one`
	if _, err := r.Build(b, files); err == nil || !strings.HasPrefix(kit.Line(err), "BP_GO_BUILD_FLAGS cannot be split into words") {
		t.Errorf("a quote without an end: %v", err)
	}
}

// TestCgo: a module that is nothing without cgo turns it on.
func TestCgo(t *testing.T) {
	for line, want := range map[string]string{"github.com/mattn/go-sqlite3 v1.14.24": "github.com/mattn/go-sqlite3", "github.com/confluentinc/confluent-kafka-go/v2 v2.1.0": "github.com/confluentinc/confluent-kafka-go/v2",
		"modernc.org/sqlite v1.30.0": ""} {
		r := bptest.New(t, catalog.Go)
		if _, err := r.Detect(Buildpack{Out: &bytes.Buffer{}}, map[string]string{"go.mod": "module a.example/b\n\ngo 1.25\n\nrequire " + line + "\n"}); err != nil {
			t.Fatal(err)
		}
		if m, err := readModule(r.App); err != nil || m.cgo != want {
			t.Errorf("%s: %q %v, want %q", line, m.cgo, err, want)
		}
	}
}
