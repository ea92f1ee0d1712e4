package python

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/internal/build/builder/recipe"
)

// fetchUV brings the builder's uv onto this machine, once.
var fetchUV = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	tool := recipe.Toolchains[runtime.GOARCH].UV
	dir := filepath.Join(cache, "gitd-test", "uv-"+tool.Version)
	exe := filepath.Join(dir, "bin", "uv")
	if _, err := os.Stat(exe); err == nil {
		return exe, nil
	}
	part, err := os.MkdirTemp(cache, "gitd-test-uv-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part)
	list := filepath.Join(part, "list.txt")
	if err := os.WriteFile(list, []byte("uv=="+tool.Version+" --hash=sha256:"+tool.SHA256+"\n"), 0o644); err != nil {
		return "", err
	}
	c := exec.Command(catalog.PythonExe, "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "--target", filepath.Join(part, "uv"), "-r", list)
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(part, "uv"), dir); err != nil && !os.IsExist(err) {
		if _, there := os.Stat(exe); there != nil { // another test was not faster
			return "", err
		}
	}
	return exe, nil
})

// pack is the buildpack with this machine's Python and the builder's uv.
func pack(t testing.TB, out io.Writer) Buildpack {
	t.Helper()
	uv, err := fetchUV()
	if err != nil {
		t.Fatal(err)
	}
	return Buildpack{Exe: catalog.PythonExe, UV: uv, Out: out}
}

// buildError builds the files and returns how that fails.
func buildError(t *testing.T, files map[string]string) error {
	t.Helper()
	out := &bytes.Buffer{}
	_, err := bptest.New(t, catalog.Python).Build(pack(t, out), files)
	t.Logf("%s", out)
	return err
}
