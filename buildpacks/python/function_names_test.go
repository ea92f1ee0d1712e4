package python

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// stubs stand for the libraries that serve functions: what they are asked to serve is loaded, and called once.
var stubs = map[string]string{
	"functions_framework/__init__.py": "import importlib.util, sys\nclass exceptions:\n    class MissingTargetException(Exception): pass\n    class InvalidTargetTypeException(Exception): pass\n" +
		"def create_app(target, source, signature):\n    sys.path.append('.')\n    spec = importlib.util.spec_from_file_location('main', source)\n    m = importlib.util.module_from_spec(spec)\n    spec.loader.exec_module(m)\n    return getattr(m, target)\n",
	"functions_framework/_http.py": "class create_server:\n    def __init__(self, app, debug): self.app = app\n    def run(self, host, port): print(self.app(None))\n",
	"func_python/__init__.py":      "",
	"func_python/http.py":          "class ASGIApplication:\n    def __init__(self, f): self.f = f\n    def serve(self): print(self.f._f.said)\n",
	"parliament/__init__.py":       "class server:\n    def create(f): return f.main\n",
	"waitress/__init__.py":         "def serve(app, **options): print(app.app(None))\n",
	"awslambdaric/__init__.py":     "",
	"awslambdaric/__main__.py":     "import importlib\ndef main(args):\n    print(getattr(importlib.import_module(args[1].split('.')[0]), args[1].split('.')[1])(None, None))\n",
}

// An app has its own modules under any names: those of the programs that start its function do not hide them.
func TestFunction_OwnCommon(t *testing.T) {
	for _, tt := range []struct{ program, source, args string }{
		{"framework.py", "from common import db\ndef handler(request): return db\n", "--source=handler.py --target=handler --signature=http"},
		{"knative.py", "from common import db\nclass F:\n    said = db\n    def handle(self): pass\ndef new(): return F()\n", "--source=handler.py --target=new --signature=http"},
		{"parliament.py", "from common import db\ndef main(context): return db\n", "--source=handler.py --target=main"},
		{"awslambda.py", "from common import db\ndef handler(event, context): return db\n", "handler.handler"},
	} {
		for own, text := range map[string]string{"common.py": "db = 'mine'\n", "common/__init__.py": "db = 'mine'\n"} {
			t.Run(tt.program+" "+own, func(t *testing.T) {
				layer := bptest.Tree(t, nil)
				if err := fs.WalkDir(functionFiles, "function", func(name string, d fs.DirEntry, err error) error {
					if err != nil || d.IsDir() {
						return err
					}
					data, err := functionFiles.ReadFile(name)
					if err != nil {
						return err
					}
					return os.WriteFile(filepath.Join(layer, filepath.Base(name)), data, 0o644)
				}); err != nil {
					t.Fatal(err)
				}
				files := map[string]string{"handler.py": tt.source, own: text}
				app := bptest.Tree(t, files)
				if err := os.Rename(bptest.Tree(t, stubs), filepath.Join(layer, "packages")); err != nil {
					t.Fatal(err)
				}
				c := exec.Command("python3", append([]string{"-B", filepath.Join(layer, tt.program)}, strings.Fields(tt.args)...)...)
				c.Dir = app
				if out, err := c.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "mine" {
					t.Errorf("%v: %s", err, out)
				}
			})
		}
	}
}
