package event

import "strings"

// pattern is the pattern of LIKE, split at its %: an event's text is looked through once, however many of them there are.
type pattern []segment

// segment is what stands between two %.
type segment struct {
	text string // without the backslashes that keep a % or _ as it is
	any  []bool // by byte of text, whether it is a _ that stands for any byte; nil where there is none
}

// parsePattern reads a pattern: % is any text, _ one byte, and a backslash keeps one of these as it is.
func parsePattern(s string) (p pattern) {
	var text []byte
	var wild []bool
	some := false
	end := func() {
		one := segment{text: string(text)}
		if some {
			one.any = wild
		}
		p = append(p, one)
		text, wild, some = nil, nil, false
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%':
			end()
			continue
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '%' || s[i+1] == '_'):
			i++
			wild = append(wild, false)
		default:
			wild = append(wild, s[i] == '_')
			some = some || s[i] == '_'
		}
		text = append(text, s[i])
	}
	end()
	return p
}

// like says whether a text is as a pattern says.
func (e *evaluation) like(text string, p pattern) (bool, error) {
	first, last := &p[0], &p[len(p)-1]
	if len(p) == 1 {
		return len(text) == len(first.text) && first.begins(text) == len(text), nil
	}
	rest := len(text) - len(last.text)
	if rest < len(first.text) || first.begins(text) < len(first.text) || last.begins(text[rest:]) < len(last.text) {
		return false, nil
	}
	text = text[len(first.text):rest]
	for i := range p[1 : len(p)-1] {
		s := &p[1+i]
		at, err := e.find(text, s)
		if at < 0 || err != nil {
			return false, err
		}
		text = text[at+len(s.text):]
	}
	return true, nil
}

// find returns where a segment is first in a text, or -1. Only with a _ does it compare at each place, and pays for that.
func (e *evaluation) find(text string, s *segment) (int, error) {
	if s.any == nil {
		return strings.Index(text, s.text), nil
	}
	for at := 0; at+len(s.text) <= len(text); at++ {
		n := s.begins(text[at:])
		if n == len(s.text) {
			return at, nil
		}
		if err := e.spend(n + 1); err != nil {
			return -1, err
		}
	}
	return -1, nil
}

// begins returns how many bytes of the segment a text, which is not shorter, begins with.
func (s *segment) begins(text string) int {
	if s.any == nil {
		if strings.HasPrefix(text, s.text) {
			return len(s.text)
		}
		return 0
	}
	for i := range s.any {
		if !s.any[i] && text[i] != s.text[i] {
			return i
		}
	}
	return len(s.text)
}
