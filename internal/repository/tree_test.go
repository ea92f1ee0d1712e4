package repository

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/gitd-io/gitd/internal/app"
)

func FuzzParseTree(f *testing.F) {
	f.Add([]byte("100644 a\x0012345678901234567890"))
	f.Add([]byte("40000 .git\x0012345678901234567890"))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := parseTree(b)
		for _, e := range entries {
			if !filepath.IsLocal(e.path) || strings.Contains(e.path, "/") || strings.EqualFold(e.path, ".git") {
				t.Errorf("%q got through", e.path)
			}
		}
		_ = err
	})
}

func TestCheckLinks(t *testing.T) {
	for _, c := range []struct {
		name  string
		links map[string]string
		ok    bool
	}{
		{"beside", map[string]string{"a": "b"}, true},
		{"up and down", map[string]string{"a/b/c": "../../x/y"}, true},
		{"to the root", map[string]string{"a/b": ".."}, true},
		{"dangling", map[string]string{"a": "no/such/file"}, true},
		{"loop", map[string]string{"a": "b", "b": "a"}, true},
		{"itself", map[string]string{"a": "a/x"}, true},
		{"absolute", map[string]string{"a": "/x"}, false},
		{"up", map[string]string{"a": "../x"}, false},
		{"up behind a folder", map[string]string{"a": "b/../../x"}, false},
		{"through another", map[string]string{"p/q/r/up": "../../..", "x": "p/q/r/up/.."}, false},
		{"through two others", map[string]string{"p/q/up": "../..", "l": "p/q", "x": "l/up/../etc"}, false},
		{"down through another", map[string]string{"l": "p/q/r", "x": "l/../.."}, true},
	} {
		var entries []entry
		for p, target := range c.links {
			entries = append(entries, entry{path: p, mode: filemode.Symlink, target: target})
		}
		err := checkLinks(entries)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && app.CodeOf(err) != app.CodeInvalidInput {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
