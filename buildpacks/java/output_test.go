package java

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestClear: what the build wrote and the app does not need goes; folders of other tools, and what a Procfile may name, stay.
func TestClear(t *testing.T) {
	files := []string{"pom.xml", "src/a", "target/app.jar", "target/classes/A.class", "build/logo.png", "web/pom.xml", "web/target/web.jar", "web/src/b"}
	for _, withProcfile := range []bool{false, true} {
		b := &build{app: t.TempDir(), source: source{tool: maven}}
		if withProcfile {
			files = append(files, "Procfile")
		}
		for _, f := range files {
			path := filepath.Join(b.app, f)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.clear("target/app.jar"); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			gone := !withProcfile && slices.Contains([]string{"target/classes/A.class", "web/target/web.jar"}, f)
			if kit.Exists(b.app, f) == gone {
				t.Errorf("Procfile %v: %s: gone is %v, want %v", withProcfile, f, !gone, gone)
			}
		}
	}
}
