package ruby

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitd-io/gitd/buildpacks/internal/fetch"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// sourceServer is where the Ruby project publishes sources; settingMirror names a mirror that keeps its paths.
const (
	sourceServer  = "https://cache.ruby-lang.org"
	settingMirror = "RUBY_MIRROR"
	indexPath     = "/pub/ruby/index.txt"
)

// maxAge is how old an index may be that is not asked for again.
const maxAge = 24 * time.Hour

// firstCompiled is the oldest line that is compiled here: older ones need OpenSSL 1.1.
var firstCompiled = []int{3, 1}

// source is an archive of a version.
type source struct{ Version, URL, SHA256 string }

// number is a version that is no preview.
var indexName = pattern.New(`^ruby-(\d+\.\d+\.\d+)$`)

// parseIndex reads the index: a line for each archive, with its name, its address, and its digests by SHA-1, SHA-256 and SHA-512.
func parseIndex(text string) (list []source) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasSuffix(f[1], ".tar.xz") || len(f[3]) != 64 {
			continue
		}
		if m := indexName.FindStringSubmatch(strings.TrimSuffix(f[0], ".tar.xz")); m != nil && kit.CompareVersions(numbers(m[1]), firstCompiled) >= 0 {
			list = append(list, source{m[1], f[1], f[3]})
		}
	}
	slices.SortStableFunc(list, func(a, b source) int { return kit.CompareVersions(numbers(b.Version), numbers(a.Version)) })
	return list
}

// sources lists the versions that can be compiled, the newest first. The index is asked for at most once in maxAge, and an older one is taken where the
// server does not answer.
func (b *build) sources() ([]source, error) {
	dir, err := b.cache.Dir("ruby-index")
	if err != nil {
		return nil, err
	}
	server := b.sourceServer()
	kept := filepath.Join(dir, kit.Key(server)[:12]+".json")
	var list []source
	read := func() bool {
		data, err := kit.ReadFile(kept)
		return err == nil && json.Unmarshal(data, &list) == nil && len(list) > 0
	}
	if info, err := os.Stat(kept); err == nil && time.Since(info.ModTime()) < maxAge && read() {
		return list, nil
	}
	text, err := fetch.New(b.env).Text(server+indexPath, 32<<20)
	if err != nil {
		if read() {
			kit.Say(b.Out, "Warning: %v; going on with the index of an earlier build", err)
			return list, nil
		}
		return nil, err
	}
	if list = parseIndex(string(text)); len(list) == 0 {
		return nil, errors.New(server + indexPath + " names no source of Ruby")
	}
	data, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	return list, os.WriteFile(kept, data, 0o644)
}

func (b *build) sourceServer() string {
	if m := strings.TrimRight(b.env[settingMirror], "/"); m != "" {
		return m
	}
	return sourceServer
}

// accepts tells whether a version is one that the app asks for: to the patch where it says one, else any of the line.
func (w wanted) accepts(version string) bool {
	v := numbers(version)
	for _, r := range w.all {
		ok := r.allows(v)
		if r.op == "=" && len(r.version) < 3 {
			ok = r.fits(v[:2])
		}
		if !ok {
			return false
		}
	}
	return true
}

// chooseSource is the newest version that the app asks for, of those that can be compiled. refused says why Debian's do not do: it is told where there is none.
func (b *build) chooseSource(refused error) (source, error) {
	var e *kit.Error
	if !errors.As(refused, &e) || len(b.wanted.all) == 0 {
		return source{}, refused
	}
	list, err := b.sources()
	if err != nil {
		return source{}, kit.Errorf("ask for one of these, or set "+settingMirror+" for the server to a mirror", "%s, and its source cannot be had: %v", e.Message, err)
	}
	for _, s := range list {
		if b.wanted.accepts(s.Version) {
			return s, nil
		}
	}
	var lines []string
	for _, s := range list { // the newest of each line
		line := strings.Join(strings.Split(s.Version, ".")[:2], ".") + "."
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, line) }) {
			lines = append(lines, s.Version)
		}
	}
	return source{}, kit.Errorf(e.Next+", or for one of these, which are compiled from their sources: "+strings.Join(lines[:min(len(lines), 6)], ", "), "%s", e.Message)
}
