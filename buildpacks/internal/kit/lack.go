package kit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"
)

// Lack is a part of the system that a tool's output says is missing.
type Lack struct {
	What     string   // such as "the header cairo.h"
	Packages []string // the Debian packages that have it; none where that is not known
}

// Next says what to do.
func (l Lack) Next() string {
	if len(l.Packages) == 0 {
		return "find its package at packages.debian.org and " + AddPackages("NAME")
	}
	return AddPackages(l.Packages...)
}

// AddPackages says how an app asks for Debian packages.
func AddPackages(names ...string) string {
	return fmt.Sprintf(`add packages = ["%s"] to [io.gitd.build] in project.toml`, strings.Join(names, `", "`))
}

// programs are those of which a missing one is told by its name and little else.
const programs = `pg_config|mysql_config|mariadb_config|curl-config|xml2-config|xslt-config|icu-config|gdal-config|geos-config|krb5-config|ncurses-config|net-snmp-config|pkg-config|cmake|rustc|cargo|gfortran|swig|llvm-config|ninja|meson|protoc|nasm|yasm|autoconf|automake|autoreconf|aclocal|libtoolize|libtool|bison|flex|m4|clang|ffmpeg|ffprobe|convert|magick|Magick-config|MagickWand-config|wkhtmltopdf|gs|gm|unrar|7z|rsync|wget|jq|perl|java|dot|pdftotext|tesseract`

// The ways in which compilers, pkg-config, cmake, shells and the build systems of languages say it.
var (
	lackHeader  = pattern.New(`fatal error: '?([A-Za-z0-9_+./-]+\.h(?:pp|xx|h)?)'?(?:: No such file| file not found)`)
	weakHeader  = pattern.New(`(?:^|[\s'"<])([A-Za-z0-9_+./-]+\.h)['">]?(?: header)?,? (?:is missing|(?:was |could )?not (?:be )?found)|[Cc]an't find (?:the )?['"<]?([A-Za-z0-9_+./-]+\.h)`)
	lackLibrary = pattern.New(`(?:cannot find|unable to find library|library not found for) -l:?(?:lib)?([A-Za-z0-9_][A-Za-z0-9_+.-]*)`)
	lackPC      = pattern.New("Package '?([A-Za-z0-9_.+-]+)'?(?:, required by '[^']*', not found| was not found in the pkg-config search path|' not found)|" +
		"No package '([A-Za-z0-9_.+-]+)' found|system library .([A-Za-z0-9_.+-]+). required by crate|Dependency \"([A-Za-z0-9_.+-]+)\" not found|" +
		`Package requirements \(([A-Za-z0-9_.+-]+)[^)]*\) were not met`)
	lackShared  = pattern.New(`(lib[A-Za-z0-9_+.-]+\.so[0-9.]*): cannot open shared object file`)
	lackProgram = pattern.New("(?m)(?:^|[\\s\"'`])(" + programs + ")[\"'`]?(?:: (?:command )?not found|: executable file not found| executable (?:is )?not found|,? (?:was |is )?not found|" +
		".{0,20} is not installed| could not be found|: No such file or directory)|spawn (" + programs + ") ENOENT")
	lackPhrases = []struct {
		*pattern.Pattern
		what string
		pkg  string
	}{
		{pattern.New("Unable to find libclang|couldn't find any valid shared libraries matching: \\['libclang"), "libclang", "libclang-dev"},
		{pattern.New("Could not find (?:directory of OpenSSL installation|openssl via pkg-config)"), "the library openssl", "libssl-dev"},
		{pattern.New("Can not find valid pkg-config name|mysqlclient.{0,80}pkg-config"), "the library mysqlclient", "default-libmysqlclient-dev"},
		{pattern.New("Could NOT find OpenSSL"), "the library openssl", "libssl-dev"},
		{pattern.New("failed to find libmagic"), "the library magic", "libmagic1t64"},
	}
)

// FindLack looks for the first such part in what a tool said.
func FindLack(said string) (Lack, bool) {
	for _, p := range lackPhrases {
		if p.MatchString(said) {
			return Lack{p.what, []string{p.pkg}}, true
		}
	}
	for _, l := range []struct {
		*pattern.Pattern
		what     string
		packages func(string) []string
		weak     bool // counts where the package is known only
	}{
		{lackHeader, "header", HeaderPackages, false}, {lackProgram, "program", ProgramPackages, false}, {lackPC, "library", LibraryPackages, false},
		{lackLibrary, "library", LibraryPackages, false}, {lackShared, "library", sharedPackages, false}, {weakHeader, "header", HeaderPackages, true},
	} {
		if m := l.FindStringSubmatch(said); m != nil {
			name := strings.Join(m[1:], "")
			if packages := l.packages(name); packages != nil || !l.weak && !ownHeader(name) {
				return Lack{"the " + l.what + " " + name, packages}, true
			}
		}
	}
	return Lack{}, false
}

// ownHeader is a header of a language: its buildpack has it, or is broken.
func ownHeader(name string) bool {
	return slices.Contains([]string{"Python.h", "ruby.h", "node.h", "node_api.h", "php.h"}, name)
}
