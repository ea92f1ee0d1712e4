package python

import (
	"testing"

	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
)

// TestStartFolder: an app object in a folder gets the name that the imports of its file go by, and runs where they work.
func TestStartFolder(t *testing.T) {
	const made = "from fastapi import FastAPI\napp = FastAPI()\n"
	for name, tt := range map[string]struct {
		files     map[string]string
		want, dir string
	}{
		"src, from within":           {map[string]string{"src/main.py": "from db import x\n" + made, "src/db.py": ""}, "main:app", ""},
		"src, which is a package":    {map[string]string{"src/__init__.py": "", "src/main.py": "from src.db import x\n" + made, "src/db.py": ""}, "src.main:app", ""},
		"src, a package from within": {map[string]string{"src/__init__.py": "", "src/main.py": "import db\n" + made, "src/db.py": ""}, "main:app", "src"},
		"src, relative":              {map[string]string{"src/main.py": "from .db import x\n" + made, "src/db.py": ""}, "src.main:app", ""},
		"a package":                  {map[string]string{"app/__init__.py": "", "app/main.py": "from app.db import x\n" + made, "app/db.py": ""}, "app.main:app", ""},
		"a package, relative":        {map[string]string{"app/main.py": "from .db import x\n" + made, "app/db.py": ""}, "app.main:app", ""},
		"a folder, from within":      {map[string]string{"app/main.py": "from db import x\n" + made, "app/db.py": ""}, "main:app", "app"},
		"another one":                {map[string]string{"backend/main.py": "from routers import x\n" + made, "backend/routers/a.py": ""}, "main:app", "backend"},
		"a package of the language":  {map[string]string{"app/main.py": "import json\n" + made, "app/db.py": ""}, "app.main:app", ""},
		"at the root":                {map[string]string{"main.py": "from db import x\n" + made, "db.py": ""}, "main:app", ""},
	} {
		b := &build{app: bptest.Tree(t, tt.files)}
		if o := b.findApp(); o.name != tt.want || o.dir != tt.dir {
			t.Errorf("%s: %s in %q, want %s in %q", name, o.name, o.dir, tt.want, tt.dir)
		}
	}
}
