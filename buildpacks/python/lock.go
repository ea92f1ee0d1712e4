package python

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// locked is what a lock file has installed: each package as a line of a file of requirements, and the indexes that are not the usual one.
type locked struct {
	lines   []string
	names   []string // normalised
	indexes []index
}

// index is a package index that a lock file names.
type index struct{ name, url string }

// add notes a package.
func (l *locked) add(name, line, marker string, hashes []string) {
	l.names = append(l.names, normal(name))
	if marker != "" {
		line += " ; " + marker
	}
	for _, h := range hashes {
		line += " --hash=" + h
	}
	l.lines = append(l.lines, line)
}

func (l *locked) addIndex(name, address string) {
	i := index{name, strings.TrimSuffix(address, "/")}
	if !isPyPI(address) && !slices.Contains(l.indexes, i) {
		l.indexes = append(l.indexes, i)
	}
}

// publicIndex is the host of the Python Package Index, as lock files name it.
const publicIndex = "pypi.org"

// isPyPI tells whether an address is that of the index that is used anyway, or of a mirror of it that the host names.
func isPyPI(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Hostname() == publicIndex || u.Hostname() == "pypi.python.org")
}

// arguments are those of uv for the indexes, with the names and passwords that the environment has for them as Poetry reads them. What a lock file
// lists is all there is: nothing more is looked for.
func (l *locked) arguments(env kit.Env) []string {
	args := []string{"--no-deps"}
	for _, i := range l.indexes {
		address := os.Expand(i.url, func(name string) string { return env[name] })
		variable := "POETRY_HTTP_BASIC_" + strings.ToUpper(separators.ReplaceAllString(i.name, "_"))
		if user := env[variable+"_USERNAME"]; user != "" {
			if u, err := url.Parse(address); err == nil {
				u.User = url.UserPassword(user, env[variable+"_PASSWORD"])
				address = u.String()
			}
		}
		args = append(args, "--index", address)
	}
	return args
}

// normal is a package's name in the one form in which names are compared.
func normal(name string) string { return strings.ToLower(separators.ReplaceAllString(name, "-")) }

// file is an archive of a package in a lock file.
type file struct {
	Hash string `toml:"hash"`
}

func hashesOf(files []file) (hashes []string) {
	for _, f := range files {
		hashes = append(hashes, f.Hash)
	}
	return hashes
}

// poetryPackage is a package in poetry.lock.
type poetryPackage struct {
	Name         string         `toml:"name"`
	Version      string         `toml:"version"`
	Category     string         `toml:"category"`
	Optional     bool           `toml:"optional"`
	Groups       []string       `toml:"groups"`
	Markers      any            `toml:"markers"`
	Files        []file         `toml:"files"`
	Dependencies map[string]any `toml:"dependencies"`
	Source       struct {
		Type         string `toml:"type"`
		URL          string `toml:"url"`
		Reference    string `toml:"reference"`
		Resolved     string `toml:"resolved_reference"`
		Subdirectory string `toml:"subdirectory"`
	} `toml:"source"`
}

// line is the package as a requirement.
func (p poetryPackage) line() string {
	switch p.Source.Type {
	case "git":
		line := fmt.Sprintf("%s @ git+%s@%s", p.Name, p.Source.URL, p.Source.Resolved)
		if p.Source.Subdirectory != "" {
			line += "#subdirectory=" + p.Source.Subdirectory
		}
		return line
	case "url":
		return fmt.Sprintf("%s @ %s", p.Name, p.Source.URL)
	case "directory", "file":
		return "./" + strings.TrimPrefix(p.Source.URL, "./")
	}
	return p.Name + "==" + p.Version
}

// main tells whether the package is for production.
func (p poetryPackage) main() bool {
	return !p.Optional && p.Category != "dev" && (len(p.Groups) == 0 || slices.Contains(p.Groups, "main"))
}

// poetryLocked reads the packages of the main group, with their markers. own are the names that the app itself requires.
func poetryLocked(lock string, own []string) (locked, error) {
	var l struct {
		Package []poetryPackage `toml:"package"`
		Meta    struct {
			Files map[string][]file `toml:"files"` // of locks before Poetry 1.3
		} `toml:"metadata"`
	}
	if err := toml.Unmarshal([]byte(lock), &l); err != nil {
		return locked{}, kit.Errorf("run poetry lock, commit poetry.lock and push again", "poetry.lock cannot be read: %s", kit.First(err.Error()))
	}
	edges := poetryMarkers(l.Package)
	var out locked
	for _, p := range l.Package {
		if !p.main() {
			continue
		}
		marker, _ := p.Markers.(string)
		if groups, ok := p.Markers.(map[string]any); ok {
			marker, _ = groups["main"].(string)
		}
		if marker == "" && len(p.Groups) == 0 && !slices.Contains(own, normal(p.Name)) {
			marker = edges[normal(p.Name)]
		}
		files := p.Files
		if len(files) == 0 {
			files = l.Meta.Files[p.Name]
		}
		var hashes []string
		switch p.Source.Type {
		case "", "legacy":
			hashes = hashesOf(files)
		}
		if p.Source.Type == "legacy" {
			out.addIndex(p.Source.Reference, p.Source.URL)
		}
		out.add(p.Name, p.line(), marker, hashes)
	}
	return out, nil
}

