package ruby

import (
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// wanted is the Ruby that the app asks for.
type wanted struct {
	texts  []string // as written; none for any
	from   string   // the file
	all    []requirement
	strict []requirement // those of the Gemfile, which Bundler checks to the letter
	locked string        // the version in the lock file: it breaks ties
}

// wantedVersion reads the version from the Gemfile, where tools write it, and from the lock file. A value that is not a version, and another
// implementation of Ruby, is a *kit.Error.
func wantedVersion(app string, b *bundle) (wanted, error) {
	w := wanted{locked: b.ruby}
	if d := b.directive(); d != nil {
		if d.engine != "" {
			return w, otherEngine(b.file, d.engine)
		}
		w.texts, w.from = d.requirements, b.file
		if d.file != "" {
			w.texts, w.from = readVersionFile(app, d.file), d.file
		}
		if err := w.parse(); err != nil {
			return w, err
		}
		w.strict = w.all
	}
	for _, f := range []string{".ruby-version", ".tool-versions", "mise.toml", ".mise.toml"} {
		if len(w.texts) == 0 {
			if found := readVersionFile(app, f); len(found) > 0 {
				w.texts, w.from = found[:1], f
			}
		}
	}
	if len(w.texts) == 0 && b.ruby != "" {
		w.texts, w.from = []string{b.ruby}, b.lock
	}
	return w, w.parse()
}

// readVersionFile reads a file of a version manager's.
func readVersionFile(app, file string) []string {
	switch {
	case strings.HasSuffix(file, "mise.toml"):
		return kit.MiseVersions(app, file, "ruby")
	case file == ".tool-versions":
		return kit.AsdfVersions(app, file, "ruby")
	}
	return kit.VersionLines(app, file)
}

var otherRuby = pattern.New(`^(jruby|truffleruby|rbx|mruby|artichoke)`)

func otherEngine(from, engine string) error {
	return kit.Errorf("name a version of the usual Ruby, such as 3.3", "%s asks for %s, and only the usual Ruby (MRI) is available", from, engine)
}

func (w *wanted) parse() error {
	w.all = nil
	var kept []string
	for _, text := range w.texts {
		lower := strings.ToLower(strings.TrimSpace(text))
		if m := otherRuby.FindString(lower); m != "" {
			return otherEngine(w.from, text)
		}
		switch lower {
		case "latest", "system", "stable", "*", "":
			continue
		}
		kept = append(kept, text)
		for _, part := range strings.Split(lower, ",") {
			r, err := parseRequirement(part)
			if err != nil {
				return kit.Errorf("write a version such as 3.3, or a range such as >= 3.1", "%s asks for Ruby %q, which is not a version", w.from, text)
			}
			w.all = append(w.all, r)
		}
	}
	w.texts = kept
	return nil
}

func (w wanted) describe() string {
	if len(w.texts) == 0 {
		return "any ruby"
	}
	return "ruby " + strings.Join(w.texts, ", ")
}

// release is a line of Ruby's versions that a release of Debian has.
type release struct {
	line  string // "3.3"
	suite string
}

// available are the versions that Debian has, by the release that the image is made of: its own first, and those of an older release,
// which run on it.
var available = map[string][]release{
	"trixie":   {{"3.3", "trixie"}, {"3.1", "bookworm"}},
	"bookworm": {{"3.1", "bookworm"}},
}

// choose takes the first release that fits; one of the line in the lock file before others.
func (w wanted) choose(of []release) (release, error) {
	var fitting []release
	for _, r := range of {
		ok := true
		for _, q := range w.all {
			ok = ok && q.fits(numbers(r.line))
		}
		if ok {
			fitting = append(fitting, r)
		}
	}
	for _, r := range fitting {
		if w.locked == r.line || strings.HasPrefix(w.locked, r.line+".") {
			return r, nil
		}
	}
	if len(fitting) > 0 {
		return fitting[0], nil
	}
	var names []string
	for _, r := range of {
		names = append(names, r.line)
	}
	return release{}, kit.Errorf("ask for one of these, and run bundle update --ruby", "%s asks for Ruby %s; Debian, which Ruby comes from, has %s",
		w.from, strings.Join(w.texts, ", "), list(names))
}

func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
