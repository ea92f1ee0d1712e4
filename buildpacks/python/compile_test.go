package python

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestCompileApp: an app is compiled before it starts where that is worth a process.
func TestCompileApp(t *testing.T) {
	for name, tt := range map[string]struct {
		source string
		want   int
	}{
		"little": {"x = 1\n", 0},
		"much":   {strings.Repeat("x = 1\n", littleCode/6+1), 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := &build{Buildpack: pack(t, &bytes.Buffer{}), app: t.TempDir(), env: kit.Env{"PATH": os.Getenv("PATH")}}
			b.exe = b.Exe
			if err := os.WriteFile(filepath.Join(b.app, "app.py"), []byte(tt.source), 0o644); err != nil {
				t.Fatal(err)
			}
			b.compileApp()
			if got := glob(b.app, "__pycache__/app.*.pyc"); len(got) != tt.want {
				t.Errorf("byte code: %v, want %d", got, tt.want)
			}
		})
	}
}
