package python

import (
	"errors"
	"net/url"
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// What uv says, and what the build systems say that it runs.
var (
	unknownPackage = pattern.New(`Because (\S+) was not found in the package registry`)
	unknownVersion = pattern.New(`there (?:is|are) no versions? of (\S+)`)
	needsPython    = pattern.New(`does not satisfy Python([<>=!~][^\s]*) and (?:\S+ |all of: )?.*?\b([A-Za-z0-9][\w.-]*)[<>=!~]\S* depends? on Python`)
	projectPython  = pattern.New(`does not satisfy Python([<>=!~]\S*) and (\S+?)(?:[<>=!~]\S*)? depends? on Python`)
	noPlatform     = pattern.New(`Because (\S+) has no wheels with a matching platform tag`)
	noABI          = pattern.New(`Because (\S+) has no wheels with a matching Python (?:ABI|version|implementation) tag`)
	tagsThere      = pattern.New("with the following (?:Python ABI|Python|platform) tags?: (.+)")
	requiresPython = pattern.New(`(?:requires a different Python: \S+ not in|Requires-Python) ['"]?([^'";\s]+)`)
	hashMismatch   = pattern.New("Hash mismatch for `([^`]+)`")
	failedBuild    = pattern.New("Failed to (?:build|download and build) `([^`]+)`")
	noPkgResources = pattern.New(`No module named '?pkg_resources`)
	unreachable    = pattern.New("Failed to (?:fetch|download):? `?(https?://[^`\\s]+)")
	gitFailed      = pattern.New(`git fetch [^\n]*'(\w+://[^'\s]+|git@[^'\s]+)'`)
	gitSays        = pattern.New(`(?m)^\s*(?:fatal|remote): (.+)$`)
	notThere       = pattern.New(`Distribution not found at: file://(\S+)`)
	missingFile    = pattern.New("failed to (?:read from|open) file `([^`]+)`")
	parseError     = pattern.New("Couldn't parse requirement in `([^`]+)` at position \\d+\\n\\s*cause: ([^\\n]+)(?:\\n\\s*([^\\n]+))?")
	unexpectedLine = pattern.New(`error: (Unexpected [^\n]+|Error parsing[^\n]+|Unsupported [^\n]+)`)
	staleLock      = pattern.New(`needs to be updated, but|is not up.to.date|lockfile .* (?:outdated|out of date)`)
	httpStatus     = pattern.New(`HTTP status (?:client|server) error \((\d+ [^)]+)\)`)
	moduleMissing  = pattern.New(`ModuleNotFoundError: No module named '([^']+)'`)
)

// reason puts the cause of an installer's failure, which is some lines above its last one, into the error.
func (b *build) reason(said string, err error) error {
	var e *kit.Error
	if !errors.As(err, &e) {
		return err
	}
	for _, find := range []func(string, *kit.Error) error{b.files, b.versions, b.network, b.compiled} {
		if found := find(said, e); found != nil {
			return found
		}
	}
	return err
}

// files finds what is wrong with the app's own files.
func (b *build) files(said string, e *kit.Error) error {
	if m := parseError.FindStringSubmatch(said); m != nil {
		return kit.Errorf("correct it and push again", "invalid requirement in %s: %s (%s)", b.relative(m[1]), strings.TrimSpace(m[3]), m[2])
	}
	if m := notThere.FindStringSubmatch(said); m != nil {
		return kit.Errorf("name the package and its version instead, such as numpy==2.1.0; pip list --format=freeze writes such lines",
			"%s: the requirements name a file that was not pushed: %s", e.Message, b.relative(m[1]))
	}
	if m := missingFile.FindStringSubmatch(said); m != nil {
		return kit.Errorf("commit it, or take the line out", "%s: the requirements include %s, which was not pushed", e.Message, b.relative(m[1]))
	}
	if m := unexpectedLine.FindStringSubmatch(said); m != nil {
		next := "correct it and push again"
		if strings.Contains(m[1], "'<'") || strings.Contains(m[1], "'='") {
			next = "it looks like a conflict of a merge: resolve it, commit and push again"
		}
		return kit.Errorf(next, "%s: %s", b.source.kind, b.relative(m[1]))
	}
	return nil
}

// relative takes the app's folder off a path.
func (b *build) relative(path string) string { return strings.ReplaceAll(path, b.app+"/", "") }

// otherPython is what to do where a package is not for this Python.
func (b *build) otherPython(want string) string {
	return "ask for that Python in .python-version, or require a version of the package for Python " + minor(b.version)
}

// versions finds packages and versions that are not there, or do not go together.
func (b *build) versions(said string, e *kit.Error) error {
	if m := hashMismatch.FindStringSubmatch(said); m != nil {
		return kit.Errorf("update the hashes: write "+b.source.kind+" again with the tool that wrote it", "%s: %s does not have the hash that %s gives it", e.Message, m[1], b.source.kind)
	}
	if m := needsPython.FindStringSubmatch(said); m != nil {
		return kit.Errorf(b.otherPython(m[1]), "%s: %s is for Python %s, and this is %s", e.Message, m[2], m[1], b.version)
	}
	if m := projectPython.FindStringSubmatch(said); m != nil {
		return kit.Errorf(b.otherPython(m[1]), "%s: %s is for Python %s, and this is %s", e.Message, m[2], m[1], b.version)
	}
	if m := noPlatform.FindStringSubmatch(said); m != nil {
		there := ""
		if t := tagsOf(said); t != "" {
			there = " (there is one for " + t + ")"
		}
		return kit.Errorf("take it out of the requirements, or add: ; sys_platform == 'win32' (or 'darwin')", "%s: %s has no wheel for Linux%s", e.Message, m[1], there)
	}
	if m := noABI.FindStringSubmatch(said); m != nil {
		return kit.Errorf(b.otherPython(""), "%s: %s has no wheel for Python %s (there is one for %s)", e.Message, m[1], minor(b.version), tagsOf(said))
	}
	if m := unknownPackage.FindStringSubmatch(said); m != nil {
		return kit.Errorf("check its name, and name its index if it is private", "%s: the package registry has no %s", e.Message, m[1])
	}
	if m := unknownVersion.FindStringSubmatch(said); m != nil {
		return kit.Errorf("check its version", "%s: the package registry has no %s for Python %s", e.Message, m[1], minor(b.version))
	}
	if strings.Contains(said, "your requirements are unsatisfiable") {
		text := strings.Join(strings.Fields(said), " ")
		why := ""
		if i := strings.Index(text, "Because "); i >= 0 {
			why = text[i+len("Because "):]
			why, _, _ = strings.Cut(why, ", we can conclude")
			why = ": " + why[:min(len(why), 200)]
		}
		return kit.Errorf("change the versions that the lines above name", "%s: the requirements contradict one another%s", e.Message, why)
	}
	return nil
}

var platformsThere = pattern.New("on the following platforms?: (.+)")

// tagsOf are the systems or Pythons that uv says there are wheels for.
func tagsOf(said string) string {
	for _, p := range []*pattern.Pattern{platformsThere, tagsThere} {
		if m := p.FindStringSubmatch(said); m != nil {
			return strings.ReplaceAll(kit.First(m[1]), "`", "")
		}
	}
	return ""
}

// network finds registries and repositories that did not answer. uv has tried several times by then.
func (b *build) network(said string, e *kit.Error) error {
	if m := gitFailed.FindStringSubmatch(said); m != nil {
		why := ""
		if w := gitSays.FindStringSubmatch(said); w != nil {
			why = ": " + w[1]
		}
		return kit.Errorf("check the address, and that it can be read without a password", "%s: the repository %s cannot be fetched%s", e.Message, m[1], why)
	}
	m := unreachable.FindStringSubmatch(said)
	if m == nil {
		return nil
	}
	host := m[1]
	if u, err := url.Parse(m[1]); err == nil {
		host = u.Host
	}
	if s := httpStatus.FindStringSubmatch(said); s != nil && strings.HasPrefix(s[1], "4") {
		return kit.Errorf("check its address and password", "%s: %s answered %s for %s", e.Message, host, s[1], m[1])
	}
	return kit.Errorf("push again when it is back", "%s: the package registry %s %s, after several tries", e.Message, host, whyNot(said))
}

// whyNot says in what way a server did not answer.
func whyNot(said string) string {
	switch s := httpStatus.FindStringSubmatch(said); {
	case s != nil:
		return "answers " + s[1]
	case strings.Contains(said, "dns error"):
		return "has no address (DNS)"
	case strings.Contains(said, "Connection refused"):
		return "refuses connections"
	case strings.Contains(said, "timed out"):
		return "does not answer in time"
	case strings.Contains(said, "certificate"):
		return "has a certificate that is not trusted here"
	}
	return "does not answer"
}

// compiled finds why a package could not be compiled.
func (b *build) compiled(said string, e *kit.Error) error {
	which := ""
	if m := failedBuild.FindStringSubmatch(said); m != nil {
		which = m[1] + ": "
	}
	if which == "" {
		return nil
	}
	if l, ok := kit.FindLack(said); ok {
		return kit.Errorf(l.Next()+", or require a version of the package that has a wheel", "%s: %s%s is missing", e.Message, which, l.What)
	}
	if m := requiresPython.FindStringSubmatch(said); m != nil {
		return kit.Errorf(b.otherPython(m[1]), "%s: %sit is for Python %s, and this is %s", e.Message, which, m[1], b.version)
	}
	if m := moduleMissing.FindStringSubmatch(said); m != nil {
		return kit.Errorf("require a newer version of the package, or one for this Python", "%s: %sits setup needs the module %s", e.Message, which, m[1])
	}
	return kit.Errorf("require a version that has a wheel for Python "+minor(b.version)+", or ask for an older Python in .python-version",
		"%s: %sit has no wheel for Python %s and cannot be compiled", e.Message, which, minor(b.version))
}
