package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDigest: each input of a result changes its digest, and what no result depends on does not.
func TestDigest(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"go.mod", "go.sum", "buildpacks", "internal", "cmd", "examples", "make", "test"} {
		if out, err := exec.Command("cp", "-r", filepath.Join("../..", dir), root).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	home, tools, wheels := t.TempDir(), t.TempDir(), t.TempDir()
	for name, value := range map[string]string{"GOMODCACHE": goEnv(t, "GOMODCACHE"), "GOCACHE": goEnv(t, "GOCACHE"), "HOME": home, "PATH": tools + ":" + os.Getenv("PATH"), "PIP_FIND_LINKS": wheels, "NODE_EXTRA_CA_CERTS": filepath.Join(wheels, "ca.pem")} {
		t.Setenv(name, value)
	}
	t.Chdir(root)
	ruby := []string{scriptTest + "example_ruby", module + "buildpacks/ruby", module + "buildpacks"}
	made, err := goList(slices.Concat([]string{lambda}, builds, ruby[1:]))
	if err != nil {
		t.Fatal(err)
	}
	digests := func(settings string) (script, pkg string) {
		t.Helper()
		all, err := digestsOf(made, ruby, settings)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, ruby[:2]) {
			t.Fatalf("digests of %v", got)
		}
		return all[ruby[0]], all[ruby[1]]
	}
	add := func(file string) func() {
		return func() {
			f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			if err == nil {
				_, err = f.WriteString("\n// more\n")
			}
			if err == nil {
				err = f.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	script, pkg := digests("")
	for _, tt := range []struct {
		name   string
		change func()
		counts string // for what
	}{
		{"nothing", func() {}, ""},
		{"its source", add("buildpacks/ruby/ruby.go"), "both"},
		{"its tests", add("buildpacks/ruby/more_test.go.txt"), "both"},
		{"its script", add("test/e2e/testdata/example_ruby.txtar"), "script"},
		{"the commands of scripts", add("test/e2e/commands_test.go"), "script"},
		{"the sandbox of builds", add("internal/sandbox/console.go"), "script"},
		{"what makes builders", add("internal/build/builder/recipe/recipe.go"), "script"},
		{"a package that it imports", add("buildpacks/internal/kit/kit.go"), "both"},
		{"one that only its tests import", add("buildpacks/internal/bptest/bptest.go"), "both"},
		{"a program that tests compile", add("cmd/gitd-lambda/main.go"), "package"},
		{"what that is made of", add("internal/lambda/run.go"), "package"},
		{"an example", add("examples/node/server.js"), "both"},
		{"another module", add("go.mod"), "both"},
		{"a variable", func() { t.Setenv("BUNDLE_MIRROR", "https://example.com") }, "both"},
		{"a program", add(filepath.Join(tools, "gem")), "both"},
		{"local packages, and certificates", add(filepath.Join(wheels, "ca.pem")), "both"},
		{"a tool's settings", add(filepath.Join(home, ".gemrc")), "both"},
		{"gitd itself", add("internal/receive/receive.go"), ""},
		{"another language", add("buildpacks/php/php.go"), "script"},
		{"the time of a file", func() {
			if err := os.Chtimes("buildpacks/ruby/ruby.go", time.Unix(1, 0), time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"where make was called", func() { t.Setenv("MAKELEVEL", "2") }, ""},
	} {
		tt.change()
		s, p := digests("")
		got := map[[2]bool]string{{true, true}: "both", {true, false}: "script", {false, true}: "package"}[[2]bool{s != script, p != pkg}]
		if got != tt.counts {
			t.Errorf("%s: it counts for %q, want %q", tt.name, got, tt.counts)
		}
		script, pkg = s, p
	}
	if s, p := digests("-race"); s == script || p == pkg {
		t.Error("the flags of go test do not count")
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestFirstTry: what failed is not remembered, though it passed when it ran again; nor is what did not run.
func TestFirstTry(t *testing.T) {
	got, err := firstTry(strings.NewReader(`{"Action":"start","Package":"a"}
{"Action":"pass","Package":"a","Test":"TestA"}
{"Action":"pass","Package":"a"}
{"Action":"fail","Package":"b","Test":"TestB"}
{"Action":"fail","Package":"b"}
{"Action":"pass","Package":"b","Test":"TestB"}
{"Action":"pass","Package":"b"}
{"Action":"output","Package":"c","Output":"ok  \tc\t(cached)\n"}
{"Action":"pass","Package":"c"}
{"Action":"skip","Package":"d"}
{"Action":"pass","Package":"x","Test":"TestScripts/good"}
{"Action":"fail","Package":"x","Test":"TestScripts/bad"}
{"Action":"fail","Package":"x"}
{"Action":"pass","Package":"x","Test":"TestScripts/bad"}
{"Action":"pass","Package":"x"}
{"Action":"start","Package":"e"}
`))
	if err != nil || !maps.Equal(got, map[string]bool{"a": true, "TestScripts/good": true}) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestRecords: a record counts for some days, and then goes.
func TestRecords(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	r, err := openRecords()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for digest, at := range map[string]time.Time{"new": now.Add(-kept + time.Hour), "old": now.Add(-kept - time.Hour)} {
		if err := r.note("a", digest, at); err != nil {
			t.Fatal(err)
		}
	}
	for digest, want := range map[string]bool{"new": true, "old": false, "other": false} {
		if _, ok := r.passed(digest, now); ok != want {
			t.Errorf("%s: %v, want %v", digest, ok, want)
		}
	}
	if err := r.sweep(now); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(string(r)); err != nil || len(left) != 1 || left[0].Name() != "new" {
		t.Errorf("left: %v, %v", left, err)
	}
}
