package kit

import (
	"path/filepath"
	"strings"
)

// compiled are the languages that no buildpack here builds and whose programs run by themselves, by what makes one.
var compiled = map[string]string{
	"Swift": "swift build -c release --static-swift-stdlib", "Crystal": "crystal build --release", "Haskell": "cabal build", "Nim": "nimble build -d:release", "Zig": "zig build -Doptimize=ReleaseSafe",
	"Dart": "dart compile exe", "OCaml": "dune build", "D": "dub build --build=release", "V": "v -prod", "C++": "cmake --build", "C": "make",
}

// packaged are those that Debian has, by an example of its packages and of a command that serves.
var packaged = map[string]struct{ packages, command string }{
	"Perl":   {`"starman", "libplack-perl"`, "starman --host 0.0.0.0 --port $PORT app.psgi"},
	"R":      {`"r-base-core", "r-cran-shiny"`, `R -e "shiny::runApp(host='0.0.0.0', port=as.integer(Sys.getenv('PORT')))"`},
	"Lua":    {`"lua5.4", "lua-http"`, "lua5.4 main.lua"},
	"Erlang": {`"erlang-base", "erlang-inets"`, "escript server.erl"},
	"Raku":   {`"rakudo"`, "rakudo server.raku"},
}

// WayOut says what can be done about an app in a language that no buildpack here builds.
func (l Language) WayOut(app string) string {
	if p, ok := packaged[l.Name]; ok {
		return "name Debian's packages in project.toml, such as [io.gitd.build] packages = [" + p.packages + "], and add a Procfile such as web: " + p.command
	}
	if tool, ok := compiled[l.Name]; ok {
		return "compile it for Linux (" + tool + "), and commit the program with a Procfile such as web: ./" + nameOf(l)
	}
	return "ask the operator for a builder that builds " + l.Name + ", or compile it for Linux, and commit the program with a Procfile"
}

// nameOf is what the app's program may be called: the name of its manifest where that is not the same for all.
func nameOf(l Language) string {
	name := filepath.Base(l.File)
	switch ext := filepath.Ext(name); ext {
	case ".cabal", ".nimble":
		return strings.TrimSuffix(name, ext)
	}
	return "NAME"
}
