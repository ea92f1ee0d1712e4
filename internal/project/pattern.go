package project

import (
	"errors"
	"strings"
)

// pattern is one line of gitignore(5), taken apart. It matches a file or a folder by the names on the way to it, one part a name.
type pattern struct {
	parts   []part // the last one is not any
	folder  bool   // it names folders only
	negated bool
}

// part is what one name of a path has to be.
type part struct {
	any    bool // "**/": names, as many as there are; none too
	tokens glob
}

// parsePattern takes a line apart. It returns ok=false for one that says nothing: an empty one or a comment.
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
			if n := len(p.parts); n == 0 || !p.parts[n-1].any { // two in a row are as one
				p.parts = append(p.parts, part{any: true})
			}
			continue
		}
		g, err := parseGlob(name) // "**" at the end is as "*": what is below a folder that matches, does too
		if err != nil {
			return p, false, err
		}
		p.parts = append(p.parts, part{tokens: g})
	}
	return p, true, nil
}
