package app

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable makes a line of text safe for a terminal: it removes all control characters except tabs and SGR colours, and SGR that conceals text or
// is not made of numbers; colours left on are reset at the end. It also removes invisible characters and those that change the direction of
// writing, and replaces invalid UTF-8. Printable(Printable(s)) is Printable(s).
func Printable(s string) string { return clean(s, true) }

// Plain is Printable without colours, for logs, tables and parts of sentences: nothing in it acts on a terminal.
func Plain(s string) string { return clean(s, false) }

func clean(s string, colours bool) string {
	if plainASCII(s) {
		return s
	}
	var b strings.Builder
	open := false
	last := ' ' // the last character that was kept
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == 0x1b {
			n, sgr := escape(s[i:])
			if sgr != "" && colours {
				b.WriteString("\x1b[" + sgr + "m")
				open = !resets(sgr)
			}
			i += n
			continue
		}
		switch i += n; {
		case r == utf8.RuneError && n == 1:
			last = '\uFFFD'
		case r == '\t':
			last = r
		case r == '\u2028' || r == '\u2029': // some programs end lines at them
			last = ' '
		case unicode.IsControl(r) || invisible(r) && !joins(last, r):
			continue
		default:
			last = r
		}
		b.WriteRune(last)
	}
	if open {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

func plainASCII(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return true
}

// maxSGR is how long the parameters of one SGR sequence may be.
const maxSGR = 64

// escape reads the escape sequence that s begins with: its length, and the parameters of an SGR sequence that may stay ("0" for none). A
// sequence that does not end is the rest of s.
func escape(s string) (length int, sgr string) {
	if len(s) < 2 || s[1] != '[' {
		return 1, ""
	}
	end := 2
	for end < len(s) && s[end] >= ' ' && s[end] <= '?' {
		end++
	}
	if end == len(s) {
		return end, ""
	}
	if s[end] < '@' || s[end] > '~' { // not the end of a sequence: it is read separately
		return end, ""
	}
	params := s[2:end]
	if s[end] != 'm' || len(params) > maxSGR || strings.Trim(params, "0123456789:;") != "" || conceals(params) {
		return end + 1, ""
	}
	if params == "" {
		params = "0"
	}
	return end + 1, params
}

// conceals reports whether a parameter of SGR hides the text that follows. Colour numbers do not.
func conceals(params string) bool {
	skip := 0
	all := strings.Split(params, ";")
	for i, p := range all {
		if skip > 0 {
			skip--
			continue
		}
		head, _, sub := strings.Cut(p, ":")
		switch number(head) {
		case 8:
			return true
		case 38, 48, 58: // colours, by a number or by three
			if !sub && i+1 < len(all) {
				switch number(all[i+1]) {
				case 5:
					skip = 2
				case 2:
					skip = 4
				}
			}
		}
	}
	return false
}

// resets reports whether SGR resets everything.
func resets(params string) bool { return strings.Trim(params, "0;") == "" }

// number returns the value of a parameter; empty is 0.
func number(s string) int {
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// invisible reports whether a character shows nothing by itself: format and direction characters, fillers, tags, variation selectors.
func invisible(r rune) bool {
	if r < 0xad {
		return false
	}
	return unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// joins reports whether r, which is invisible, belongs to the symbol before it, as in emoji.
func joins(before, r rune) bool {
	return (r == '\uFE0F' || r == '\u200D') && before >= '\u203C' && !unicode.IsLetter(before) && before != '\uFFFD' && before != r
}
