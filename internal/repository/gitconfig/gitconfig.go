// Package gitconfig reads git's configuration format (git-config(1), "CONFIGURATION FILE"), as git does, from text that is not trusted: it reads no other
// files, and what it holds in memory is no more than the text.
package gitconfig

import (
	"bytes"
	"strings"
)

// NoSubsection stands for the subsection of a section without one.
const NoSubsection = "\x00"

// Variable is one line of a section.
type Variable struct {
	Section    string // in lower case
	Subsection string // NoSubsection if there is none
	Key        string // in lower case
	Value      string
	HasValue   bool // there is a "="
}

// Parse calls set for each variable up to the first syntax error. It returns the line of that error, counted from 1; 0 if there is none.
func Parse(data []byte, set func(Variable)) (badLine int) {
	p := &parser{data: bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))}
	v := Variable{Subsection: NoSubsection}
	for {
		c, ok := p.next()
		switch {
		case !ok:
			return 0
		case c == '\n' || isSpace(c):
		case c == '#' || c == ';':
			p.skipLine()
		case c == '[':
			if v.Section, v.Subsection, ok = p.section(); !ok {
				return p.line()
			}
		case !isAlpha(c):
			return p.line()
		default:
			if v.Key, v.Value, v.HasValue, ok = p.variable(c); !ok {
				return p.line()
			}
			if v.Section != "" {
				set(v)
			}
		}
	}
}

type parser struct {
	data []byte
	at   int
}

// next returns a byte; a carriage return before a line feed does not count.
func (p *parser) next() (byte, bool) {
	if p.at >= len(p.data) {
		return '\n', false
	}
	c := p.data[p.at]
	p.at++
	if c == '\r' && p.at < len(p.data) && p.data[p.at] == '\n' {
		c = '\n'
		p.at++
	}
	return c, true
}

// line returns the line of the byte that was read last.
func (p *parser) line() int {
	return 1 + bytes.Count(p.data[:max(0, p.at-1)], []byte{'\n'})
}

func (p *parser) skipLine() {
	for {
		if c, ok := p.next(); !ok || c == '\n' {
			return
		}
	}
}

// section reads what follows a bracket.
func (p *parser) section() (section, subsection string, sound bool) {
	var name strings.Builder
	for {
		c, ok := p.next()
		switch {
		case !ok:
			return "", "", false
		case c == ']':
			// The old form [section.subsection], in lower case.
			section, subsection, ok := strings.Cut(name.String(), ".")
			if !ok {
				subsection = NoSubsection
			}
			return section, subsection, name.Len() > 0
		case isSpace(c):
			if c == '\n' {
				return "", "", false
			}
			for c != '"' {
				if c, ok = p.next(); !ok || c == '\n' || c != '"' && !isSpace(c) {
					return "", "", false
				}
			}
			var sub strings.Builder
			for {
				c, ok := p.next()
				if ok && c == '\\' {
					if c, ok = p.next(); c == '\n' {
						return "", "", false
					}
				} else if c == '"' {
					break
				}
				if !ok || c == '\n' {
					return "", "", false
				}
				sub.WriteByte(c)
			}
			if c, _ := p.next(); c != ']' {
				return "", "", false
			}
			return name.String(), sub.String(), true
		case isAlpha(c) || c >= '0' && c <= '9' || c == '-' || c == '.':
			name.WriteByte(lower(c))
		default:
			return "", "", false
		}
	}
}

// variable reads a variable that begins with c.
func (p *parser) variable(c byte) (key, value string, hasValue, ok bool) {
	var name strings.Builder
	ok = true
	for ; ok && (isAlpha(c) || c >= '0' && c <= '9' || c == '-'); c, ok = p.next() {
		name.WriteByte(lower(c))
	}
	for ok && (c == ' ' || c == '\t') {
		c, ok = p.next()
	}
	if !ok || c == '\n' {
		return name.String(), "", false, true
	}
	if c != '=' {
		return "", "", false, false
	}
	value, ok = p.value()
	return name.String(), value, true, ok
}

// value reads a value up to the end of its line.
func (p *parser) value() (string, bool) {
	var b strings.Builder
	quoted, comment, spaces := false, false, 0
	for {
		c, ok := p.next()
		switch {
		case c == '\n': // also the end of the file
			return b.String(), !quoted
		case !ok:
			return "", false
		case comment:
		case isSpace(c) && !quoted:
			if b.Len() > 0 {
				spaces++
			}
			continue
		case (c == ';' || c == '#') && !quoted:
			comment = true
		default:
			for ; spaces > 0; spaces-- {
				b.WriteByte(' ')
			}
			switch c {
			case '"':
				quoted = !quoted
			case '\\':
				c, _ := p.next()
				switch {
				case c == '\n': // also the end of the file
				case c == 't':
					b.WriteByte('\t')
				case c == 'b':
					b.WriteByte('\b')
				case c == 'n':
					b.WriteByte('\n')
				case c == '\\' || c == '"':
					b.WriteByte(c)
				default:
					return "", false
				}
			default:
				b.WriteByte(c)
			}
		}
	}
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// isSpace is git's isspace, which knows no vertical tab and no form feed.
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
