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

// TestAway: a host that a build needs and that has no address here is found in what the push says.
func TestAway(t *testing.T) {
	for said, want := range map[string]string{
		"remote: .NET cannot be had: builds.dotnet.microsoft.com cannot be reached: its name is not known; let builds":                            "builds.dotnet.microsoft.com",
		"Gradle cannot be fetched from services.gradle.org: its name is not known; check that builds reach it":                                    "services.gradle.org",
		"Execution error (UnknownHostException) at java.net.Inet6AddressImpl/lookup (Inet.java:-2).\nrepo.clojars.org: Name or service not known": "repo.clojars.org",
		"io.pedestal:pedestal.service:jar:0.5.10 was not found, and repo.clojars.org cannot be reached; check that builds reach it":               "repo.clojars.org",
		"error: getaddrinfo ENOTFOUND fonts.googleapis.com":                                                                                       "fonts.googleapis.com",
		"it comes from github.com, which has no address (DNS)":                                                                                    "github.com",
		"Unknown host at line 3":                          "",
		"the app exited with status 1 before it answered": "",
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(said); err != nil {
			t.Fatal(err)
		}
		if got := (&trial{log: f}).away(); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}
