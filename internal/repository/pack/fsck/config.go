package fsck

import (
	"bytes"
	"strings"
)

// noSubsection stands for the subsection of a section without one.
const noSubsection = "\x00"

// parseConfig reads git's configuration format (git-config(1), "CONFIGURATION FILE") and calls set for each variable up to
// the first syntax error. Sections and keys are in lower case.
func parseConfig(data []byte, set func(section, subsection, key, value string, hasValue bool)) {
	p := &configParser{data: bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))}
	section, subsection := "", noSubsection
	for {
		c, ok := p.next()
		switch {
		case !ok:
			return
		case c == '\n' || isSpace(c):
		case c == '#' || c == ';':
			p.skipLine()
		case c == '[':
			if section, subsection, ok = p.section(); !ok {
				return
			}
		case !isAlpha(c):
			return
		default:
			key, value, hasValue, ok := p.variable(c)
			if !ok {
				return
			}
			if section != "" {
				set(section, subsection, key, value, hasValue)
			}
		}
	}
}

type configParser struct {
	data []byte
	at   int
}

// next returns a byte; a carriage return before a line feed does not count.
func (p *configParser) next() (byte, bool) {
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

func (p *configParser) skipLine() {
	for {
		if c, ok := p.next(); !ok || c == '\n' {
			return
		}
	}
}

// section reads what follows a bracket.
func (p *configParser) section() (section, subsection string, sound bool) {
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
				subsection = noSubsection
			}
			return section, subsection, true
		case isSpace(c):
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
func (p *configParser) variable(c byte) (key, value string, hasValue, ok bool) {
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
func (p *configParser) value() (string, bool) {
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
				c, ok := p.next()
				switch {
				case !ok:
					return "", false
				case c == '\n':
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

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\v' || c == '\f' || c == '\r'
}
