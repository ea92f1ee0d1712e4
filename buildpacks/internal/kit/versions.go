package kit

import (
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// VersionLines reads a file of one version a line, as pyenv and nvm write it: without comments, after #, and empty lines.
func VersionLines(app, file string) (found []string) {
	for line := range strings.Lines(Text(app, file)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			found = append(found, line)
		}
	}
	return found
}

// AsdfVersions reads a file of asdf's for a tool, by any of its names: "python 3.12.1 3.11", the ones after the first to fall back on.
func AsdfVersions(app, file string, names ...string) []string {
	for _, line := range VersionLines(app, file) {
		if f := strings.Fields(line); slices.Contains(names, f[0]) {
			return f[1:]
		}
	}
	return nil
}

// MiseVersions reads a file of mise's for a tool, by any of its names: python = "3.12", a list, or a table with a version. A malformed file has
// none: that is mise's to complain about.
func MiseVersions(app, file string, names ...string) (found []string) {
	var m struct {
		Tools map[string]any `toml:"tools"`
	}
	if toml.Unmarshal([]byte(Text(app, file)), &m) != nil {
		return nil
	}
	var read func(v any)
	read = func(v any) {
		switch v := v.(type) {
		case string:
			if v = strings.TrimSpace(v); v != "" {
				found = append(found, v)
			}
		case []any:
			for _, e := range v {
				read(e)
			}
		case map[string]any:
			read(v["version"])
		}
	}
	for _, name := range names {
		read(m.Tools[name])
	}
	return found
}

// CompareVersions compares two versions number by number: negative, 0 or positive as a is older, the same or newer. What is missing counts as 0.
func CompareVersions(a, b []int) int {
	for i := range max(len(a), len(b)) {
		x, y := 0, 0
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return x - y
		}
	}
	return 0
}
