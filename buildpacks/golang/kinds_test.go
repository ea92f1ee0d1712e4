package golang

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildpacks/libcnb"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestBuildKinds: kinds of apps that people write, with the real go command.
func TestBuildKinds(t *testing.T) {
	embeds := "package main\n\nimport (\n\t\"embed\"\n\t\"fmt\"\n)\n\n//go:embed all:dist\nvar files embed.FS\n\nfunc main() {\n\tdata, err := files.ReadFile(\"dist/a.js\")\n\tfmt.Println(string(data), err)\n}\n"
	tests := []struct {
		name  string
		files map[string]string
		start string
		want  string // what it prints
		built string // the folder whose build script ran
	}{
		{"no go.mod, several files, packages that import each other", map[string]string{"main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"example.com/shop/store\"\n)\n\nfunc main() { fmt.Println(text(), store.Name) }\n",
			"text.go": "package main\n\nfunc text() string { return \"text\" }\n", "store/store.go": "package store\n\nconst Name = \"store\"\n"}, "shop", "text store", ""},
		{"no go.mod, the program in a folder, a package of elsewhere", map[string]string{"cmd/web/main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"github.com/google/uuid\"\n)\n\nfunc main() { fmt.Println(uuid.Nil.String()[:4]) }\n"}, "web", "0000", ""},
		{"no go.sum", map[string]string{"go.mod": "module example.com/shop\n\ngo 1.25\n\nrequire github.com/google/uuid v1.6.0\n", "main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"github.com/google/uuid\"\n)\n\nfunc main() { fmt.Println(uuid.Nil.String()[:4]) }\n"}, "shop", "0000", ""},
		{"a workspace", map[string]string{"go.work": "go 1.25\n\nuse ./api\nuse ./lib\n", "api/go.mod": "module example.com/api\n\ngo 1.25\n", "api/main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"example.com/lib\"\n)\n\nfunc main() { fmt.Println(lib.Name) }\n",
			"lib/go.mod": "module example.com/lib\n\ngo 1.25\n", "lib/lib.go": "package lib\n\nconst Name = \"lib\"\n"}, "api", "lib", ""},
		{"embeds what the front end's build makes", map[string]string{"go.mod": "module example.com/shop\n\ngo 1.25\n", "main.go": embeds, "package.json": `{"scripts":{"build":"make"}}`}, "shop", "made <nil>", "."},
		{"the front end is in a folder", map[string]string{"go.mod": "module example.com/shop\n\ngo 1.25\n", "main.go": strings.ReplaceAll(embeds, "dist", "web/dist"), "web/package.json": `{"scripts":{"build":"make"}}`, "web/dist/.gitkeep": ""}, "shop", "made <nil>", "web"},
		{"the front end is committed", map[string]string{"go.mod": "module example.com/shop\n\ngo 1.25\n", "main.go": strings.ReplaceAll(embeds, "dist", "web/dist"), "web/package.json": `{"scripts":{"build":"make"}}`, "web/dist/a.js": "old"}, "shop", "old <nil>", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, out := toolchain(t)
			r := bptest.New(t, catalog.Go)
			folder := ""
			b.Assets = func(_ libcnb.BuildContext, _ *kit.Cache, _ kit.Env, dir string) error {
				rel, err := filepath.Rel(r.App, dir)
				folder = rel
				return errors.Join(err, os.MkdirAll(filepath.Join(dir, "dist"), 0o755), os.WriteFile(filepath.Join(dir, "dist/a.js"), []byte("made"), 0o644))
			}
			built, err := r.Build(b, tt.files)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got := built.Processes["web"].Command; got != tt.start {
				t.Errorf("starts by %q, want %q", got, tt.start)
			}
			if got, err := exec.Command(filepath.Join(r.Layers, "bin/bin", tt.start)).CombinedOutput(); err != nil || strings.TrimSpace(string(got)) != tt.want {
				t.Errorf("prints %q %v, want %q", got, err, tt.want)
			}
			if folder != tt.built {
				t.Errorf("the build script of %q ran, want %q", folder, tt.built)
			}
		})
	}
}

