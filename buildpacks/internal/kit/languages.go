package kit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/pattern"
)

// Language is one that an app may be written in, by the file that says so.
type Language struct{ Name, File string }

// builtHere are the languages among the others that a buildpack here builds.
var builtHere = []string{"Ruby", "PHP", "Elixir", "Java", "Scala", "Clojure", "C#", "F#", "Visual Basic"}

// others are the languages besides Go, JavaScript and Python.
var others = []Language{{"Ruby", "Gemfile"}, {"PHP", "composer.json"}, {"PHP", "artisan"}, {"PHP", "index.php"}, {"PHP", "public/index.php"}, {"Java", "pom.xml"}, {"Java", "build.gradle"}, {"Java", "build.gradle.kts"},
	{"Elixir", "mix.exs"}, {"Scala", "build.sbt"}, {"Clojure", "project.clj"}, {"Clojure", "deps.edn"},
	{"Swift", "Package.swift"}, {"Dart", "pubspec.yaml"}, {"Crystal", "shard.yml"}, {"Haskell", "stack.yaml"}, {"Haskell", "package.yaml"}, {"Erlang", "rebar.config"}, {"Gleam", "gleam.toml"},
	{"C#", "*.csproj"}, {"F#", "*.fsproj"}, {"Visual Basic", "*.vbproj"}, {"C#", "*.sln"}, {"C#", "*.slnx"}, {"Nim", "*.nimble"}, {"Zig", "build.zig"}, {"Perl", "cpanfile"}, {"Perl", "app.psgi"}, {"Perl", "Makefile.PL"}, {"R", "DESCRIPTION"}, {"R", "app.R"}, {"R", "server.R"}, {"Julia", "Project.toml"},
	{"Haskell", "*.cabal"}, {"OCaml", "dune-project"}, {"Lua", "*.rockspec"}, {"D", "dub.json"}, {"D", "dub.sdl"}, {"V", "v.mod"}, {"Raku", "META6.json"}, {"C++", "CMakeLists.txt"}}

// OtherLanguage finds the language of an app, of those besides Go, JavaScript and Python. Its name is "" for none.
func OtherLanguage(app string) Language {
	for _, l := range others {
		if l.File == "Gemfile" && GemsForTools(app) {
			continue
		}
		if found, _ := filepath.Glob(filepath.Join(app, l.File)); len(found) > 0 { // constant patterns: cannot fail
			rel, err := filepath.Rel(app, found[0])
			if err != nil {
				rel = l.File
			}
			return Language{l.Name, rel}
		}
	}
	return Language{}
}

// foreignProgram is the first word of a command in a language that is not JavaScript.
var foreignProgram = pattern.New(`^(?:python[0-9.]*|gunicorn|uvicorn|hypercorn|daphne|granian|waitress-serve|flask|fastapi|django-admin|celery|streamlit|uv|poetry|pipenv|ruby|bundle|bundler|rails|rackup|puma|unicorn|thin|php|heroku-php-[a-z0-9]+|php-fpm|frankenphp|java|mvn|mvnw|gradle|gradlew|sbt|lein|mix|iex|elixir|cargo|dotnet|deno|swift|perl|Rscript|julia)$`)

// ForeignCommand tells whether a command line starts a program that is surely not JavaScript's: exec and variables before it do not count.
func ForeignCommand(command string) bool {
	for _, w := range strings.Fields(command) {
		w = strings.Trim(w, `"'`)
		if w == "exec" || w == "env" || assignment.MatchString(w) {
			continue
		}
		return foreignProgram.MatchString(filepath.Base(w)) || strings.HasPrefix(w, "vendor/bin/")
	}
	return false
}

// UnbuiltLanguage finds the language of an app that no buildpack here builds. Its name is "" for none.
func UnbuiltLanguage(app string) Language {
	if l := OtherLanguage(app); !slices.Contains(builtHere, l.Name) {
		return l
	}
	return Language{}
}

var gemLine = pattern.New(`(?m)^[ \t]*(gem[ \t(]+["']([A-Za-z0-9_.-]+)["']|gemspec\b|eval_gemfile\b)`)

