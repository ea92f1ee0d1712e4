package python

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// portable packs this machine's Python in the layout of python-build-standalone.
func portable(t *testing.T, version string) []byte {
	t.Helper()
	exe, err := filepath.EvalSymlinks(catalog.PythonExe)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	add := func(from, to string) {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: to, Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	add(exe, "python/bin/python"+minor(version))
	lib := "/usr/lib/python" + minor(version)
	err = filepath.WalkDir(lib, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "__pycache__" || d.Name() == "test" || d.Name() == "idlelib" || strings.HasPrefix(d.Name(), "config-")) {
			return fs.SkipDir
		}
		rel, _ := filepath.Rel(lib, path)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			add(path, "python/lib/python"+minor(version)+"/"+rel)
		}
		return nil
	})
	if err != nil || w.Close() != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// mirror serves an archive as uv's list of downloads names it.
func mirror(t *testing.T, version string) (list string, asked *int) {
	t.Helper()
	archive := portable(t, version)
	asked = new(int)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		*asked++
		_, _ = w.Write(archive)
	}))
	t.Cleanup(s.Close)
	sum := sha256.Sum256(archive)
	n := must(numbers(version))
	entry := map[string]any{
		"name": "cpython", "arch": map[string]any{"family": "x86_64", "variant": nil}, "os": "linux", "libc": "gnu", "major": n[0], "minor": n[1], "patch": n[2],
		"prerelease": "", "url": s.URL + "/20250101/cpython-" + version + "%2B20250101-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz", "sha256": hex.EncodeToString(sum[:]), "variant": nil, "build": "20250101",
	}
	data, err := json.Marshal(map[string]any{"cpython-" + version + "-linux-x86_64-gnu": entry})
	if err != nil {
		t.Fatal(err)
	}
	list = filepath.Join(t.TempDir(), "downloads.json")
	if err := os.WriteFile(list, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return list, asked
}

