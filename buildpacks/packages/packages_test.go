package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

func TestDetect(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		wanted string
		pass   bool
		says   string
	}{
		"nothing":       {map[string]string{"app.py": ""}, "", false, ""},
		"project.toml":  {nil, "ffmpeg", true, "gitd-detect: Debian packages (project.toml)\n"},
		"Aptfile":       {map[string]string{"Aptfile": "# tools\nffmpeg\n"}, "", true, "gitd-detect: Debian packages (Aptfile)\n"},
		"both":          {map[string]string{"Aptfile": "ffmpeg"}, "jq", true, "gitd-detect: Debian packages (project.toml, Aptfile)\n"},
		"comments only": {map[string]string{"Aptfile": "# none yet\r\n\r\n"}, "", false, ""},
		"malformed":     {map[string]string{"Aptfile": "../../etc"}, "", true, "gitd-detect: Debian packages (Aptfile)\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := bptest.New(t, catalog.Packages)
			r.Env[catalog.PackagesVariable] = c.wanted
			var out strings.Builder
			if pass, err := r.Detect(New(&out), c.files); err != nil || pass != c.pass || out.String() != c.says {
				t.Errorf("%v, %v, says %q", pass, err, out.String())
			}
		})
	}
}

func TestAptfile(t *testing.T) {
	for text, want := range map[string]string{
		"\ufefflibpq-dev\r\ng++ jq # both\n\n#x\n": "libpq-dev g++ jq",
		"jq=1.6-2":                      "jq",
		"jq -o APT::Update=x":           `error: Aptfile line 1: "-o" is not the name of a Debian package; name one package a line`,
		"jq\n:repo:deb http://x y main": "error: Aptfile line 2: packages of other servers are not installed: :repo:deb http://x y main; name packages of Debian 13 only",
		"https://x.example/a.deb":       "error: Aptfile line 1: packages of other servers are not installed: https://x.example/a.deb; name packages of Debian 13 only",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "Aptfile"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		names, err := readAptfile(dir, new(strings.Builder))
		got := strings.Join(names, " ")
		if err != nil {
			got = "error: " + kit.Line(err)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestBuild: what is asked for is there for the build and for the app, where headers are not; the next build takes both over.
func TestBuild(t *testing.T) {
	bptest.Debian(t)
	r := bptest.New(t, catalog.Packages)
	r.Env[catalog.PackagesVariable] = "libonig-dev"
	files := map[string]string{"Aptfile": "jq\n"}
	var out strings.Builder
	if _, err := r.Build(New(&out), files); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !kit.IsFile(r.Layers, "build/usr/include/oniguruma.h") || kit.Exists(r.Layers, "run/usr/include") {
		t.Error("headers are to be where packages are compiled, and only there")
	}
	path, err := os.ReadFile(filepath.Join(r.Layers, "run/env.launch/LD_LIBRARY_PATH.prepend"))
	if err != nil {
		t.Fatal(err)
	}
	jq := exec.Command(filepath.Join(r.Layers, "run/usr/bin/jq"), "-n", `"ab"|test("B";"i")`)
	jq.Env = []string{"LD_LIBRARY_PATH=" + string(path)}
	if said, err := jq.CombinedOutput(); err != nil || string(said) != "true\n" {
		t.Errorf("jq says %q, %v", said, err)
	}
	out.Reset()
	if _, err := r.Build(New(&out), files); err != nil {
		t.Fatal(err)
	}
	if !r.Reused("run") || !kit.IsFile(r.Layers, "build/usr/bin/jq") || !kit.IsFile(r.Layers, "build/env.build/CPATH.prepend") {
		t.Error("the layers of the last build are not taken over")
	}
	if want := "Debian packages: jq libonig-dev\nUsing the build layer of the last build\nUsing the run layer of the last build\n"; out.String() != want {
		t.Errorf("the second build says %q, want %q", out.String(), want)
	}
}
