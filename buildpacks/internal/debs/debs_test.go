package debs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// open returns a tool with a cache of its own, and what it says.
func open(t *testing.T) (*debs.Tool, kit.Env, *strings.Builder) {
	t.Helper()
	bptest.Debian(t)
	env := kit.NewEnv(map[string]string{"BP_CACHE_MOUNT": t.TempDir()})
	var said strings.Builder
	tool, err := debs.Open(kit.OpenCache(libcnb.BuildContext{}, env), env, &said)
	if err != nil {
		t.Fatal(err)
	}
	return tool, env, &said
}

// TestInstall: a program and a library come with what they need, work from the folder, and make the same folder each time.
func TestInstall(t *testing.T) {
	tool, env, said := open(t)
	request := debs.Request{Packages: []string{"jq", "libpq-dev", "pkg-config"}}
	set, err := tool.Resolve(request)
	if err != nil {
		t.Fatal(err)
	}
	if set.Version("jq") == "" || set.Version("libonig5") == "" || set.Version("libc6") != "" {
		t.Fatalf("the set is %v", set.Packages)
	}
	root := filepath.Join(t.TempDir(), "layer")
	if err := tool.Install(set, root); err != nil {
		t.Fatal(err)
	}
	debs.Environment(root).AddTo(env)
	run := func(args ...string) string {
		t.Helper()
		out, err := kit.Cmd{Args: args, Env: env, Out: said}.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		return strings.TrimSpace(string(out))
	}
	if got := run("jq", "-nr", `"a" + "b"`); got != "ab" {
		t.Errorf("jq says %q", got)
	}
	if got, err := filepath.EvalSymlinks(run("pkg-config", "--variable=includedir", "libpq")); err != nil || got != filepath.Join(root, "usr/include/postgresql") {
		t.Errorf("pkg-config names %q, %v", got, err)
	}
	if got := run("pg_config", "--version"); !strings.HasPrefix(got, "PostgreSQL ") {
		t.Errorf("pg_config says %q", got)
	}
	checkLinks(t, root)

	// What is there and what is asked for is the same: nothing is asked, and the folder is equal.
	said.Reset()
	again, err := tool.Resolve(request)
	if err != nil || again.Key() != set.Key() || said.String() != "" {
		t.Errorf("the second time: %v, said %q", err, said)
	}
	before := listing(t, root)
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	if err := tool.Install(again, root); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(said.String(), "Fetching") {
		t.Errorf("packages of the cache are fetched again: %s", said)
	}
	if after := listing(t, root); before != after {
		t.Errorf("the folders differ:\n%s\n%s", before, after)
	}
	t.Run("errors", func(t *testing.T) { checkErrors(t, tool) })
}

// TestPrepare: what one app's build asked for is prepared for all, and makes the same folder without a word to the mirror.
func TestPrepare(t *testing.T) {
	_, env, _ := open(t)
	shared, cache := t.TempDir(), env["BP_CACHE_MOUNT"]
	env["BP_SHARED_MOUNT"] = shared
	var said strings.Builder
	reopen := func() *debs.Tool {
		tool, err := debs.Open(kit.OpenCache(libcnb.BuildContext{}, env), env, &said)
		if err != nil {
			t.Fatal(err)
		}
		return tool
	}
	install := func(tool *debs.Tool) string {
		set, err := tool.Resolve(debs.Request{Packages: []string{"jq", "tcl"}})
		if err != nil {
			t.Fatal(err)
		}
		root := filepath.Join(t.TempDir(), "layer")
		if err := tool.Install(set, root); err != nil {
			t.Fatal(err)
		}
		return listing(t, root)
	}
	before := install(reopen())
	noted, err := os.Open(filepath.Join(cache, "debs", "requests"))
	if err != nil {
		t.Fatal(err)
	}
	defer noted.Close()
	if err := debs.Prepare(noted, t.TempDir(), shared, env, &said); err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}

	said.Reset()
	env["BP_CACHE_MOUNT"], env["http_proxy"], env["https_proxy"] = t.TempDir(), "http://127.0.0.1:1", "http://127.0.0.1:1"
	if after := install(reopen()); after != before {
		t.Errorf("the folders differ:\n%s\n%s", before, after)
	}
	if strings.Count(said.String(), "\n") != 1 {
		t.Errorf("said %q", &said)
	}
	// The same again asks nothing either; a name that cannot be had disturbs no other request.
	wrong := strings.NewReader(`{"Packages":["no-such-package"]}` + "\n" + `{"Packages":["jq","tcl"]}` + "\n")
	said.Reset()
	if err := debs.Prepare(wrong, t.TempDir(), shared, env, &said); err != nil || !strings.Contains(said.String(), "no-such-package") {
		t.Errorf("%v, said %q", err, &said)
	}
}

func checkLinks(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type()&os.ModeSymlink != 0 {
			if target, _ := os.Readlink(p); filepath.IsAbs(target) && kit.Exists(root, target) {
				t.Errorf("%s leads to %s", p, target)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func listing(t *testing.T, root string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `cd "$1" && find . -printf '%p %y %m %l %T@ ' -type f -exec sha256sum {} \; -o -printf '\n' | sort`, "sh", root).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// checkErrors: what cannot be had is named, with what may be meant.
func checkErrors(t *testing.T, tool *debs.Tool) {
	t.Helper()
	for name, want := range map[string]string{
		"libssl2":     "has no package libssl2; near it: libssl3",
		"ffmpg":       "has no package ffmpg; near it: ffmpeg",
		"libfoo-":     `"libfoo-" is not the name of a Debian package`,
		"-oDir=/":     `"-oDir=/" is not the name`,
		"jq/unstable": `"jq/unstable" is not the name`,
	} {
		_, err := tool.Resolve(debs.Request{Packages: []string{name}})
		if err == nil || !strings.Contains(kit.Line(err), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if _, err := tool.Resolve(debs.Request{Packages: []string{"jq"}, Suite: "unthinkable"}); err == nil || !strings.Contains(err.Error(), "unthinkable") {
		t.Errorf("an unknown suite: %v", err)
	}
}

// TestAlone: a package that is asked for alone comes without what it needs.
func TestAlone(t *testing.T) {
	tool, _, _ := open(t)
	set, err := tool.Resolve(debs.Request{Packages: []string{"jq"}, Alone: true})
	if err != nil || len(set.Packages) != 1 || set.Packages[0].Name != "jq" {
		t.Errorf("%v %v", set, err)
	}
}
