package python

import (
	"archive/zip"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/debs"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// wheel writes a wheel for one Python alone, and returns its folder.
func wheel(t *testing.T, name, tags string) string {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, name+"-1.0-"+tags+".whl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	info := name + "-1.0.dist-info/"
	for file, text := range map[string]string{name + ".py": "", info + "METADATA": "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n",
		info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: " + tags + "\n", info + "RECORD": name + ".py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n"} {
		w, err := z.Create(file)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestOlderPython: pinned packages that are older than the image's Python get the newest one that they have wheels for, and keep it; a package
// that is compiled there gets that Python's headers.
func TestOlderPython(t *testing.T) {
	bptest.Debian(t, "python3", "python3-minimal", "libpython3-stdlib", "libexpat1-dev", "zlib1g-dev")
	out := &bytes.Buffer{}
	p := pack(t, out)
	r := bptest.New(t, catalog.Python)
	r.Env["UV_PYTHON_INSTALL_MIRROR"] = "http://127.0.0.1:1"
	r.Env["PIP_FIND_LINKS"] = wheel(t, "aged", "cp39-cp39-manylinux2014_"+map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH])
	files := map[string]string{"requirements.txt": "aged==1.0\n./ext\n", "main.py": "print('v1')\n",
		"ext/setup.py": "from setuptools import setup, Extension\nsetup(name='ext', version='1', ext_modules=[Extension('ext', ['ext.c'])])\n",
		"ext/ext.c":    "#include <Python.h>\nstatic struct PyModuleDef m = {PyModuleDef_HEAD_INIT, \"ext\", 0, -1, 0};\nPyMODINIT_FUNC PyInit_ext(void) { return PyModule_Create(&m); }\n"}
	if _, err := r.Build(p, files); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "aged==1.0 has no wheel for Python " + minor(thisPython(t)) + ": going on with Python 3.9"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not said:\n%s", want, out)
	}
	c := exec.Command(filepath.Join(r.Layers, "venv/bin/python"), "-c", "import aged, ext, sys; print(sys.version_info[:2], ext.__name__)")
	env := kit.Env{}
	debs.Environment(filepath.Join(r.Layers, "python")).AddTo(env)
	c.Env = env.List()
	if got, err := c.CombinedOutput(); err != nil || string(got) != "(3, 9) ext\n" {
		t.Errorf("%q %v\n%s", got, err, out)
	}
	if kit.Exists(r.Layers, "python/usr/include") {
		t.Error("headers are in the image")
	}
	out.Reset()
	if _, err := r.Build(p, files); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !r.Reused("python") || !r.Reused("venv") || !strings.Contains(out.String(), "which the app's packages are for") {
		t.Errorf("reused: python %v, venv %v\n%s", r.Reused("python"), r.Reused("venv"), out)
	}
	// Where the app asks for this Python, there is no other way.
	out.Reset()
	files[".python-version"] = minor(thisPython(t)) + "\n"
	if _, err := r.Build(p, files); err == nil || !strings.Contains(kit.Line(err), "aged==1.0") {
		t.Errorf("got %v\n%s", err, out)
	}
}
