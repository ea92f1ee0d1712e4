package sshd

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string]string{
		"":                          "",
		"  a  b ":                   "a|b",
		"git-receive-pack '/hello'": "git-receive-pack|/hello",
		`x 'it'\''s' 'a'\!'b'`:      "x|it's|a!b",
		`x "a \"b\" \n $c" ''`:      `x|a "b" \n $c|`,
		`a\ b`:                      "a b",
	} {
		got, err := split(line)
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q: %q %v", line, got, err)
		}
	}
	for _, line := range []string{"'a", `"a`, `a\`, "a\x00", strings.Repeat("a ", 200), strings.Repeat("a", 10000)} {
		if got, err := split(line); err == nil {
			t.Errorf("%q: %q", app.Clip(line, 20), got)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"git-receive-pack '/hello'", `a "b\"c" 'd'\''e'`, "'", `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := split(line)
		if err != nil {
			return
		}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		joined := strings.Join(quoted, " ")
		if len(joined) > maxCommand {
			return
		}
		again, err := split(joined)
		if err != nil || strings.Join(again, "\x00") != strings.Join(words, "\x00") || len(again) != len(words) {
			t.Errorf("%q: %q, then %q (%v)", line, words, again, err)
		}
	})
}