// TestProcfileCommands: what a Procfile calls a program is there when the app runs, also "go run".
func TestProcfileCommands(t *testing.T) {
	prints := func(text string) string {
		return "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n\nfunc main() { fmt.Println(\"" + text + "\", os.Args[1:]) }\n"
	}
	mod := "module example.com/shop\n\ngo 1.25\n"
	for _, tt := range []struct {
		name    string
		files   map[string]string
		command []string // in the app, with the layer first in PATH
		want    string
	}{
		{"go run of a file", map[string]string{"main.go": prints("file"), "Procfile": "web: go run main.go\n"}, []string{"go", "run", "main.go"}, "file []"},
		{"go run of a package, with flags and arguments", map[string]string{"go.mod": mod, "main.go": prints("root"), "cmd/web/main.go": prints("web"), "Procfile": "web: go run -race -tags x ./cmd/web -v\nworker: go run .\n"},
			[]string{"go", "run", "-race", "-tags", "x", "./cmd/web", "-v"}, "web [-v]"},
		{"go run of a worker", map[string]string{"go.mod": mod, "cmd/web/main.go": prints("web"), "cmd/jobs/main.go": prints("jobs"), "Procfile": "web: web\nworker: go run cmd/jobs/main.go\n"},
			[]string{"go", "run", "cmd/jobs/main.go"}, "jobs []"},
		{"a name of the old kind", map[string]string{".godir": "web\n", "web.go": prints("old"), "Procfile": "web: web\n"}, []string{"web"}, "old []"},
		{"a path that the developer builds to", map[string]string{"go.mod": mod, "main.go": prints("out"), "Procfile": "web: ./build/out -a\n"}, []string{"./build/out", "-a"}, "out [-a]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, out := toolchain(t)
			r := bptest.New(t, catalog.Go)
			if _, err := r.Build(b, tt.files); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			c := exec.Command("/usr/bin/env", tt.command...)
			c.Dir, c.Env = r.App, []string{"PATH=" + filepath.Join(r.Layers, "bin/bin") + ":/usr/bin:/bin"}
			if got, err := c.CombinedOutput(); err != nil || strings.TrimSpace(string(got)) != tt.want {
				t.Errorf("prints %q %v, want %q", got, err, tt.want)
			}
		})
	}
}

// TestReason: the line that helps, and what to do.
func TestReason(t *testing.T) {
	failed := errors.New("go build failed (exit status 1)")
	for text, want := range map[string]string{
		"# a.example/b\n./main.go:3:5: undefined: x\n./main.go:4:5: undefined: y\n":                                                       "go build failed: main.go:3:5: undefined: x",
		"main.go:6:2: no required module provides package github.com/a/b; to add it:\n\tgo get github.com/a/b\n":                          "no module of go.mod has the package github.com/a/b; run go mod tidy, commit go.mod and go.sum, and push again",
		"main.go:6:2: missing go.sum entry for module providing package github.com/a/b; to add:\n\tgo get x\n":                            "go.mod and go.sum do not fit the app; run go mod tidy, commit go.mod and go.sum, and push again",
		"go: inconsistent vendoring in /workspace:\n\tx\n":                                                                                "vendor/ does not fit go.mod; run go mod vendor, commit vendor/ and push again",
		"main.go:8:12: pattern dist: no matching files found\n":                                                                           "go:embed names dist, which is not in the app; commit it, or have the build script of a package.json beside it make it",
		"go: example.com/own/lib@v1.0.0: reading https://proxy.example/lib/@v/v1.0.0.mod: 404 Not Found\n":                                "the module example.com/own/lib cannot be fetched: it is not public, or not there; if it is private, run go mod vendor and commit vendor/; if it has moved, correct go.mod",
		"go: github.com/own/lib@v1.0.0: invalid version: git ls-remote -q origin: exit status 128:\n\tfatal: could not read Username for": "the module github.com/own/lib cannot be fetched: it is not public, or not there; if it is private, run go mod vendor and commit vendor/; if it has moved, correct go.mod",
		"# a.example/b\n/usr/bin/ld: cannot find -lvips: No such file or directory\n":                                                     "a package in C needs the library vips, which is not in the builder; add packages = [\"libvips-dev\"] to [io.gitd.build] in project.toml",
		"something else\n": "go build failed (exit status 1)",
	} {
		if got := kit.Line(reason(text, "go.mod", failed)); got != want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
}
