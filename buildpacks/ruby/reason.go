package ruby

import (
	"errors"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

var (
	failedGem      = pattern.New(`An error occurred while installing (\S+) \(([^)]+)\)`)
	missingHeader  = pattern.New(`(?:fatal error: (\S+\.h(?:pp)?): No such file|checking for (\S+\.h)\.\.\. no)`)
	missingProgram = pattern.New(`(?i)(?:\b(cmake|pg_config|mysql_config|pkg-config|rustc|cargo|autoconf|automake|libtool|protoc|perl)\b[^\n]{0,60}(?:not found|is required|no such file|could not be found|is missing|not installed)|No such file or directory - (\w[\w.-]*))`)
	missingLibrary = pattern.New(`(?m)(?:cannot find -l(\S+)|checking for .*? in -l(\S+)\.\.\. no)`)
	noSuchGem      = pattern.New(`Could not find (?:compatible versions|gem '([^']+)')`)
	withdrawn      = pattern.New(`Your bundle is locked to (\S+ \([^)\s]+\))[^\n]*(?:\n[^\n]+){0,2}no longer`)
	nowhere        = pattern.New(`(?s)because (\S+ [^\n]*?) could not be found in`)
	badAnswer      = pattern.New(`FetchError:? (?:bad response )?([^\n(]*?) ?\((https?://[^)\s]+)\)`)
	notThere       = pattern.New(`Could not find ([a-zA-Z0-9_.-]+-\d[^\s,]*)`)
	unreachable    = pattern.New(`(?m)(?:Could not (?:reach host|fetch specs from) (\S+)|Network error while fetching (\S+)|Retrying download gem from (\S+))`)
	forRuby        = pattern.New(`(?m)^.*?([a-zA-Z0-9_.-]+(?:-| )\d[\w.]*)[^\n]*requires [Rr]uby version ([^\n]+?)(?:,? which|[.,]?(?:\s*$|\. ))`)
	frozenLock     = pattern.New(`(?i)(?:deployment|frozen) mode[^\n]*(?:lockfile|Gemfile)|lockfile can't be updated|gemspecs for path gems changed`)
	noPlatform     = pattern.New(`Your bundle only supports platforms`)
	gitSource      = pattern.New(`(?:The git source|Git error:|Revision)[^\n]*?(https?://\S+|git@\S+|git://\S+)`)
	noCredentials  = pattern.New(`Authentication is required for (\S+)|Bad username or password for (\S+)`)
	outOfMemory    = pattern.New(`(?i)cannot allocate memory|virtual memory exhausted|internal compiler error: Killed`)
)

// headers are the Debian packages that have what the compiler misses.
var headers = map[string]string{
	"libpq-fe.h": "libpq-dev", "pg_config": "libpq-dev", "mysql.h": "default-libmysqlclient-dev", "mysql_config": "default-libmysqlclient-dev", "yaml.h": "libyaml-dev", "ffi.h": "libffi-dev",
	"sqlite3.h": "libsqlite3-dev", "openssl/ssl.h": "libssl-dev", "zlib.h": "zlib1g-dev", "curl/curl.h": "libcurl4-openssl-dev", "unicode/ucnv.h": "libicu-dev", "libxml/parser.h": "libxml2-dev",
	"wand/MagickWand.h": "libmagickwand-dev", "MagickWand/MagickWand.h": "libmagickwand-dev", "cmake": "cmake", "sybdb.h": "freetds-dev", "ldap.h": "libldap2-dev", "magic.h": "libmagic-dev",
	"rustc": "rustc", "cargo": "cargo", "autoconf": "autoconf", "automake": "automake", "libtool": "libtool", "protoc": "protobuf-compiler", "pkg-config": "pkg-config", "idna.h": "libidn-dev", "png.h": "libpng-dev",
	"jpeglib.h": "libjpeg-dev", "geos_c.h": "libgeos-dev", "proj.h": "libproj-dev", "archive.h": "libarchive-dev", "lzma.h": "liblzma-dev", "readline/readline.h": "libreadline-dev", "hiredis.h": "libhiredis-dev",
	"pcap.h": "libpcap-dev", "gmp.h": "libgmp-dev", "sodium.h": "libsodium-dev", "zmq.h": "libzmq3-dev", "rdkafka.h": "librdkafka-dev", "gpgme.h": "libgpgme-dev", "snappy-c.h": "libsnappy-dev",
}

// first returns the first group of a pattern's match that is not empty.
func first(p *pattern.Pattern, said string) string {
	for _, g := range p.FindStringSubmatch(said) {
		if g != "" && !strings.ContainsAny(g, " \n") {
			return strings.TrimRight(g, ".,:'\"")
		}
	}
	return ""
}

// reason puts the cause of Bundler's failure, which is some lines above its last one, into the error.
func (b *build) reason(said string, err error) error {
	var e *kit.Error
	if !errors.As(err, &e) {
		return err
	}
	fail := func(next, format string, args ...any) error {
		return kit.Errorf(next, e.Message+": "+format, args...)
	}
	if m := badAnswer.FindStringSubmatch(said); m != nil {
		return fail("try again later", "%s: %s", m[2], m[1])
	}
	if m := failedGem.FindStringSubmatch(said); m != nil {
		return b.failedGem(said, m[1], m[2], fail)
	}
	switch host := first(unreachable, said); {
	case noPlatform.MatchString(said):
		return fail("run bundle lock --add-platform "+platform()+", commit Gemfile.lock and push again", "the lock file is not for %s", platform())
	case frozenLock.MatchString(said):
		return fail("run bundle install, commit Gemfile.lock and push again", "the lock file does not fit the %s", b.bundle.file)
	case noCredentials.MatchString(said):
		return fail("give the build a variable such as BUNDLE_GEMS__EXAMPLE__COM=user:password", "a server of gems wants credentials")
	case forRuby.MatchString(said):
		m := forRuby.FindStringSubmatch(said)
		return fail("choose a version of the gem for Ruby "+b.line+", or another Ruby", "%s is for Ruby %s, and this is %s", m[1], m[2], b.version)
	case host != "":
		return fail("try again later, or set BUNDLE_MIRROR__ALL for the server to a mirror", "%s cannot be reached", strings.TrimSuffix(host, "/"))
	case gitSource.MatchString(said):
		return fail("the build has no key for private repositories; a token can be given by BUNDLE_GITHUB__COM", "a gem's repository cannot be fetched: %s", strings.TrimRight(gitSource.FindStringSubmatch(said)[1], ".,'`"))
	case withdrawn.MatchString(said):
		m := withdrawn.FindStringSubmatch(said)
		return fail("run bundle update "+strings.Fields(m[1])[0]+", commit the lock file and push again", "no source has %s, which the lock file names", m[1])
	case nowhere.MatchString(said):
		return fail("check its name and version", "no source has %s", nowhere.FindStringSubmatch(said)[1])
	case notThere.MatchString(said):
		return fail("check the name and the version; a gem that was withdrawn needs another one", "no source has %s", notThere.FindStringSubmatch(said)[1])
	case noSuchGem.MatchString(said):
		if m := noSuchGem.FindStringSubmatch(said); m[1] != "" {
			return fail("check its name and version", "no source has the gem %s", m[1])
		}
		return fail("change the versions that the lines above name", "the gems contradict one another")
	}
	return err
}

// failedGem tells why a gem could not be installed: most often it is compiled, and something of the system is missing.
func (b *build) failedGem(said, gem, version string, fail func(next, format string, args ...any) error) error {
	missing := ""
	for _, p := range []*pattern.Pattern{missingHeader, missingProgram} {
		for _, g := range p.FindStringSubmatch(said) {
			if pkg := headers[g]; pkg != "" {
				return fail(wayOut(pkg), "the gem %s %s needs %s, of the Debian package %s", gem, version, g, pkg)
			}
			if g != "" && !strings.Contains(g, " ") {
				missing = g
			}
		}
	}
	library := first(missingLibrary, said)
	switch pkgs := libraries[gem]; {
	case outOfMemory.MatchString(said):
		return fail("give builds more memory", "the memory of the build was not enough to compile %s %s", gem, version)
	case missing != "":
		return fail(wayOut("PACKAGE"), "the gem %s %s needs %s, which is missing", gem, version, missing)
	case library != "":
		return fail(wayOut("lib"+library+"-dev"), "the gem %s %s needs the library %s", gem, version, library)
	case len(pkgs) > 0:
		return fail("the lines above say why; it is compiled with "+list(pkgs), "the gem %s %s cannot be compiled", gem, version)
	}
	return fail("the lines above say why", "the gem %s %s cannot be installed", gem, version)
}

// wayOut says how an app gets a package of the system.
func wayOut(pkg string) string {
	return "add to project.toml: [io.gitd.build] packages = [\"" + pkg + "\"]"
}
