package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSamples: the list can be read, its patterns are patterns, its names are names of apps.
func TestSamples(t *testing.T) {
	all, err := samples("")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 80 {
		t.Errorf("%d samples, want 80 at least", len(all))
	}
	name := regexp.MustCompile(`^[a-z][a-z0-9-]*[a-z0-9]$`)
	for _, s := range all {
		if !name.MatchString(s.app()) {
			t.Errorf("%s: %q is no name of an app", s.name(), s.app())
		}
		if _, err := regexp.Compile(s.Refused); err != nil {
			t.Errorf("%s: %v", s.name(), err)
		}
	}
}

// TestParts: scripts, styles and images of a page are found; links to other pages are not.
func TestParts(t *testing.T) {
	page := `<link rel="stylesheet" href="/a.css"><link rel="canonical" href="/x"><script type=module src='/b.js?x=1&amp;y=2'></script>
		<a href="/c">c</a><img alt="d" src="d.png"><img src="data:image/png;base64,AA"><img src="d.png">`
	got := parts(page)
	want := []string{"/a.css", "/b.js?x=1&y=2", "d.png"}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}

// TestContinue: a run goes on where the last one ended, and its page has both.
func TestContinue(t *testing.T) {
	dir, list := t.TempDir(), []sample{{Repository: "a/one", Language: "go"}, {Repository: "a/two", Language: "go"}}
	for i, verdict := range []verdict{verdictLive, verdictFailed} {
		k, err := openResults(dir, i > 0)
		if err != nil {
			t.Fatal(err)
		}
		if k.has(&list[0]) != (i > 0) || k.has(&list[1]) {
			t.Errorf("run %d knows %v", i, k.by)
		}
		if err := k.add(io.Discard, result{Name: list[i].name(), Language: "go", Verdict: verdict, Reason: "a | b"}); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := k.summary(io.Discard, list); err == nil || err.Error() != "1 of 2 went live, fewer than 95 %" {
				t.Error(err)
			}
		}
		k.close()
	}
	page, err := os.ReadFile(filepath.Join(dir, "results.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 of 2 live", "| go | 1 | 2 | 0 |", `| a/two | failed | a \| b |`} {
		if !strings.Contains(string(page), want) {
			t.Errorf("%q is not in %s", want, page)
		}
	}
}
