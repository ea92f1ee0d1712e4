package python

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// TestLeaveOut: what "pip freeze" lists on Windows has packages that are for Windows alone: the app does without them.
func TestLeaveOut(t *testing.T) {
	out := &bytes.Buffer{}
	p := pack(t, out)
	r := bptest.New(t, catalog.Python)
	r.Env["PIP_FIND_LINKS"] = wheel(t, "onlywindows", "py3-none-win_amd64")
	files := map[string]string{"requirements.txt": "itsdangerous==2.2.0\nonlywindows==1.0\npywin32==306\n", "main.py": "print('v1')\n"}
	if _, err := r.Build(p, files); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, pkg := range []string{"onlywindows==1.0", "pywin32==306"} {
		if want := "Warning: " + pkg + " is for another system alone"; !strings.Contains(out.String(), want) {
			t.Errorf("%q is not said:\n%s", want, out)
		}
	}
	if len(glob(r.Layers, "venv/lib/python*/site-packages/itsdangerous")) != 1 {
		t.Error("the other packages are not there")
	}
}
