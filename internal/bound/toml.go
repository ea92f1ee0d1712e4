// Package bound keeps the reading of strangers' text within bounds of memory and time. The parsers behind it are made for configuration files
// of friends: their cost grows faster than the text.
package bound

import (
	"fmt"
	"unicode/utf8"
)

// TOMLLimits are what a text may ask of a parser. A parser takes memory and time for each key by the length of its whole path: the table
// that it is in, the inline tables around it, and its own dotted parts.
type TOMLLimits struct {
	Size  int // bytes of the text
	Depth int // parts of a key's whole path, arrays around it included
	Path  int // bytes of a key's whole path
}

// TOMLError says which line goes beyond the limits, or is no TOML at all.
type TOMLError struct {
	Line   int
	Reason string
}

func (e *TOMLError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// TOML refuses a text that is beyond the limits, in one pass, without memory that grows with the text. It does not tell whether the text is
// TOML: what it lets through goes to a parser. It is not led astray by what only looks like a key: strings and comments are skipped by
// TOML's own rules, and what these rules forbid outside and inside of them is refused here. It returns a *TOMLError.
func TOML(text []byte, l TOMLLimits) error {
	s := &tomlScanner{text: text, limits: l, line: 1}
	if len(text) > l.Size {
		return s.fail("the text is larger than %d bytes", l.Size)
	}
	if len(s.text) >= 3 && string(s.text[:3]) == "\xef\xbb\xbf" { // a byte order mark
		s.at = 3
	}
	return s.scan()
}

// keyPath measures the path of a key.
type keyPath struct{ parts, bytes int }

func (p keyPath) and(q keyPath) keyPath { return keyPath{p.parts + q.parts, p.bytes + q.bytes} }

type tomlScanner struct {
	text   []byte
	limits TOMLLimits
	at     int
	line   int

	table  keyPath   // the last [table]
	around []keyPath // one for each bracket and brace that is open: the key that it stands for
	run    keyPath   // what was read since the last thing that ends a key
	key    keyPath   // the last key that had its =
	valued bool      // there was an = since the line began
}

func (s *tomlScanner) fail(format string, args ...any) error {
	return &TOMLError{s.line, fmt.Sprintf(format, args...)}
}

func (s *tomlScanner) scan() error {
	for s.at < len(s.text) {
		c, n, err := s.next()
		if err != nil {
			return err
		}
		switch c {
		case '\n':
			s.run = keyPath{}
			if len(s.around) == 0 {
				s.valued = false
			}
		case ' ', '\t', '\r':
		case '#':
			err = s.comment()
		case '"', '\'':
			err = s.quoted(byte(c))
		case '.':
			s.run.parts++
		case '=':
			s.key, s.run, s.valued = s.run, keyPath{}, true
			s.key.parts++
			err = s.check(s.key)
		case ',':
			s.run, s.key = keyPath{}, keyPath{}
		case '[', '{':
			s.around = append(s.around, s.key.and(keyPath{parts: 1}))
			s.run, s.key = keyPath{}, keyPath{}
			err = s.check(keyPath{})
		case ']', '}':
			err = s.close(c)
		default:
			s.run.bytes += n
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// close ends a bracket or a brace. One that no = came before ends the name of a table.
func (s *tomlScanner) close(c rune) error {
	if len(s.around) == 0 {
		return s.fail("there is a %c too many", c)
	}
	s.around = s.around[:len(s.around)-1]
	run := s.run
	s.run, s.key = keyPath{}, keyPath{}
	if s.valued || run == (keyPath{}) {
		return nil
	}
	s.table = keyPath{}
	run.parts++
	err := s.check(run)
	s.table = run
	return err
}

// check is for a key in what is open now.
func (s *tomlScanner) check(key keyPath) error {
	whole := s.table.and(key)
	for _, p := range s.around {
		whole = whole.and(p)
	}
	if whole.parts > s.limits.Depth {
		return s.fail("keys, tables and arrays are nested more than %d deep", s.limits.Depth)
	}
	if whole.bytes > s.limits.Path {
		return s.fail("a key with the names of its tables is longer than %d bytes", s.limits.Path)
	}
	return nil
}

// next takes one character, which must be one that a TOML text may hold.
func (s *tomlScanner) next() (c rune, n int, err error) {
	c, n = rune(s.text[s.at]), 1
	switch {
	case c == '\n':
		s.at++
		s.line++
		return c, 1, nil
	case c == '\r' && (s.at+1 == len(s.text) || s.text[s.at+1] != '\n'):
		return c, 1, s.fail("a carriage return without a line feed")
	case c < ' ' && c != '\t' && c != '\r' || c == 0x7f:
		return c, 1, s.fail("a control character (%#02x)", c)
	case c >= utf8.RuneSelf:
		if c, n = utf8.DecodeRune(s.text[s.at:]); c == utf8.RuneError && n == 1 {
			return c, 1, s.fail("it is not UTF-8")
		}
	}
	s.at += n
	return c, n, nil
}

// comment skips what is left of the line.
func (s *tomlScanner) comment() error {
	for s.at < len(s.text) && s.text[s.at] != '\n' {
		if _, _, err := s.next(); err != nil {
			return err
		}
	}
	return nil
}

// quoted skips a string whose first quote was taken, and counts it as if it were part of a key.
func (s *tomlScanner) quoted(q byte) error {
	multi := false
	if s.ahead(q, q) {
		s.at += 2
		multi = true
	} else if s.ahead(q) { // an empty one
		s.at++
		return nil
	}
	began := s.line
	for s.at < len(s.text) {
		c, n, err := s.next()
		if err != nil {
			return err
		}
		s.run.bytes += n
		switch {
		case c == '\n' && !multi:
			s.line = began
			return s.fail("a string has no end")
		case c == '\\' && q == '"':
			if s.at < len(s.text) && s.text[s.at] != '\n' && s.text[s.at] != '\r' { // else the end of the line is escaped, and does not count
				if _, _, err := s.next(); err != nil {
					return err
				}
			}
		case c == rune(q) && !multi:
			return nil
		case c == rune(q) && s.ahead(q, q):
			s.at += 2
			for i := 0; i < 2 && s.ahead(q); i++ { // up to two quotes may stand before the three
				s.at++
			}
			return nil
		}
	}
	s.line = began
	return s.fail("a string has no end")
}

// ahead says whether these characters come next.
func (s *tomlScanner) ahead(want ...byte) bool {
	return len(s.text)-s.at >= len(want) && string(s.text[s.at:s.at+len(want)]) == string(want)
}
