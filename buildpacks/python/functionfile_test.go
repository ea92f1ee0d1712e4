package python

import (
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// TestFunctionFile: an app that is written for Vercel alone is started, and pages that it answers behind stay the app.
func TestFunctionFile(t *testing.T) {
	const made = "from flask import Flask\napp = Flask(__name__)\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"alone":          {map[string]string{"requirements.txt": "flask", "api/index.py": made}, "api.index:app"},
		"behind pages":   {map[string]string{"requirements.txt": "flask", "api/index.py": made, "package.json": `{"scripts":{"build":"next build","start":"next start"},"dependencies":{"next":"15"}}`}, ""},
		"beside another": {map[string]string{"requirements.txt": "flask", "api/index.py": "from flask import Flask\napi = Flask(__name__)\n", "app.py": made}, "app:app"},
	} {
		b := &build{app: bptest.Tree(t, tt.files)}
		if o := b.findApp(); o.name != tt.want {
			t.Errorf("%s: %q, want %q", name, o.name, tt.want)
		}
	}
}