// poetryMarkers finds out for older lock files, which note markers only where a package is required, under which condition any other package
// requires it. "" is for a package that one of them always requires.
func poetryMarkers(packages []poetryPackage) map[string]string {
	all := map[string][]string{}
	for _, p := range packages {
		if !p.main() {
			continue
		}
		for name, d := range p.Dependencies {
			list, ok := d.([]any)
			if !ok {
				list = []any{d}
			}
			for _, d := range list {
				table, _ := d.(map[string]any)
				if optional, _ := table["optional"].(bool); optional {
					continue
				}
				marker, _ := table["markers"].(string)
				all[normal(name)] = append(all[normal(name)], marker)
			}
		}
	}
	joined := map[string]string{}
	for name, markers := range all {
		if slices.Contains(markers, "") {
			continue
		}
		slices.Sort(markers)
		joined[name] = "(" + strings.Join(slices.Compact(markers), ") or (") + ")"
	}
	return joined
}

// pipfileLocked reads the packages for production.
func pipfileLocked(lock string) (locked, error) {
	var l struct {
		Meta struct {
			Sources []struct {
				Name string `json:"name"`
				URL  string `json:"url"`
			} `json:"sources"`
		} `json:"_meta"`
		Default map[string]pipfilePackage `json:"default"`
	}
	if err := json.Unmarshal([]byte(lock), &l); err != nil {
		return locked{}, kit.Errorf("run pipenv lock, commit Pipfile.lock and push again", "Pipfile.lock cannot be read: %v", err)
	}
	var out locked
	for _, s := range l.Meta.Sources {
		out.addIndex(s.Name, s.URL)
	}
	for _, name := range slices.Sorted(maps.Keys(l.Default)) {
		p := l.Default[name]
		hashes := p.Hashes
		if p.Git != "" || p.Path != "" || p.File != "" {
			hashes = nil
		}
		out.add(name, p.line(name), p.Markers, hashes)
	}
	return out, nil
}

// pipfilePackage is a package in Pipfile.lock, or in Pipfile.
type pipfilePackage struct {
	Version      string   `json:"version"`
	Markers      string   `json:"markers"`
	Hashes       []string `json:"hashes"`
	Extras       []string `json:"extras"`
	Git          string   `json:"git"`
	Ref          string   `json:"ref"`
	Subdirectory string   `json:"subdirectory"`
	Path         string   `json:"path"`
	File         string   `json:"file"`
}

func (p pipfilePackage) line(name string) string {
	if len(p.Extras) > 0 {
		name += "[" + strings.Join(p.Extras, ",") + "]"
	}
	switch {
	case p.Git != "":
		line := fmt.Sprintf("%s @ git+%s", name, strings.TrimPrefix(p.Git, "git+"))
		if p.Ref != "" {
			line += "@" + p.Ref
		}
		if p.Subdirectory != "" {
			line += "#subdirectory=" + p.Subdirectory
		}
		return line
	case p.File != "":
		return name + " @ " + p.File
	case p.Path != "":
		return "./" + strings.TrimPrefix(p.Path, "./")
	case p.Version == "*":
		return name
	}
	return name + p.Version
}

// pdmLocked reads the packages of the group default.
func pdmLocked(lock string) (locked, error) {
	var l struct {
		Package []struct {
			Name     string   `toml:"name"`
			Version  string   `toml:"version"`
			Groups   []string `toml:"groups"`
			Marker   string   `toml:"marker"`
			Extras   []string `toml:"extras"`
			Files    []file   `toml:"files"`
			Git      string   `toml:"git"`
			Revision string   `toml:"revision"`
			URL      string   `toml:"url"`
			Path     string   `toml:"path"`
		} `toml:"package"`
	}
	if err := toml.Unmarshal([]byte(lock), &l); err != nil {
		return locked{}, kit.Errorf("run pdm lock, commit pdm.lock and push again", "pdm.lock cannot be read: %s", kit.First(err.Error()))
	}
	var out locked
	for _, p := range l.Package {
		if len(p.Groups) > 0 && !slices.Contains(p.Groups, "default") {
			continue
		}
		q := pipfilePackage{Version: "==" + p.Version, Extras: p.Extras, Git: p.Git, Ref: p.Revision, File: p.URL, Path: p.Path}
		hashes := hashesOf(p.Files)
		if p.Git != "" || p.Path != "" || p.URL != "" {
			hashes = nil
		}
		out.add(p.Name, q.line(p.Name), p.Marker, hashes)
	}
	return out, nil
}

// uvLocked reads which packages uv.lock names: uv itself installs them.
func uvLocked(lock string) []string {
	var l struct {
		Package []struct {
			Name string `toml:"name"`
		} `toml:"package"`
	}
	_ = toml.Unmarshal([]byte(lock), &l) // uv says what is wrong with it
	var names []string
	for _, p := range l.Package {
		names = append(names, normal(p.Name))
	}
	return names
}
