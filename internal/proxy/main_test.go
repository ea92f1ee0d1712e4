package proxy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/parts"
	"github.com/gitd-io/gitd/internal/parts/partstest"
)

func TestMain(m *testing.M) {
	_, cleanup := partstest.BuildShim(parts.Proxy)
	code := m.Run()
	cleanup()
	os.Exit(code)
}

// serving gives a test a program of the proxy of its own, which it may take for another build.
func serving(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(os.Getenv("GITD_PARTS"), parts.Proxy))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, parts.Proxy), b, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITD_PARTS", dir)
}
