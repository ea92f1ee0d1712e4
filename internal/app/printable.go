package app

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable makes a line of text safe for a terminal: of all control characters tabs and SGR colours stay. SGR that conceals, or that is more than
// numbers, goes; where colour is left on, it is reset at the end. Invisible characters, and those that turn the direction of writing, go as
// well: what is seen is what is there. Invalid UTF-8 is replaced. Printable(Printable(s)) is Printable(s).
func Printable(s string) string { return clean(s, true) }

// Plain is Printable without colours: for logs, tables, and what becomes part of a sentence. Nothing in it can reach a terminal.
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
		case r == '\u2028' || r == '\u2029': // they end lines, for some
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

// escape reads what s begins with, an ESC: how long it is, and the parameters of an SGR sequence that may stay ("0" for none). A
// sequence that does not end is all that is left.
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
	if s[end] < '@' || s[end] > '~' { // no end of a sequence: it is looked at by itself
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

// conceals says whether one of the parameters of SGR hides the text that follows. Numbers of colours are none of them.
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

// resets says whether SGR takes back all that came before.
func resets(params string) bool { return strings.Trim(params, "0;") == "" }

// number is the value of a parameter; none is 0.
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

// invisible says whether a character shows nothing by itself: those for formatting and for the direction of writing, fillers, tags, and what selects
// variants of others.
func invisible(r rune) bool {
	if r < 0xad {
		return false
	}
	return unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// joins says whether r, which is invisible, belongs to the symbol before it: emoji are made so.
func joins(before, r rune) bool {
	return (r == '\uFE0F' || r == '\u200D') && before >= '\u203C' && !unicode.IsLetter(before) && before != '\uFFFD' && before != r
}
