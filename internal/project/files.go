package project

import "github.com/gitd-io/gitd/internal/app"

// Bounds on include and exclude: each file of the source is compared with each pattern.
const (
	maxPatterns    = 200
	longestPattern = 1024
	maxWork        = 1_000_000_000 // steps for all files together: some seconds
)

// Files selects the files of the source that the build sees. The zero value selects all.
type Files struct {
	included bool // patterns name what the build sees; otherwise what it does not see
	patterns []pattern
}

// All reports whether all files are selected.
func (f Files) All() bool { return len(f.patterns) == 0 }

// Keeps reports whether the build sees one file; path is relative to the root of the source. For many files use Select, which is faster.
func (f Files) Keeps(path string) (bool, error) { return f.Select().Keeps(path) }

// files reads the two lists, of which at most one may be given.
func files(include, exclude []string) (Files, error) {
	list, key, f := exclude, "exclude", Files{}
	if include != nil {
		if exclude != nil {
			return f, bad("give include or exclude, not both")
		}
		list, key, f.included = include, "include", true
	}
	if len(list) > maxPatterns {
		return f, bad("%s has %d patterns, more than %d", key, len(list), maxPatterns)
	}
	for _, line := range list {
		if len(line) > longestPattern {
			return f, bad("%s: a pattern is longer than %d bytes", key, longestPattern)
		}
		p, ok, err := parsePattern(line)
		if err != nil {
			return f, bad("%s: %q is not a pattern as in .gitignore: %v", key, app.Plain(line), err)
		}
		if ok {
			f.patterns = append(f.patterns, p)
		}
	}
	if f.included && len(f.patterns) == 0 { // the same as no list: an app needs files
		f.included = false
	}
	return f, nil
}
