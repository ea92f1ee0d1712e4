package event

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// slowLike is LIKE step by step, as it is defined.
func slowLike(text, pattern string) bool {
	switch {
	case pattern == "":
		return text == ""
	case pattern[0] == '%':
		return slowLike(text, pattern[1:]) || text != "" && slowLike(text[1:], pattern)
	case text == "":
		return false
	case pattern[0] == '_':
		return slowLike(text[1:], pattern[1:])
	case pattern[0] == '\\' && len(pattern) > 1 && (pattern[1] == '%' || pattern[1] == '_'):
		pattern = pattern[1:]
	}
	return pattern[0] == text[0] && slowLike(text[1:], pattern[1:])
}

func TestLike(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(from string) string {
		b := make([]byte, r.IntN(9))
		for i := range b {
			b[i] = from[r.IntN(len(from))]
		}
		return string(b)
	}
	for range 200_000 {
		text, pattern := draw(`aab%_\`), draw(`aab%%_\`)
		got, err := evaluate(&Event{}).like(text, parsePattern(pattern))
		if want := slowLike(text, pattern); got != want || err != nil {
			t.Fatalf("%q LIKE %q: %v %v, want %v", text, pattern, got, err, want)
		}
	}
}

// costly are expressions that would take very long, if they could.
func costly() []string {
	many := func(n int, one string) string { return strings.Repeat(one+",", n) + one }
	long := strings.Repeat("a", 2200)
	return []string{
		"CONCAT(" + many(800, "a") + ") LIKE '%" + long + "b'",
		"CONCAT(" + many(800, "a") + ") LIKE '%" + long + "b%'",
		"CONCAT(" + many(50, "a") + ") LIKE '%" + long + "_b%'",
		"a LIKE '%" + strings.Repeat("a_", 1900) + "b%'",
		"a LIKE '" + strings.Repeat("%a", 1000) + strings.Repeat("%_", 900) + "b%'",
		"CONCAT_WS(" + many(1900, "a") + ") = ''",
		"CONCAT_WS(CONCAT(a,a,a,a,a,a,a,a)," + many(1900, "n") + ") = ''",
		strings.Repeat("CONCAT(a,a,", 40) + "a" + strings.Repeat(")", 40) + " = ''",
		"UPPER(a) IN (" + many(400, "LOWER(a)") + ")",
	}
}

func costlyEvent() *Event {
	return &Event{ID: "1", Source: "s", Type: "t", Extensions: map[string]string{"a": strings.Repeat("a", maxValue), "n": "1"}}
}

// The filters of a trigger end soon, whatever they are; an event that takes them too much work does not pass, within not as well.
func TestCESQL_Work(t *testing.T) {
	for _, text := range costly() {
		one := Filter{CESQL: text}
		for _, f := range [][]Filter{{one}, {{Not: &one}}, {{Any: []Filter{one, one, {Not: &one}}}}} {
			passes, err := Compile(f)
			if err != nil {
				t.Fatalf("%.60s: %v", text, err)
			}
			began := time.Now()
			passes(costlyEvent())
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("%.60s takes %s", text, took)
			}
		}
	}
	one := Filter{CESQL: costly()[0]}
	for _, f := range []Filter{one, {Not: &one}, {Any: []Filter{{Not: &one}}}} {
		passes, err := Compile([]Filter{f})
		if err != nil || passes(costlyEvent()) {
			t.Errorf("%.60v passes, or %v", f, err)
		}
	}
	for text, want := range map[string]bool{ // what is long, and does not take much
		"a LIKE '%" + strings.Repeat("a", 2200) + "'":   true,
		"a LIKE '%" + strings.Repeat("a_%", 1000) + "'": true,
		"CONCAT(a,a,a,a,a,a,a,a) LIKE '%ab%'":           false,
	} {
		passes, err := Compile([]Filter{{CESQL: text}})
		if err != nil {
			t.Fatal(err)
		}
		if passes(costlyEvent()) != want {
			t.Errorf("%.60s: it is %v", text, !want)
		}
	}
}
