package elixir

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// wanted is the Elixir that the app asks for.
type wanted struct {
	text    string              // what mix.exs requires, which mix checks to the letter; "" for any
	limits  *semver.Constraints // the same
	pin     string              // what a version manager is told, such as "1.17.3"; "" for none
	pinFrom string
}

// release is a line of Elixir's versions that a release of Debian has.
type release struct{ line, suite string }

// available are the versions that Debian has, by the release that the image is made of, whose own comes first.
var available = map[string][]release{
	"trixie":   {{"1.18", "trixie"}, {"1.14", "bookworm"}},
	"bookworm": {{"1.14", "bookworm"}},
}

var (
	required   = pattern.New(`(?m)^[^#\n]*\belixir:\s*"([^"\n]+)"`)
	configLine = pattern.New(`(?m)^\s*elixir_version\s*=\s*\(?"?v?([0-9][0-9.]*)`)
	pinned     = regexp.MustCompile(`^v?(\d+\.\d+(?:\.\d+)?)(?:-otp-\d+|-rc\.\d+)?$`)
	pessimist  = regexp.MustCompile(`~>\s*(\d+)\.(\d+)(?:\.(\d+)(-[0-9A-Za-z.]+)?)?`)
	orWord     = regexp.MustCompile(`\s+or\s+`)
	andWord    = regexp.MustCompile(`\s+and\s+`)
)

// wantedVersion reads the version from mix.exs, and from where tools write it. A value that is not a requirement is a *kit.Error.
func wantedVersion(app string) (wanted, error) {
	var w wanted
	if m := required.FindStringSubmatch(kit.Text(app, manifest)); m != nil {
		w.text = m[1]
	}
	var err error
	if w.limits, err = requirement(w.text); err != nil {
		return w, kit.Errorf(`write a requirement such as "~> 1.18"`, "%s requires Elixir %q, which is not a version", manifest, w.text)
	}
	for _, f := range []struct {
		name  string
		texts []string
	}{
		{".tool-versions", kit.AsdfVersions(app, ".tool-versions", "elixir")}, {"mise.toml", kit.MiseVersions(app, "mise.toml", "elixir")},
		{".mise.toml", kit.MiseVersions(app, ".mise.toml", "elixir")}, {".elixir-version", kit.VersionLines(app, ".elixir-version")},
		{"elixir_buildpack.config", configLine.FindStringSubmatch(kit.Text(app, "elixir_buildpack.config"))},
	} {
		if w.pin != "" || len(f.texts) == 0 {
			continue
		}
		if m := pinned.FindStringSubmatch(f.texts[len(f.texts)-1]); m != nil { // a name such as "latest" asks for nothing
			w.pin, w.pinFrom = m[1], f.name
		}
	}
	return w, nil
}

// requirement reads Elixir's grammar: comparisons, ~>, and, or.
func requirement(text string) (*semver.Constraints, error) {
	if strings.TrimSpace(text) == "" {
		return semver.NewConstraint("*")
	}
	text = pessimist.ReplaceAllStringFunc(text, func(s string) string {
		m := pessimist.FindStringSubmatch(s)
		major, _ := strconv.Atoi(m[1]) // digits
		minor, _ := strconv.Atoi(m[2])
		if m[3] == "" {
			return ">= " + m[1] + "." + m[2] + ".0, < " + strconv.Itoa(major+1) + ".0.0"
		}
		return ">= " + m[1] + "." + m[2] + "." + m[3] + m[4] + ", < " + m[1] + "." + strconv.Itoa(minor+1) + ".0"
	})
	text = strings.ReplaceAll(text, "==", "=")
	return semver.NewConstraint(orWord.ReplaceAllString(andWord.ReplaceAllString(text, ", "), " || "))
}

func (w wanted) describe() string {
	switch {
	case w.pin != "":
		return "elixir " + w.pin
	case w.text != "":
		return "elixir " + w.text
	}
	return "any elixir"
}

// met tells whether a version is of the line that the version manager is told.
func (w wanted) met(version string) bool { return lineOf(version) == lineOf(w.pin) }

// lineOf is the first two numbers of a version.
func lineOf(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// fits tells whether some patch of the line is allowed.
func (w wanted) fits(line string) bool {
	for _, patch := range []string{".0", ".99"} {
		if v, err := semver.NewVersion(line + patch); err == nil && w.limits.Check(v) {
			return true
		}
	}
	return false
}

// choose takes the line that is asked for, else the newest that mix.exs allows: Elixir builds what was written for an older version of it.
func (w wanted) choose(of []release) (release, error) {
	var fitting []release
	var names []string
	for _, r := range of {
		names = append(names, r.line)
		if w.fits(r.line) {
			fitting = append(fitting, r)
		}
	}
	for _, r := range fitting {
		if w.pin != "" && w.met(r.line) {
			return r, nil
		}
	}
	if len(fitting) > 0 {
		return fitting[0], nil
	}
	return release{}, kit.Errorf("require one of these", "%s requires Elixir %s; Debian, which Elixir comes from, has %s", manifest, w.text, strings.Join(names, " and "))
}
