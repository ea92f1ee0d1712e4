package kit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
)

// TestWayOut: an app in a language that is not built is told by its name, with what can be done.
func TestWayOut(t *testing.T) {
	for _, c := range []struct {
		files []string
		want  string
	}{
		{[]string{"Package.swift"}, "Package.swift: Swift, which this builder does not build; compile it for Linux (swift build -c release"},
		{[]string{"shop.nimble"}, "with a Procfile such as web: ./shop"},
		{[]string{"cpanfile", "app.psgi"}, `packages = ["starman", "libplack-perl"]`},
		{[]string{"app.R"}, `packages = ["r-base-core", "r-cran-shiny"]`},
		{[]string{"build.zig"}, "zig build"}, {[]string{"shard.yml"}, "Crystal"}, {[]string{"pubspec.yaml"}, "Dart"}, {[]string{"shop.cabal"}, "Haskell"}, {[]string{"gleam.toml"}, "Gleam"},
		{[]string{"shop-1.rockspec"}, "Lua"}, {[]string{"main.c", "Makefile"}, "main.c: C, which this builder does not build; compile it for Linux (make)"},
		{[]string{"blog/Gemfile"}, "Gemfile is in blog/, not at the root"}, {[]string{"shop/mix.exs", "shop/index.html"}, "mix.exs is in shop/, not at the root; index.html is in shop/"},
		{[]string{"src/Main.java"}, "src/Main.java: Java without pom.xml or build.gradle"},
	} {
		app := t.TempDir()
		for _, f := range c.files {
			if err := os.MkdirAll(filepath.Join(app, filepath.Dir(f)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(app, f), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(Nearest(app), "; "); !strings.Contains(got, c.want) {
			t.Errorf("%v: %s, want %s", c.files, got, c.want)
		}
	}
}

// TestManifest: the first file of the list, but for a Gemfile that has tools alone.
func TestManifest(t *testing.T) {
	app := t.TempDir()
	for _, tt := range []struct{ file, text, manifest, withoutNode string }{
		{"README.md", "", "", ""},
		{"Gemfile", "gem 'fastlane'\n", "", ""},
		{"Gemfile", "gem 'rack'\n", "Gemfile", "Gemfile"},
		{"config.ru", "", "Gemfile", "Gemfile"},
		{"deno.jsonc", "", "deno.jsonc", "deno.jsonc"},
		{"package.json", "", "package.json", "deno.jsonc"},
	} {
		if err := os.WriteFile(filepath.Join(app, tt.file), []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, without := Manifest(app), Manifest(app, catalog.NodeJS); got != tt.manifest || without != tt.withoutNode || HasManifest(app) != (got != "") {
			t.Errorf("with %s: %q, without Node.js' %q", tt.file, got, without)
		}
	}
}
