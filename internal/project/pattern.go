package project

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// pattern is one line of gitignore(5), compiled. Go's own regular expressions take linear time: patterns are a stranger's.
type pattern struct {
	re      *regexp.Regexp // matches the path of a file that the line names, or that is in a folder that it names
	negated bool
}

// parsePattern compiles a line. It returns ok=false for one that says nothing: an empty one or a comment.
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
	folder := strings.HasSuffix(line, "/")
	line = strings.TrimSuffix(line, "/")
	anchored := strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if line == "" {
		return p, false, errors.New("it names nothing")
	}
	var re strings.Builder
	re.WriteString("(?s)^")
	if !anchored {
		re.WriteString("(?:.*/)?")
	}
	parts := strings.Split(line, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part == "**" && last:
			re.WriteString(".+")
		case part == "**":
			re.WriteString("(?:.*/)?")
		default:
			if err := glob(&re, part); err != nil {
				return p, false, err
			}
			if !last {
				re.WriteByte('/')
			}
		}
	}
	if folder {
		re.WriteString("/.*$")
	} else {
		re.WriteString("(?:/.*)?$")
	}
	p.re, err = regexp.Compile(re.String())
	return p, true, err
}

// glob translates one part of a path: nothing in it stands for a slash.
func glob(re *strings.Builder, part string) error {
	for s := []rune(part); len(s) > 0; {
		c := s[0]
		s = s[1:]
		switch c {
		case '*':
			re.WriteString("[^/]*")
		case '?':
			re.WriteString("[^/]")
		case '[':
			n, err := class(re, s)
			if err != nil {
				return err
			}
			s = s[n:]
		case '\\':
			if len(s) == 0 {
				return errors.New("a backslash ends it")
			}
			c, s = s[0], s[1:]
			fallthrough
		default:
			re.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return nil
}

// posixClasses are those that may be in a bracket expression as [:NAME:].
var posixClasses = []string{"alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"}

// class translates a bracket expression, of which s is what follows the opening bracket. It returns how much of s it took.
func class(re *strings.Builder, s []rune) (n int, err error) {
	open := errors.New("a [ has no ]")
	next := func() (rune, error) { // one character, that may be escaped
		if n < len(s) && s[n] == '\\' {
			n++
		}
		if n == len(s) {
			return 0, open
		}
		n++
		return s[n-1], nil
	}
	negated := len(s) > 0 && (s[0] == '!' || s[0] == '^')
	var items strings.Builder
	if negated {
		n++
	}
	for first := true; ; first = false {
		if n == len(s) {
			return 0, open
		}
		if s[n] == ']' && !first {
			n++
			break
		}
		if s[n] == '[' && n+1 < len(s) && s[n+1] == ':' {
			name, _, found := strings.Cut(string(s[n+2:]), ":]")
			if !found || !slices.Contains(posixClasses, name) {
				return 0, errors.New("it has a character class that does not exist")
			}
			fmt.Fprintf(&items, "[:%s:]", name)
			n += len("[::]") + len(name)
			continue
		}
		low, err := next()
		if err != nil {
			return 0, err
		}
		high := low
		if n+1 < len(s) && s[n] == '-' && s[n+1] != ']' {
			n++
			if high, err = next(); err != nil {
				return 0, err
			}
		}
		if low > high {
			return 0, fmt.Errorf("%c-%c is no range", low, high)
		}
		span(&items, low, high)
	}
	switch {
	case negated:
		re.WriteString("[^/" + items.String() + "]")
	case items.Len() == 0: // the slash alone, which no name has
		re.WriteString(`[^\x{0}-\x{10FFFF}]`)
	default:
		re.WriteString("[" + items.String() + "]")
	}
	return n, nil
}

// span adds a range of characters, without the slash.
func span(items *strings.Builder, low, high rune) {
	if low <= '/' && '/' <= high {
		if low < '/' {
			span(items, low, '/'-1)
		}
		if high > '/' {
			span(items, '/'+1, high)
		}
		return
	}
	fmt.Fprintf(items, `\x{%X}-\x{%X}`, low, high)
}
