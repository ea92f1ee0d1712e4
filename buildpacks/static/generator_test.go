package static

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestGeneratorOf: which generator an app is for.
func TestGeneratorOf(t *testing.T) {
	for files, want := range map[string]string{"hugo.toml": "Hugo hugo.toml", "config.toml content/a.md layouts/b": "Hugo config.toml", "config.toml content/a.md templates/b": "", "config.toml": "", "config.toml content/a.md themes/b/c": "Hugo config.toml", "book.toml src/SUMMARY.md": "mdBook book.toml",
		"config/_default/hugo.toml": "Hugo config/_default/hugo.toml"} {
		app := t.TempDir()
		for _, f := range strings.Fields(files) {
			if err := os.MkdirAll(filepath.Join(app, filepath.Dir(f)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(app, f), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got := ""
		if g, f := generatorOf(app); g != nil {
			got = g.name + " " + f
		}
		if got != want {
			t.Errorf("%s: %q, want %q", files, got, want)
		}
	}
}

// TestHugo: a site is made with Debian's Hugo, only that is in the image, and the second build fetches nothing.
func TestHugo(t *testing.T) {
	bptest.Debian(t)
	out := &bytes.Buffer{}
	r := bptest.New(t, catalog.Static)
	files := map[string]string{"hugo.toml": "title = 'Shop'\nbaseURL = 'https://example.org/'\n", "content/a.md": "---\ntitle: A\n---\n# First\n", "config.toml": "title = 'Shop'\nbaseURL = 'https://example.org/'\n",
		"layouts/index.html": "<h1>{{ .Site.Title }}</h1>{{ range .Site.RegularPages }}<a href=\"{{ .RelPermalink }}\">{{ end }}", "layouts/_default/single.html": "{{ .Content }}", "layouts/_default/list.html": "list", "netlify.toml": "[build.environment]\nHUGO_VERSION = '0.91.2'\n"}
	for range 2 {
		out.Reset()
		if _, err := r.Build(New(out), files); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if want := "Warning: netlify.toml asks for Hugo 0.91.2: Debian's takes its place"; !strings.Contains(out.String(), want) {
		t.Errorf("%s is not said: %s", want, out)
	}
	if strings.Contains(out.String(), "Fetching") || !strings.Contains(out.String(), " of Debian") {
		t.Errorf("the second build says %s", out)
	}
	if page := kit.Text(r.App, siteFolder, "index.html"); !strings.Contains(page, "<h1>Shop</h1><a href=/a/>") {
		t.Errorf("the page is %q", page)
	}
	if kit.Exists(r.App, "content") || !r.Reused("config") {
		t.Error("sources are in the image, or the layer of an unchanged site is made again")
	}
	files["content/b.md"] = "{{< nothing >}}"
	if _, err := r.Build(New(out), files); err == nil || !strings.Contains(kit.Line(err), "Hugo failed:") || !strings.Contains(kit.Line(err), "the pages that Hugo 0.91.2 (netlify.toml) makes") {
		t.Errorf("an error: %v", err)
	}
}
