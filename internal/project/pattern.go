package project

import (
	"errors"
	"strings"
)

// pattern is one parsed line of gitignore(5). It matches a file or folder by the names of its path, one part per name.
type pattern struct {
	parts   []part // the last one is not "any"
	folder  bool   // matches only folders
	negated bool
}

// part matches one name of a path.
type part struct {
	any    bool // "**/": any number of names, including none
	tokens glob
}

// parsePattern parses a line. It returns ok=false for an empty line or a comment.
func parsePattern(line string) (p pattern, ok bool, err error) {
	if trimmed := strings.TrimRight(line, " "); !strings.HasSuffix(trimmed, `\`) {
		line = trimmed
	}
	if line == "" || line[0] == '#' {
		return p, false, nil
	}
	if line[0] == '!' {
		p.negated, line = true, line[1:]
	}
	p.folder = strings.HasSuffix(line, "/")
	line = strings.TrimSuffix(line, "/")
	anchored := strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if line == "" {
		return p, false, errors.New("it names nothing")
	}
	if !anchored {
		p.parts = append(p.parts, part{any: true})
	}
	names := strings.Split(line, "/")
	for i, name := range names {
		if name == "**" && i < len(names)-1 {
			if n := len(p.parts); n == 0 || !p.parts[n-1].any { // two in a row are the same as one
				p.parts = append(p.parts, part{any: true})
			}
			continue
		}
		g, err := parseGlob(name) // "**" at the end is the same as "*": what is below a folder that matches also matches
		if err != nil {
			return p, false, err
		}
		p.parts = append(p.parts, part{tokens: g})
	}
	return p, true, nil
}
