package ruby

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// bundle is what an app says of its gems: a Gemfile and what Bundler has written down of it. Both are read, not run.
type bundle struct {
	file      string            // "Gemfile", "gems.rb"; "" for an app without
	lock      string            // the lock file; "" for none
	text      string            // of file
	gems      map[string]string // name → version, of the lock file; without one, the names that the Gemfile lists, without versions
	platforms []string          // of the lock file
	ruby      string            // version in the lock file, such as 3.3.5
	bundler   string            // that wrote the lock file
}

// readBundle reads the Gemfile and its lock file.
func readBundle(app string) bundle {
	b := bundle{gems: map[string]string{}}
	for file, lock := range map[string]string{"Gemfile": "Gemfile.lock", "gems.rb": "gems.locked"} {
		if !kit.IsFile(app, file) {
			continue
		}
		if b.file != "" && file != "Gemfile" {
			continue // Bundler takes the Gemfile
		}
		b.file, b.text, b.lock = file, kit.Text(app, file), ""
		if kit.IsFile(app, lock) {
			b.lock = lock
		}
	}
	if b.lock != "" {
		b.readLock(kit.Text(app, b.lock))
	} else {
		for _, m := range gemLine.FindAllStringSubmatch(b.text, -1) {
			b.gems[m[1]] = ""
		}
	}
	return b
}

var gemLine = pattern.New(`(?m)^[ \t]*gem[ \t(]+["']([A-Za-z0-9_.-]+)["']`)

var (
	lockedGem  = pattern.New(`^    ([A-Za-z0-9_.-]+) \(([^)]+)\)`)
	lockedRuby = pattern.New(`^\s*ruby (\d+(?:\.\d+)*)`)
)

// readLock reads a lock file by its sections. What it does not know it passes over: that is for Bundler to complain about.
func (b *bundle) readLock(text string) {
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \r\n")
		if line != "" && line[0] != ' ' {
			section = line
			continue
		}
		word := strings.TrimSpace(line)
		switch {
		case word == "":
		case section == "PLATFORMS":
			b.platforms = append(b.platforms, word)
		case section == "BUNDLED WITH":
			b.bundler = word
		case section == "RUBY VERSION":
			if m := lockedRuby.FindStringSubmatch(line); m != nil {
				b.ruby = m[1]
			}
		case section == "GEM" || section == "GIT" || section == "PATH" || section == "PLUGIN SOURCE":
			if m := lockedGem.FindStringSubmatch(line); m != nil {
				version, _, _ := strings.Cut(m[2], "-") // a platform may follow
				b.gems[m[1]] = version
			}
		}
	}
}

func (b *bundle) has(gem string) bool { _, ok := b.gems[gem]; return ok }

func (b *bundle) hasAny(gems ...string) bool {
	for _, g := range gems {
		if b.has(g) {
			return true
		}
	}
	return false
}

// directive is the line of a Gemfile that names a version of Ruby.
type directive struct {
	start, end   int      // of the arguments in the text
	requirements []string // "3.3.5", "~> 3.2"
	file         string   // the file that has the version
	engine       string   // "jruby"; "" for the usual one
}

var (
	rubyLine   = regexp.MustCompile(`(?m)^[ \t]*ruby(?:[ \t]+|\()[ \t]*([^#\n]*)`)
	quoted     = regexp.MustCompile(`["']([^"'\n]*)["']`)
	engineArg  = regexp.MustCompile(`(?::engine\s*=>|\bengine:)\s*["']([^"'\n]*)["'](?:\s*,\s*(?::engine_version\s*=>|engine_version:)\s*["'][^"'\n]*["'])?`)
	versionArg = regexp.MustCompile(`^(?:(?:=|!=|>=|<=|>|<|~>)\s*)?v?(?:ruby-)?\d[0-9A-Za-z.-]*$`)
)

// directive finds the version of Ruby that the Gemfile asks for; nil for none. A version that a program would find out is not seen.
func (b *bundle) directive() *directive {
	m := rubyLine.FindStringSubmatchIndex(b.text)
	if m == nil {
		return nil
	}
	d := &directive{start: m[2], end: m[2] + len(strings.TrimRight(b.text[m[2]:m[3]], " \t\r)"))}
	args := b.text[d.start:d.end]
	if e := engineArg.FindStringSubmatch(args); e != nil {
		args = engineArg.ReplaceAllString(args, "")
		if e[1] != "ruby" {
			d.engine = e[1]
		}
	}
	for _, q := range quoted.FindAllStringSubmatch(args, -1) {
		switch text := strings.TrimSpace(q[1]); {
		case versionArg.MatchString(text):
			d.requirements = append(d.requirements, text)
		case strings.HasPrefix(filepath.Base(text), ".ruby-version"), strings.HasPrefix(filepath.Base(text), ".tool-versions"), strings.HasSuffix(text, "mise.toml"):
			d.file = filepath.Base(text)
		}
	}
	return d
}
