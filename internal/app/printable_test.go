package app

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// What an app, a build or a client writes reaches terminals and logs: nothing of it may do more there than show text in colours.
func TestAttack_Printable(t *testing.T) {
	const esc = "\x1b["
	for _, tt := range []struct{ name, in, want, plain string }{
		{"Text", "plain ~ text", "plain ~ text", "plain ~ text"},
		{"Words", "Grüße, 世界\tб", "Grüße, 世界\tб", "Grüße, 世界\tб"},
		{"Colour", esc + "1;31mred" + esc + "0m", esc + "1;31mred" + esc + "0m", "red"},
		{"ShortReset", esc + "31mred" + esc + "m.", esc + "31mred" + esc + "0m.", "red."},
		{"LeftOn", esc + "31mred", esc + "31mred" + esc + "0m", "red"},
		{"Modifiers", esc + ">4;2ma", "a", "a"},
		{"Query", esc + "?4ma" + esc + "=1mb" + esc + "<mc", "abc", "abc"},
		{"Intermediate", esc + "1 ma" + esc + "!mb", "ab", "ab"},
		{"Conceal", esc + "8;30;40mhidden", "hidden", "hidden"},
		{"ConcealLater", esc + "0;08mhidden" + esc + "8:1mb", "hiddenb", "hiddenb"},
		{"ConcealAfterColour", esc + "38;5;1;8mhidden", "hidden", "hidden"},
		{"ColourEight", esc + "38;5;8mgrey" + esc + "0m", esc + "38;5;8mgrey" + esc + "0m", "grey"},
		{"TrueColour", esc + "48;2;8;8;8mx" + esc + "0m", esc + "48;2;8;8;8mx" + esc + "0m", "x"},
		{"SubParameters", esc + "38:5:8mx" + esc + "0m", esc + "38:5:8mx" + esc + "0m", "x"},
		{"Long", esc + strings.Repeat("1;", 40) + "mx", "x", "x"},
		{"Cursor", esc + "2Ja" + esc + "10;5Hb", "ab", "ab"},
		{"Title", "a\x1b]0;title\x07b", "a]0;titleb", "a]0;titleb"},
		{"Unfinished", "a" + esc + "31", "a", "a"},
		{"InterruptedByText", esc + "3\u00e4m", "äm", "äm"},
		{"Nested", "\x1b" + esc + "31ma" + esc + "0m", esc + "31ma" + esc + "0m", "a"},
		{"Eight", "a\u009b31mb\u0085", "a31mb", "a31mb"},
		{"Controls", "a\x00\x07\x08\x7f\r\nb", "ab", "ab"},
		{"Invalid", "a\xffb", "a\uFFFDb", "a\uFFFDb"},
		{"Bidi", "a\u202e\u2066\u200e\u200f\u061c\u2069b", "ab", "ab"},
		{"Joiners", "s\u034fi\u200bg\u2060n\ufeffe\u00add", "signed", "signed"},
		{"Fillers", "a\u115f\u3164\uffa0b", "ab", "ab"},
		{"Tags", "a\U000e0041\U000e007fb\U000e0100c", "abc", "abc"},
		{"SelectorAlone", "\ufe0fs\ufe0fi", "si", "si"},
		{"Emoji", "👩\u200d💻 ❤\ufe0f", "👩\u200d💻 ❤\ufe0f", "👩\u200d💻 ❤\ufe0f"},
		{"Lines", "a\u2028b", "a b", "a b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Printable(tt.in); got != tt.want {
				t.Errorf("Printable(%q) = %q, want %q", tt.in, got, tt.want)
			}
			if got := Plain(tt.in); got != tt.plain {
				t.Errorf("Plain(%q) = %q, want %q", tt.in, got, tt.plain)
			}
		})
	}
}

var allowedSGR = regexp.MustCompile(`\x1b\[[0-9:;]+m`)

func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"a\x1b[1;31mb\x1b]0;title\x07c\x1b", "\x1b[>4;2m\x1b[?4m", "\x1b[8m\x1b[38;5;8mx", "s\u034f\u202ei\xc2\x9b1m", "❤\ufe0f\u200d\u200d", "\x1b\x1b[\x1b[1m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, plain := Printable(s), Plain(s)
		if Printable(out) != out || Plain(plain) != plain || Plain(out) != plain {
			t.Fatalf("%q → %q → %q; plain %q → %q; plain of it %q", s, out, Printable(out), plain, Plain(plain), Plain(out))
		}
		for _, sgr := range allowedSGR.FindAllString(out, -1) {
			if conceals(sgr[2 : len(sgr)-1]) {
				t.Fatalf("%q → %q", s, out)
			}
		}
		if rest := allowedSGR.ReplaceAllString(out, ""); rest != plain || !utf8.ValidString(plain) || strings.ContainsFunc(plain, func(r rune) bool {
			return r != '\t' && (unicode.IsControl(r) || invisible(r) && r != '\uFE0F' && r != '\u200D')
		}) {
			t.Fatalf("%q → %q, plain %q", s, out, plain)
		}
	})
}