// oldBase is a buildpack whose image has a Python that no app of these tests wants.
func oldBase(t *testing.T, out io.Writer) Buildpack {
	t.Helper()
	p := pack(t, out)
	p.Exe = filepath.Join(t.TempDir(), "python3")
	if err := os.WriteFile(p.Exe, []byte("#!/bin/sh\necho 3.10.1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

// thisPython is the version of this machine's Python.
func thisPython(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(catalog.PythonExe, "-c", "import platform; print(platform.python_version())").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestOtherPython: a Python that the image lacks comes from a mirror, once, into a layer of its own.
func TestOtherPython(t *testing.T) {
	version := thisPython(t)
	list, asked := mirror(t, version)
	out := &bytes.Buffer{}
	p := oldBase(t, out)
	r := bptest.New(t, catalog.Python)
	r.Env["UV_PYTHON_DOWNLOADS_JSON_URL"] = list
	files := map[string]string{"requirements.txt": "six==1.17.0\n", ".python-version": minor(version) + "\n", "main.py": "print('v1')\n"}
	if _, err := r.Build(p, files); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "Python " + version + " (python-build-standalone)"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not said:\n%s", want, out)
	}
	got, err := exec.Command(filepath.Join(r.Layers, "venv/bin/python"), "-c", "import six, sys, platform; print(six.__version__, platform.python_version(), sys.base_prefix)").CombinedOutput()
	if want := "1.17.0 " + version + " " + filepath.Join(r.Layers, "python") + "\n"; err != nil || string(got) != want {
		t.Errorf("%q %v, want %q", got, err, want)
	}
	if kit.Exists(r.Layers, "python/include") || !kit.IsFile(r.Layers, "python/bin/python"+minor(version)) {
		t.Error("the layer is not what runs")
	}
	if pyc := glob(r.Layers, "python/lib/python*/__pycache__/ast.*.pyc"); len(pyc) != 1 {
		t.Errorf("byte code: %v", pyc)
	}
	out.Reset()
	files["main.py"] = "print('v2')\n"
	if _, err := r.Build(p, files); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !r.Reused("python") || !r.Reused("venv") || *asked != 1 {
		t.Errorf("reused: python %v, venv %v; asked %d times\n%s", r.Reused("python"), r.Reused("venv"), *asked, out)
	}
}

// TestPythonNotThere: says what is asked for, where, why it is not there, and what is.
func TestPythonNotThere(t *testing.T) {
	before := debs.System
	debs.System = debs.Paths{}
	t.Cleanup(func() { debs.System = before })
	list, _ := mirror(t, thisPython(t))
	for _, tt := range []struct{ name, asks, url, want string }{
		{"no source has it", "2.7.18", "", ".python-version asks for Python 2.7.18, which no source of Pythons has; ask for Python 3.10 or 3.9, or another one from 3.8 on"},
		{"its host is down", "3.12", "http://127.0.0.1:1", ".python-version asks for Python 3.12, and it comes from 127.0.0.1:1, which refuses connections; ask for Python 3.10 or 3.9, or have the operator name a mirror in UV_PYTHON_INSTALL_MIRROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := &bytes.Buffer{}
			r := bptest.New(t, catalog.Python)
			if tt.url == "" {
				r.Env["UV_PYTHON_DOWNLOADS_JSON_URL"] = list
			}
			r.Env["UV_PYTHON_INSTALL_MIRROR"] = tt.url
			_, err := r.Build(oldBase(t, out), map[string]string{"requirements.txt": "", ".python-version": tt.asks + "\n"})
			if err == nil || kit.Line(err) != tt.want {
				t.Errorf("got %v\nwant %s\n%s", err, tt.want, out)
			}
		})
	}
}

// TestPinOutOfReach: a pin that developers' tools wrote is passed over for the range that the app allows, where its Python cannot be had; without a range it
// does not.
func TestPinOutOfReach(t *testing.T) {
	before := debs.System
	debs.System = debs.Paths{}
	t.Cleanup(func() { debs.System = before })
	for spec, live := range map[string]bool{">=3.9": true, ">=3.99": false, "": false} {
		out := &bytes.Buffer{}
		r := bptest.New(t, catalog.Python)
		r.Env["UV_PYTHON_INSTALL_MIRROR"] = "http://127.0.0.1:1"
		project := "[project]\nname = 'a'\nversion = '1'\ndependencies = []\n"
		if spec != "" {
			project += "requires-python = '" + spec + "'\n"
		}
		_, err := r.Build(pack(t, out), map[string]string{"pyproject.toml": project, ".python-version": "3.12\n", "main.py": "print()\n"})
		want := "Warning: .python-version asks for Python 3.12, and it comes from 127.0.0.1:1, which refuses connections: going on with " + minor(thisPython(t)) + ", which pyproject.toml allows (>=3.9)"
		if (err == nil) != live || live && !strings.Contains(out.String(), want) {
			t.Errorf("%q: %v\n%s", spec, err, out)
		}
	}
}

// TestPythonOfDebian: where uv's host does not answer, an older release of Debian has the Python.
func TestPythonOfDebian(t *testing.T) {
	bptest.Debian(t, "python3", "python3-minimal", "libpython3-stdlib")
	out := &bytes.Buffer{}
	p := oldBase(t, out)
	r := bptest.New(t, catalog.Python)
	r.Env["UV_PYTHON_INSTALL_MIRROR"] = "http://127.0.0.1:1"
	files := map[string]string{"requirements.txt": "six==1.17.0\n", "runtime.txt": "python-3.9.13\r\n", "main.py": "print('v1')\n"}
	if _, err := r.Build(p, files); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := exec.Command(filepath.Join(r.Layers, "venv/bin/python"), "-c", "import six, ssl, sqlite3, ctypes, hashlib, setuptools, sys; print(sys.version_info[:2], sys.base_prefix)")
	env := kit.Env{}
	debs.Environment(filepath.Join(r.Layers, "python")).AddTo(env)
	c.Env = env.List()
	if got, err := c.CombinedOutput(); err != nil || string(got) != "(3, 9) "+filepath.Join(r.Layers, "python/usr")+"\n" {
		t.Errorf("%q %v\n%s", got, err, out)
	}
	out.Reset()
	if _, err := r.Build(p, files); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !r.Reused("python") || !r.Reused("venv") || strings.Contains(out.String(), "install") {
		t.Errorf("reused: python %v, venv %v\n%s", r.Reused("python"), r.Reused("venv"), out)
	}
}