// toolGems are gems that help with an app in another language.
var toolGems = pattern.New(`^(?:fastlane(?:-.*)?|cocoapods(?:-.*)?|xcpretty|xcode-install|xcodeproj|jazzy|danger(?:-.*)?|slather|bundler|rake|rubocop(?:-.*)?|dotenv|json|abbrev|mutex_m|activesupport|concurrent-ruby|base64|bigdecimal|logger|benchmark|nkf|ostruct|overcommit|scss_lint|html-proofer|kramdown|asciidoctor(?:-.*)?)$`)

// GemsForTools tells whether an app's Gemfile lists nothing but tools, as those of mobile apps do.
func GemsForTools(app string) bool {
	text := Text(app, "Gemfile")
	found := gemLine.FindAllStringSubmatch(text, -1)
	for _, m := range found {
		if !toolGems.MatchString(m[2]) {
			return false
		}
	}
	return len(found) > 0
}

var assignment = pattern.New(`^[A-Za-z_][A-Za-z0-9_]*=`)

// HasManifest tells whether a file by which a buildpack here finds an app is at its root.
func HasManifest(app string) bool { return Manifest(app) != "" || Exists(app, indexPage) }

// indexPage makes a folder a site, where it has no manifest.
const indexPage = "index.html"

// bare are languages whose apps may have no manifest, by their sources. These say something only where nothing builds the app: others have some too.
var bare = []Language{{"C++", "*.cpp"}, {"C++", "*.cc"}, {"C", "*.c"}, {"Lua", "*.lua"}, {"Java", "*.java"}, {"Java", "src/*.java"}, {"Kotlin", "*.kt"}, {"Swift", "*.swift"}, {"Perl", "*.pl"}, {"Haskell", "*.hs"}, {"Dart", "*.dart"}, {"TypeScript", "*.ts"}}

// bareLanguage finds such a language. Its name is "" for none.
func bareLanguage(app string) Language {
	for _, l := range bare {
		if found, _ := filepath.Glob(filepath.Join(app, l.File)); len(found) > 0 { // constant patterns: cannot fail
			if rel, err := filepath.Rel(app, found[0]); err == nil {
				return Language{l.Name, rel}
			}
		}
	}
	return Language{}
}

// Manifest is the first file of a folder by which a buildpack here, but for those of without, finds an app of a language; "" for none.
func Manifest(dir string, without ...string) string {
	for _, f := range catalog.Manifests(without...) {
		if Exists(dir, f) && (f != "Gemfile" || !GemsForTools(dir)) {
			return f
		}
	}
	return ""
}

// Nearest says what is nearly there of an app that nothing builds: another language, a manifest in a folder, files that are not used.
func Nearest(app string) (hints []string) {
	if l := UnbuiltLanguage(app); l.Name != "" {
		hints = append(hints, l.File+": "+l.Name+", which this builder does not build; "+l.WayOut(app))
	} else if l := bareLanguage(app); l.Name != "" && OtherLanguage(app).Name == "" {
		switch l.Name {
		case "Java", "Kotlin":
			hints = append(hints, l.File+": "+l.Name+" without pom.xml or build.gradle; add one, by mvn archetype:generate or gradle init")
		case "TypeScript":
			hints = append(hints, l.File+": TypeScript without package.json; add one with a start script, by npm init, or a deno.json")
		default:
			hints = append(hints, l.File+": "+l.Name+", which this builder does not build; "+l.WayOut(app))
		}
	}
	entries, _ := os.ReadDir(app) // what cannot be read has no manifest
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || slices.Contains([]string{"node_modules", "vendor", "testdata"}, e.Name()) {
			continue
		}
		for _, f := range append(catalog.Manifests(), indexPage) {
			if IsFile(app, e.Name(), f) {
				hints = append(hints, f+" is in "+e.Name()+"/, not at the root")
			}
		}
	}
	for _, f := range []string{"Dockerfile", "Containerfile", "docker-compose.yml", "compose.yaml"} {
		if IsFile(app, f) {
			hints = append(hints, f+" is not used")
		}
	}
	return hints[:min(len(hints), 5)]
}
