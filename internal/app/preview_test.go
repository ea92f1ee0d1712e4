package app

import (
	"strings"
	"testing"
)

func TestPreviewName(t *testing.T) {
	long := strings.Repeat("a", MaxNameLength)
	for _, c := range []struct {
		app, branch string
		unique      bool
		want        string
	}{
		{"hello", "feature/x", false, "feature-x--hello"},
		{"hello", "feature-x", false, "feature-x--hello"},
		{"hello", "feature-x", true, "feature-x-c791eb--hello"},
		{"hello", "Fix/UPPER_case--twice..", false, "fix-upper-case-twice--hello"},
		{"hello", "größe/änderung", false, "gro-e-anderung--hello"},
		{"hello", "123", false, "b-123--hello"},
		{"hello", "日本語", false, "b-77710a--hello"},
		{"hello", "green", false, "green--hello"},
		{"hello", strings.Repeat("long/", 30), false, ""},
		{long, "feature/something", false, ""},
		{long, "日本語", false, "b-77710a--" + long},
		{long, "x", true, "x-2d7116--" + long},
	} {
		got := PreviewName(c.app, c.branch, c.unique)
		if n, err := ParseName(got); err != nil || n != got {
			t.Errorf("%q of %q: %q is no name: %v", c.branch, c.app, got, err)
		}
		if c.want != "" && got != c.want || !strings.HasSuffix(got, PreviewMark+c.app) {
			t.Errorf("%q of %q: %q, not %q", c.branch, c.app, got, c.want)
		}
		if revision := RevisionName(got, 12345678); len(revision) > 63 || len("green-"+got) > 63 {
			t.Errorf("%q is too long for a DNS label", revision)
		}
	}
	if a, b := PreviewName(long, "feature/something", false), PreviewName(long, "feature/something-else", false); a == b {
		t.Errorf("two branches are called %q", a)
	}
}

func TestCheckBranch(t *testing.T) {
	for branch, ok := range map[string]bool{
		"feature/x": true, "größe": true, "日本語": true, "a.b": true, "v2": true, "green": true, "x@y": true, strings.Repeat("x", 200): true,
		"": false, "a..b": false, "../x": false, "a/../b": false, "a/.b": false, "/a": false, "a/": false, "a//b": false, "a.lock": false, "a.lock/b": false,
		"a b": false, "a~b": false, "a^b": false, "a:b": false, "a?": false, "a*": false, "a[b": false, `a\b`: false, "a\x1b[31m": false, "a\tb": false, "\xff": false,
		"a\u202eb": false, "@": false, "a@{1}": false, "a.": false, "main": false, "main/x": false, "master": false, "master/x": false, "mainline": true, strings.Repeat("x", 201): false,
	} {
		if err := CheckBranch(branch); (err == nil) != ok || err != nil && CodeOf(err) != CodeInvalidName {
			t.Errorf("%q: %v", branch, err)
		}
	}
}

func FuzzPreviewName(f *testing.F) {
	f.Add("hello", "feature/x")
	f.Fuzz(func(t *testing.T, name, branch string) {
		if n, err := ParseName(name); err != nil || n != name || len(name) > MaxNameLength || CheckBranch(branch) != nil {
			return
		}
		for _, unique := range []bool{false, true} {
			got := PreviewName(name, branch, unique)
			if n, err := ParseName(got); err != nil || n != got {
				t.Errorf("%q of %q: %q: %v", branch, name, got, err)
			}
		}
	})
}
