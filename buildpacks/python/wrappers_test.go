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
				layer := wrappers(t)
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

// wrappers is a folder with the programs that start functions.
func wrappers(t *testing.T) string {
	t.Helper()
	layer := t.TempDir()
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
	return layer
}

const readEvents = `
import asyncio, io
import _gitd_common as common

async def ask(sizes):
    messages = [{"type": "http.request", "body": b"x" * n, "more_body": i < len(sizes) - 1} for i, n in enumerate(sizes)] + [{"type": "http.disconnect"}]
    sent = []
    async def receive(): return messages.pop(0)
    async def send(m): sent.append(m)
    again = await common.bounded(receive, send)
    if again is None: return sent[0]["status"]
    first, second = await again(), await again()
    return len(first["body"]), first["more_body"], second["type"]

for sizes in [0], [1, 2], [common.MAX_EVENT], [common.MAX_EVENT, 1]:
    print(asyncio.run(ask(sizes)))

def whole(environ, start):
    return len(environ["wsgi.input"].read())

def wsgi(n, **environ):
    status = []
    answer = common.WithoutBatches(whole)({"wsgi.input": io.BytesIO(b"x" * n), **environ}, lambda s, headers: status.append(s))
    return status[0] if status else answer

for n in 1, common.MAX_EVENT, common.MAX_EVENT + 1:
    print(wsgi(n, CONTENT_LENGTH=str(n)), wsgi(n, **{"wsgi.input_terminated": True}))
`

// An event that is too large for memory is answered with 413, and another one is read once.
func TestFunction_Bounded(t *testing.T) {
	c := exec.Command("python3", "-B", "-c", readEvents)
	c.Dir = wrappers(t)
	const want = "(0, False, 'http.disconnect')\n(3, False, 'http.disconnect')\n(10485760, False, 'http.disconnect')\n413\n1 1\n10485760 10485760\n413 Content Too Large 413 Content Too Large\n"
	if out, err := c.CombinedOutput(); err != nil || string(out) != want {
		t.Errorf("%v: %s", err, out)
	}
}
