package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the pages on events and functions type is typed by a script on a cluster as well: docs_long. What they type on one machine is, by functions and events.
func TestDocs(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(root, "test/e2e/testdata/cluster/docs_long.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	// In the script the app of an example is shop, the namespace that of kubectl, and the key of the caller known.
	plain := strings.NewReplacer("git@HOST ", "", "-n gitd-apps ", "", "notify", "shop")
	redirection := regexp.MustCompile(`^echo .* \| | < \S+$`)
	found := 0
	for _, page := range []string{"events", "functions"} {
		text, err := os.ReadFile(filepath.Join(root, "docs", page+".md"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ ")
			if !ok {
				continue
			}
			found++
			command = plain.Replace(redirection.ReplaceAllString(command, ""))
			if !strings.Contains(string(script), command) {
				t.Errorf("docs/%s.md types %q, and docs_long does not", page, command)
			}
		}
	}
	if found < 10 {
		t.Errorf("%d commands found in the pages", found)
	}
}
