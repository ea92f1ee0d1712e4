package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// words are those that messages, comments and pages do without: each has a plainer one.
var words = regexp.MustCompile(`(?i)\b(whoever|somebody|anybody|anew|crew|patient|patiently|employ|employs|employed|(give|gives|gave) way|is none of)\b`)

// texts are the ends of the names of files that people read.
var texts = []string{".go", ".md", ".txtar", ".golden", ".toml", ".sh", ".mk", "Makefile"}

// TestWords wants plain words wherever people read: in code, scripts and pages.
func TestWords(t *testing.T) {
	read := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "node_modules" || name == "bin") {
			return filepath.SkipDir
		}
		if !d.Type().IsRegular() || name == "test/house/words_test.go" || !slices.ContainsFunc(texts, func(end string) bool { return strings.HasSuffix(name, end) }) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read++
		for i, line := range strings.Split(string(text), "\n") {
			if w := words.FindString(line); w != "" {
				t.Errorf("%s:%d says %q: say it with a plainer word", name, i+1, w)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read < 500 {
		t.Errorf("%d files were read", read)
	}
}
