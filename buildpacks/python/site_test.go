package python

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/bptest"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// TestDetectEvidence: a list of packages alone does not make an app one of Python, where other files say what it is.
func TestDetectEvidence(t *testing.T) {
	rails := map[string]string{"Gemfile": "gem 'rails'\n", "config.ru": "run Rails.application\n", "requirements.txt": "mkdocs\n"}
	with := func(base map[string]string, more ...string) map[string]string {
		all := map[string]string{}
		for k, v := range base {
			all[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	php := map[string]string{"composer.json": "{}", "public/index.php": "<?php", "requirements.txt": "fabric\n"}
	flask := "from flask import Flask\napp = Flask(__name__)\n"
	for _, tt := range []struct {
		name   string
		files  map[string]string
		passed bool
	}{
		{"Rails with tools in Python", rails, false},
		{"Rails with a script in Python", with(rails, "scripts/report.py", "import csv\n"), false},
		{"Rails whose Procfile starts it", with(rails, "Procfile", "web: bundle exec puma\n", "app.py", flask), false},
		{"Ruby beside it, the Procfile starts Python", with(rails, "Procfile", "web: gunicorn app:app\n", "app.py", flask), true},
		{"Flask with a Gemfile for its pages", map[string]string{"Gemfile": "gem 'jekyll'\n", "requirements.txt": "flask\n", "app.py": flask}, true},
		{"PHP with tools in Python", php, false},
		{"PHP with a fabfile", with(php, "fabfile.py", "def deploy(): pass\n"), false},
		{"Django with a page of PHP's", with(php, "manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"), true},
		{"a page with tools in Python", map[string]string{"index.html": "x", "requirements.txt": "pre-commit\n"}, false},
		{"a worker with pages of documentation", map[string]string{"docs/index.html": "x", "requirements.txt": "celery\n", "Procfile": "worker: celery -A shop worker\n"}, true},
		{"a shell script that starts it", map[string]string{"public/index.html": "x", "requirements.txt": "gunicorn\n", "Procfile": "web: sh start.sh\n", "start.sh": "exec gunicorn shop:app\n"}, true},
		{"an app that cannot be found beside pages", map[string]string{"requirements.txt": "fastapi\n", "backend/api/main.py": "from fastapi import FastAPI\napp = FastAPI()\n", "public/index.html": "x"}, true},
		{"nothing else", map[string]string{"requirements.txt": "celery\n", "tasks.py": "app = 1\n"}, true},
		{"a page that Streamlit shows", map[string]string{"requirements.txt": "streamlit\n", "Home.py": "import streamlit as st\n", "public/index.html": "x"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := &bytes.Buffer{}
			passed, err := bptest.New(t, catalog.Python).Detect(Buildpack{Out: out}, tt.files)
			if err != nil || passed != tt.passed {
				t.Errorf("passed %v %v, want %v\n%s", passed, err, tt.passed, out)
			}
		})
	}
}

// TestSitePackages: what a configuration names is what is installed.
func TestSitePackages(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"none", "site_name: x\n", ""},
		{"a theme by its name", "theme: readthedocs\n", ""},
		{"Material, its plugins and others", "theme:\n  # ours\n  palette:\n    scheme: slate\n  name: material\nplugins:\n  - search\n  - material/blog:\n      post_dir: x\n      list:\n        - inner\n  - mkdocstrings\n  - \"glightbox\"\n" +
			"markdown_extensions:\n  - admonition\n  - pymdownx.superfences:\n      custom_fences:\n        - name: mermaid\n          format: !!python/name:pymdownx.superfences.fence_code_format\nnav:\n  - index.md\n",
			"mkdocs-material mkdocstrings[python] mkdocs-glightbox pymdown-extensions"},
		{"lists in a line, without indentation, CRLF", "theme: material\r\nplugins: [search, awesome-pages]\r\nmarkdown_extensions:\r\n- toc\r\n- pymdownx.emoji\r\n", "mkdocs-material pymdown-extensions mkdocs-awesome-pages-plugin"},
	} {
		if got := strings.Join(mkdocsPackages(tt.text), " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	r := bptest.New(t, catalog.Python)
	conf := "import sys\nproject = 'x'\nextensions = [\n    'sphinx.ext.autodoc',\n    'myst_parser',\n    \"sphinxcontrib.mermaid\", 'sphinx_copybutton',\n    'ours',\n]\nhtml_theme = 'furo'\n"
	if _, err := r.Detect(Buildpack{Out: &bytes.Buffer{}}, map[string]string{"docs/conf.py": conf, "docs/ours.py": "", ".readthedocs.yaml": "version: 2\npython:\n  install:\n    - requirements: docs/rtd.txt\nsphinx:\n  configuration: docs/conf.py\n", "docs/rtd.txt": ""}); err != nil {
		t.Fatal(err)
	}
	g := generatorOf(r.App)
	if g == nil || !slices.Equal(g.needs, []string{"sphinx", "furo", "myst-parser", "sphinxcontrib-mermaid", "sphinx-copybutton"}) || g.list(r.App) != "docs/rtd.txt" {
		t.Errorf("got %+v", g)
	}
}

// TestSites: sites of MkDocs and of Sphinx are made, and nothing in Python is in their image.
func TestSites(t *testing.T) {
	for _, tt := range []struct {
		name, said string
		files      map[string]string
		page, text string
	}{
		{"MkDocs without a list of packages", "uv pip install mkdocs<2 pymdown-extensions", map[string]string{"mkdocs.yml": "site_name: Ours\nmarkdown_extensions:\n  - pymdownx.tilde\n", "docs/index.md": "# Hello ~~you~~\n", "docs/more.md": "# More\n"}, "more/index.html", "<h1 id=\"more\">More</h1>"},
		{"Sphinx with a list", "uv pip install -r docs/requirements.txt", map[string]string{"docs/conf.py": "project = 'Ours'\n", "docs/index.rst": "Hello\n=====\n", "docs/requirements.txt": "sphinx<9\n"}, "index.html", "<h1>Hello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := &bytes.Buffer{}
			r := bptest.New(t, catalog.Python)
			p := pack(t, out)
			if passed, err := r.Detect(p, tt.files); err != nil || !passed || !IsSite(r.App) {
				t.Fatalf("not found: %v\n%s", err, out)
			}
			built, err := r.Build(p, tt.files)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if page := kit.Text(r.App, SiteFolder, tt.page); !strings.Contains(page, tt.text) || !strings.Contains(out.String(), tt.said) {
				t.Errorf("the page is %q\n%s", page, out)
			}
			for name, l := range built.Metadata {
				if l.Launch {
					t.Errorf("the layer %s is in the image", name)
				}
			}
			out.Reset()
			if _, err := r.Build(p, tt.files); err != nil || !strings.Contains(out.String(), "Using cached dependencies") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
