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

const module = "github.com/gitd-io/gitd/"

// TestDigest: each input of a result changes its digest, and what no result depends on does not.
func TestDigest(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"go.mod", "go.sum", "buildpacks", "internal", "cmd", "examples"} {
		if out, err := exec.Command("cp", "-r", filepath.Join("../..", dir), root).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	home, tools := t.TempDir(), t.TempDir()
	for name, value := range map[string]string{"GOMODCACHE": goEnv(t, "GOMODCACHE"), "GOCACHE": goEnv(t, "GOCACHE"), "HOME": home, "PATH": tools + ":" + os.Getenv("PATH")} {
		t.Setenv(name, value)
	}
	t.Chdir(root)
	ruby := []string{module + "buildpacks/ruby", module + "buildpacks", module + "internal/app"}
	digests := func(settings string) string {
		t.Helper()
		all, err := digestAll(ruby, settings)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Collect(maps.Keys(all)); !slices.Equal(got, ruby[:1]) {
			t.Fatalf("digests of %v", got)
		}
		return all[ruby[0]]
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
	before := digests("")
	for _, tt := range []struct {
		name   string
		change func()
		counts bool
	}{
		{"nothing", func() {}, false},
		{"its source", add("buildpacks/ruby/ruby.go"), true},
		{"its tests", add("buildpacks/ruby/more_test.go.txt"), true},
		{"a package that it imports", add("buildpacks/internal/kit/kit.go"), true},
		{"one that only its tests import", add("buildpacks/internal/bptest/bptest.go"), true},
		{"a program that tests compile", add("cmd/gitd-lambda/main.go"), true},
		{"what that is made of", add("internal/lambda/run.go"), true},
		{"an example", add("examples/node/server.js"), true},
		{"another module", add("go.mod"), true},
		{"a variable", func() { t.Setenv("BUNDLE_MIRROR", "https://example.com") }, true},
		{"a program", add(filepath.Join(tools, "gem")), true},
		{"a tool's settings", add(filepath.Join(home, ".gemrc")), true},
		{"gitd itself", add("internal/receive/receive.go"), false},
		{"another language", add("buildpacks/php/php.go"), false},
		{"the time of a file", func() {
			if err := os.Chtimes("buildpacks/ruby/ruby.go", time.Unix(1, 0), time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"where make was called", func() { t.Setenv("MAKELEVEL", "2") }, false},
	} {
		tt.change()
		after := digests("")
		if (after != before) != tt.counts {
			t.Errorf("%s: the digest changes: %v, want %v", tt.name, after != before, tt.counts)
		}
		before = after
	}
	if digests("-race") == before {
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
{"Action":"start","Package":"e"}
`))
	if err != nil || !maps.Equal(got, map[string]bool{"a": true}) {
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
