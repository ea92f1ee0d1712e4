package static

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/buildpacks/libcnb"
)

// TestRootOf: the folder that a build script has made is found, wherever its tool puts it.
func TestRootOf(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"Vite":                          {map[string]string{"package.json": "{}", "index.html": "", "src/a.js": "", "dist/index.html": ""}, "dist"},
		"Angular":                       {map[string]string{"dist/shop/browser/index.html": ""}, "dist/shop/browser"},
		"webpack":                       {map[string]string{"package.json": "{}", "index.html": `<script src="dist/main.js"></script>`, "src/a.js": "", "dist/main.js": ""}, "."},
		"VitePress in docs":             {map[string]string{"docs/.vitepress/dist/index.html": ""}, "docs/.vitepress/dist"},
		"VuePress":                      {map[string]string{"src/.vuepress/dist/index.html": ""}, "src/.vuepress/dist"},
		"Stencil":                       {map[string]string{"www/index.html": "", "src/index.html": ""}, "www"},
		"Nx":                            {map[string]string{"dist/apps/web/index.html": "", "apps/web/index.html": ""}, "dist/apps/web"},
		"a folder of another name":      {map[string]string{"__sapper__/export/index.html": ""}, "__sapper__/export"},
		"Staticfile without a folder":   {map[string]string{"Staticfile": "index_fallback: false", "dist/index.html": "", "src/a.js": ""}, "dist"},
		"Staticfile with a folder":      {map[string]string{"Staticfile": "root: web", "web/index.html": "", "dist/index.html": ""}, "web"},
		"one of several members":        {map[string]string{"apps/docs/dist/index.html": "", "apps/docs/package.json": "{}", "apps/web/dist/index.html": "", "apps/web/package.json": "{}"}, "apps/web/dist"},
		"a member of a workspace alone": {map[string]string{"apps/web/dist/index.html": "", "apps/web/index.html": "", "apps/web/vite.config.ts": "", "apps/web/package.json": "{}"}, "apps/web/dist"},
	} {
		app := t.TempDir()
		for file, text := range tt.files {
			file = filepath.Join(app, file)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		set, err := readSettings(app)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := Buildpack{}.rootOf(contextOf(app), nil, nil, set, true)
		if err != nil || got != tt.want {
			t.Errorf("%s: %q %v, want %q", name, got, err, tt.want)
		}
	}
}

// contextOf is the build of an app, as far as the choice of its folder needs it.
func contextOf(app string) (ctx libcnb.BuildContext) {
	ctx.Application.Path = app
	return ctx
}
