// Package partstest builds the parts that tests run.
package partstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gitd-io/gitd/internal/parts"
)

// Shim builds gitd-shim into a folder of its own and makes it the folder of parts for the test.
func Shim(t testing.TB) {
	t.Helper()
	partsOf(t, parts.Shim)
}

// Serving is Shim for a server that answers requests: it has gitd-proxy too.
func Serving(t testing.TB) {
	t.Helper()
	partsOf(t, parts.Shim, parts.Proxy)
}

func partsOf(t testing.TB, names ...string) {
	t.Helper()
	dir := t.TempDir()
	if err := build(dir, names...); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITD_PARTS", dir)
}

// BuildShim builds gitd-shim into a new folder, for a TestMain: it sets GITD_PARTS and returns the folder and what removes it.
// It panics if the build fails. More parts may be named. On a machine without Go, GITD_TEST_PARTS names a folder of parts to take instead.
func BuildShim(more ...string) (dir string, cleanup func()) {
	if dir := os.Getenv("GITD_TEST_PARTS"); dir != "" {
		if err := os.Setenv("GITD_PARTS", dir); err != nil {
			panic(err)
		}
		return dir, func() {}
	}
	dir, err := os.MkdirTemp("", "gitd-parts-")
	if err == nil {
		if err = build(dir, append(more, parts.Shim)...); err == nil {
			err = os.Setenv("GITD_PARTS", dir)
		}
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		panic(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

func build(dir string, names ...string) error {
	args := []string{"build", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}
	for _, name := range names {
		args = append(args, "github.com/gitd-io/gitd/cmd/"+name)
	}
	c := exec.Command("go", args...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build %v: %w\n%s", names, err, out)
	}
	return nil
}
