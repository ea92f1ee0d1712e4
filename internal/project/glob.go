package project

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// glob is a pattern for one name.
type glob []token

// token matches one character, or any number of them.
type token struct {
	star    bool
	negated bool
	ranges  []span // of characters; the question mark is negated and has none
}

type span struct{ low, high rune }

// parseGlob parses the pattern for one name.
func parseGlob(text string) (glob, error) {
	var g glob
	for s := []rune(text); len(s) > 0; {
		c := s[0]
		s = s[1:]
		switch c {
		case '*':
			if len(g) == 0 || !g[len(g)-1].star {
				g = append(g, token{star: true})
			}
		case '?':
			g = append(g, token{negated: true})
		case '[':
			t, n, err := class(s)
			if err != nil {
				return nil, err
			}
			g = append(g, t)
			s = s[n:]
		case '\\':
			if len(s) == 0 {
				return nil, errors.New("a backslash ends it")
			}
			c, s = s[0], s[1:]
			fallthrough
		default:
			g = append(g, token{ranges: []span{{c, c}}})
		}
	}
	return g, nil
}

// match reports whether the glob matches the name. An asterisk takes as little as possible, and only the last one is extended on a mismatch: so
// the work is at most the product of both lengths. It is subtracted from left; match stops when that is used up.
func (g glob) match(name []rune, left *int64) bool {
	steps := *left
	defer func() { *left = steps }()
	at, star, from := 0, -1, 0 // star is where the last asterisk is, from what it has not taken yet
	for i := 0; i < len(name) && steps >= 0; {
		steps--
		if at < len(g) && g[at].star {
			star, from = at, i
			at++
			continue
		}
		if at < len(g) {
			t := &g[at]
			in := false
			for _, r := range t.ranges {
				steps--
				if in = r.low <= name[i] && name[i] <= r.high; in {
					break
				}
			}
			if in != t.negated {
				at++
				i++
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		at, i = star+1, from
	}
	for at < len(g) && g[at].star {
		at++
	}
	return at == len(g)
}

// posixClasses are the classes allowed in a bracket expression as [:NAME:], for ASCII.
var posixClasses = map[string][]span{
	"alnum": {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, "alpha": {{'A', 'Z'}, {'a', 'z'}}, "blank": {{'\t', '\t'}, {' ', ' '}}, "cntrl": {{0, 0x1f}, {0x7f, 0x7f}},
	"digit": {{'0', '9'}}, "graph": {{'!', '~'}}, "lower": {{'a', 'z'}}, "print": {{' ', '~'}}, "punct": {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}},
	"space": {{'\t', '\r'}, {' ', ' '}}, "upper": {{'A', 'Z'}}, "xdigit": {{'0', '9'}, {'A', 'F'}, {'a', 'f'}},
}

// class parses a bracket expression; s begins after the opening bracket. It returns how much of s it took.
func class(s []rune) (t token, n int, err error) {
	open := errors.New("a [ has no ]")
	next := func() (rune, error) { // one character, possibly escaped
		if n < len(s) && s[n] == '\\' {
			n++
		}
		if n == len(s) {
			return 0, open
		}
		n++
		return s[n-1], nil
	}
	if len(s) > 0 && (s[0] == '!' || s[0] == '^') {
		t.negated = true
		n++
	}
	for first := true; ; first = false {
		if n == len(s) {
			return t, 0, open
		}
		if s[n] == ']' && !first {
			return t, n + 1, nil
		}
		if s[n] == '[' && n+1 < len(s) && s[n+1] == ':' {
			name, _, _ := strings.Cut(string(s[n+2:]), ":]")
			ranges, found := posixClasses[name]
			if !found {
				return t, 0, errors.New("it has a character class that does not exist")
			}
			t.ranges = append(t.ranges, ranges...)
			n += len("[::]") + len(name)
			continue
		}
		low, err := next()
		if err != nil {
			return t, 0, err
		}
		high := low
		if n+1 < len(s) && s[n] == '-' && s[n+1] != ']' {
			n++
			if high, err = next(); err != nil {
				return t, 0, err
			}
		}
		if low > high {
			return t, 0, fmt.Errorf("%c-%c is not a range", low, high)
		}
		t.ranges = append(t.ranges, span{low, min(high, unicode.MaxRune)})
	}
}
