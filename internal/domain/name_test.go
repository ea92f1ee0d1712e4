package domain

import (
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

func TestParseName(t *testing.T) {
	label := strings.Repeat("a", 61)
	long := strings.Join([]string{label, label, label, label}, ".") // 247
	for in, want := range map[string]string{
		"example.com":          "example.com",
		"Shop.EXAMPLE.com.":    "shop.example.com",
		"*.Example.com":        "*.example.com",
		"bücher.example":       "xn--bcher-kva.example",
		"BÜCHER.example":       "xn--bcher-kva.example",
		"bu\u0308cher.example": "xn--bcher-kva.example",
		"例え。テスト":               "xn--r8jz45g.xn--zckzah",
		"straße.de":            "xn--strae-oqa.de",
		"a-b.example":          "a-b.example",
		long + ".ab.de":        long + ".ab.de", // 253
	} {
		if got, err := ParseName(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for in, why := range map[string]string{
		"": "labels", "localhost": "one label", "a..b": "labels", ".example.com": "labels", "-a.example": "labels", "a_b.example": "labels", "a b.example": "labels",
		"http://example.com": "labels", "example.com/x": "labels", "example.com:80": "labels", "*.com": "one label", "*": "labels", "a.*.example.com": "labels", "**.example.com": "labels",
		"192.0.2.1": "IP address", "192.0.2.1.": "IP address", "[2001:db8::1]": "IP address", "::1": "IP address", "1.2.3": "number", "0x7f.1": "number",
		strings.Repeat("a", 64) + ".example": "labels", long + ".abc.de": "longer than 253", "*." + long + ".a.de": "longer than 253", strings.Repeat("a.", 5000): "longer than 253",
		"xn--zzzzzzzzz99999.example": "labels", "a\x00b.example": "labels", "a\u202eb.example": "labels", "\x1b[31m.example": "labels",
	} {
		got, err := ParseName(in)
		if app.CodeOf(err) != app.CodeInvalidName || !strings.Contains(err.Error(), why) || app.Plain(err.Error()) != err.Error() {
			t.Errorf("%q: %q, %v; want an error with %q", in, got, err, why)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("Bücher.example.")
	f.Add("*.example.com")
	f.Fuzz(func(t *testing.T, s string) {
		name, err := ParseName(s)
		if err != nil {
			return
		}
		again, err := ParseName(name)
		if err != nil || again != name || len(name) > maxLength || strings.ToLower(name) != name {
			t.Errorf("%q → %q → %q, %v", s, name, again, err)
		}
	})
}

func TestAncestors(t *testing.T) {
	for name, want := range map[string]string{
		"example.com":     "",
		"a.example.com":   "example.com *.example.com",
		"*.example.com":   "example.com",
		"*.b.example.com": "b.example.com example.com *.example.com",
	} {
		if got := Ancestors(name); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
