package python

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

// SiteFolder is where a generator in Python writes the site: no app has a folder of that name.
const SiteFolder = ".gitd-site"

// generator is a program in Python that makes a site of the app's files.
type generator struct {
	name   string   // for people
	pkg    string   // what must be installed
	needs  []string // what is installed where no file lists packages
	config string   // the file that says so, below the app
	lists  []string // files of requirements, the first that is there counts
	args   []string // after python -m
}

// IsSite tells whether the app is one of pages that a program in Python writes.
func IsSite(app string) bool {
	s, err := findSource(app)
	return err == nil && s.kind != "" && siteOf(app, s) != nil
}

// siteOf finds the generator of an app that has nothing else to serve.
func siteOf(app string, s source) *generator {
	g := generatorOf(app)
	if g == nil || starts(app, s) != "" || serves(app, s) {
		return nil
	}
	return g
}

func generatorOf(app string) *generator {
	if kit.IsFile(app, "index.html") || kit.IsFile(app, "public", "index.html") || kit.OtherLanguage(app).Name != "" || kit.IsFile(app, "config.ru") {
		return nil
	}
	read := readTheDocs(app)
	for _, f := range []string{"mkdocs.yml", "mkdocs.yaml", read.mkdocs, "docs/mkdocs.yml"} {
		if f != "" && kit.IsFile(app, f) {
			return mkDocs(app, f, read)
		}
	}
	for _, f := range []string{read.sphinx, "docs/conf.py", "docs/source/conf.py", "doc/conf.py", "doc/source/conf.py", "source/conf.py", "conf.py"} {
		if f != "" && kit.IsFile(app, f) && sphinxConfig.MatchString(kit.Text(app, f)) {
			return sphinx(app, f, read)
		}
	}
	return nil
}

// readDocs is what the file of Read the Docs says.
type readDocs struct{ mkdocs, sphinx, requirements string }

var (
	rtdSection = pattern.New(`(?m)^(mkdocs|sphinx):\s*\n((?:[ \t]+[^\n]*\n?)+)`)
	rtdConfig  = pattern.New(`(?m)^\s+configuration:\s*["']?([^\s"'#]+)`)
	rtdList    = pattern.New(`(?m)^\s+(?:-\s+)?requirements:\s*["']?([^\s"'#]+)`)
)

func readTheDocs(app string) (r readDocs) {
	for _, f := range []string{".readthedocs.yaml", ".readthedocs.yml", "readthedocs.yml"} {
		text := unix(kit.Text(app, f)) + "\n"
		for _, m := range rtdSection.FindAllStringSubmatch(text, -1) {
			c := rtdConfig.FindStringSubmatch(m[2])
			if c == nil || !filepath.IsLocal(c[1]) {
				continue
			}
			if m[1] == "mkdocs" {
				r.mkdocs = c[1]
			} else {
				r.sphinx = c[1]
			}
		}
		if m := rtdList.FindStringSubmatch(text); m != nil && filepath.IsLocal(m[1]) {
			r.requirements = m[1]
		}
	}
	return r
}

// mkDocs is the generator of a site of MkDocs'.
func mkDocs(app, config string, read readDocs) *generator {
	return &generator{name: "MkDocs site", pkg: "mkdocs", needs: append([]string{"mkdocs<2"}, mkdocsPackages(kit.Text(app, config))...), config: config,
		lists: []string{read.requirements, "docs/requirements.txt", "requirements-docs.txt", "docs-requirements.txt", "requirements/docs.txt", "mkdocs-requirements.txt"},
		args:  []string{"mkdocs", "build", "--quiet", "--config-file", config, "--site-dir", "%SITE%"}}
}

var (
	mkTheme   = pattern.New(`(?m)^theme:[ \t]*["']?([\w-]+)["']?[ \t]*(?:#.*)?$|^theme:[^\n]*\n(?:[ \t]+[^\n]*\n|[ \t]*#[^\n]*\n|[ \t]*\n)*?[ \t]+name:[ \t]*["']?([\w-]+)`)
	mkList    = pattern.New(`(?m)^(plugins|markdown_extensions):[ \t]*(?:#[^\n]*)?\n((?:[ \t]*-[^\n]*\n?|[ \t]+[^\n]*\n?|[ \t]*#[^\n]*\n?|[ \t]*\n)+)`)
	mkItem    = pattern.New(`(?m)^[ \t]*-[ \t]+["']?([\w./-]+)`)
	mkInline  = pattern.New(`(?m)^(plugins|markdown_extensions):[ \t]*\[([^\]]*)\]`)
	mkBuiltIn = []string{"search", "blog", "tags", "social", "privacy", "offline", "optimize", "meta", "group", "info", "projects", "typeset"}
	mkThemes  = map[string]string{"material": "mkdocs-material", "readthedocs": "", "mkdocs": "", "null": ""}
	mkPlugins = map[string]string{"mkdocstrings": "mkdocstrings[python]", "awesome-pages": "mkdocs-awesome-pages-plugin", "awesome-nav": "mkdocs-awesome-nav", "macros": "mkdocs-macros-plugin", "minify": "mkdocs-minify-plugin",
		"git-revision-date-localized": "mkdocs-git-revision-date-localized-plugin", "git-revision-date": "mkdocs-git-revision-date-plugin", "git-authors": "mkdocs-git-authors-plugin", "git-committers": "mkdocs-git-committers-plugin-2",
		"rss": "mkdocs-rss-plugin", "i18n": "mkdocs-static-i18n", "mermaid2": "mkdocs-mermaid2-plugin", "include-markdown": "mkdocs-include-markdown-plugin", "table-reader": "mkdocs-table-reader-plugin",
		"print-site": "mkdocs-print-site-plugin", "exclude-search": "mkdocs-exclude-search", "monorepo": "mkdocs-monorepo-plugin", "swagger-ui-tag": "mkdocs-swagger-ui-tag", "markdownextradata": "mkdocs-markdownextradata-plugin", "img2fig": "mkdocs-img2fig-plugin"}
	mkMarkdowns = map[string]string{"pymdownx": "pymdown-extensions", "markdown_include": "markdown-include", "mdx_math": "python-markdown-math", "mdx_include": "mdx-include", "mdx_truly_sane_lists": "mdx-truly-sane-lists", "markdown_grid_tables": "markdown-grid-tables", "mdx_gh_links": "mdx-gh-links"}
)

// unix is a text with the line ends of Unix.
func unix(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// mkdocsPackages are the packages that a configuration of MkDocs names by its theme, its plugins and its extensions of Markdown. The file is not one of
// plain YAML: tags of Python's are in many.
func mkdocsPackages(text string) (found []string) {
	text = unix(text) + "\n"
	add := func(pkg string) {
		if pkg != "" && !slices.Contains(found, pkg) {
			found = append(found, pkg)
		}
	}
	if m := mkTheme.FindStringSubmatch(text); m != nil {
		name := m[1] + m[2]
		if pkg, known := mkThemes[name]; known {
			add(pkg)
		} else {
			add("mkdocs-" + strings.TrimPrefix(name, "mkdocs-"))
		}
	}
	item := func(list, name string) {
		if list == "markdown_extensions" {
			top, _, _ := strings.Cut(name, ".")
			add(mkMarkdowns[top])
			return
		}
		name = name[strings.LastIndex(name, "/")+1:] // material/blog
		if pkg, known := mkPlugins[name]; known {
			add(pkg)
		} else if !slices.Contains(mkBuiltIn, name) {
			add("mkdocs-" + strings.TrimPrefix(name, "mkdocs-"))
		}
	}
	for _, m := range mkList.FindAllStringSubmatch(text, -1) {
		indent := -1
		for _, i := range mkItem.FindAllStringSubmatch(m[2], -1) {
			n := strings.Index(i[0], "-")
			if indent < 0 {
				indent = n
			}
			if n == indent { // deeper lists are options
				item(m[1], i[1])
			}
		}
	}
	for _, m := range mkInline.FindAllStringSubmatch(text, -1) {
		for n := range strings.SplitSeq(m[2], ",") {
			if n = strings.Trim(n, " \t\"'{}"); n != "" {
				item(m[1], n)
			}
		}
	}
	return found
}

var (
	sphinxConfig     = pattern.New(`(?m)^\s*(?:extensions|html_theme|project|master_doc|root_doc)\s*=`)
	sphinxTheme      = pattern.New(`(?m)^html_theme\s*=\s*["']([\w.-]+)["']`)
	sphinxExtensions = pattern.New(`(?ms)^extensions\s*\+?=\s*[\[(](.*?)^?\s*[\])]`)
	quoted           = pattern.New(`["']([\w.]+)["']`)
	sphinxBuiltIn    = []string{"alabaster", "classic", "sphinxdoc", "scrolls", "agogo", "traditional", "nature", "haiku", "pyramid", "bizstyle", "epub", "basic", "default"}
	sphinxPackages   = map[string]string{"sphinx_rtd_theme": "sphinx-rtd-theme", "autoapi": "sphinx-autoapi", "notfound": "sphinx-notfound-page", "m2r2": "m2r2", "hoverxref": "sphinx-hoverxref", "click": "sphinx-click", "press": "sphinx-press-theme"}
)

// sphinx is the generator of a site of Sphinx's.
func sphinx(app, config string, read readDocs) *generator {
	dir := filepath.Dir(config)
	text := unix(kit.Text(app, config))
	needs := []string{"sphinx"}
	add := func(module string) {
		top, _, _ := strings.Cut(module, ".")
		pkg := strings.ReplaceAll(top, "_", "-")
		switch {
		case sphinxPackages[top] != "":
			pkg = sphinxPackages[top]
		case top == "sphinxcontrib" || top == "sphinxext":
			pkg = strings.ReplaceAll(strings.ReplaceAll(module, ".", "-"), "_", "-")
		case top == "sphinx", kit.IsFile(app, dir, top+".py"), kit.IsDir(app, dir, top), kit.IsDir(app, top), kit.IsFile(app, dir, "_ext", top+".py"), kit.IsFile(app, dir, "ext", top+".py"):
			return
		}
		if !slices.Contains(needs, pkg) {
			needs = append(needs, pkg)
		}
	}
	if m := sphinxTheme.FindStringSubmatch(text); m != nil && !slices.Contains(sphinxBuiltIn, m[1]) {
		add(m[1])
	}
	if m := sphinxExtensions.FindStringSubmatch(text); m != nil {
		for _, q := range quoted.FindAllStringSubmatch(m[1], -1) {
			add(q[1])
		}
	}
	return &generator{name: "Sphinx site", pkg: "sphinx", needs: needs, config: config,
		lists: []string{read.requirements, filepath.Join(dir, "requirements.txt"), "docs/requirements.txt", "doc/requirements.txt", "requirements-docs.txt", "docs-requirements.txt", "requirements/docs.txt"},
		args:  []string{"sphinx", "-q", "-b", "html", "-d", "%TEMP%", dir, "%SITE%"}}
}

// list is the file of requirements of the site's own; "" for none.
func (g *generator) list(app string) string {
	for _, f := range g.lists {
		if f != "" && kit.IsFile(app, f) {
			return f
		}
	}
	return ""
}

// generate makes the site.
func (b *build) generate() error {
	g := b.site
	env := b.env.Clone()
	env.Prepend(filepath.Join(b.venv.Path, "bin"))
	env["PYTHONPATH"] = b.pythonPath()
	env.Default("DISABLE_MKDOCS_2_WARNING", "true")
	args := slices.Clone(g.args)
	temp, err := os.MkdirTemp("", "site-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	for i, a := range args {
		args[i] = strings.NewReplacer("%SITE%", filepath.Join(b.app, SiteFolder), "%TEMP%", temp).Replace(a)
	}
	kit.Say(b.Out, "python -m %s (%s)", g.pkg, g.config)
	said, err := kit.Cmd{Args: append([]string{filepath.Join(b.venv.Path, "bin", "python"), "-m"}, args...), Dir: b.app, Env: env, Out: b.Out, Name: g.pkg}.Run()
	if err != nil {
		return g.reason(said, err)
	}
	return nil
}

var (
	mkMissing     = pattern.New(`The "([^"]+)" plugin is not installed|Unrecognised theme name: '([^']+)'|Failed to load extension '([^']+)'|No module named '([^']+)'`)
	sphinxMissing = pattern.New(`Could not import extension (\S+)|no theme named '([^']+)' found|No module named '([^']+)'`)
)

// reason says what is missing.
func (g *generator) reason(said string, err error) error {
	p := mkMissing
	if g.pkg == "sphinx" {
		p = sphinxMissing
	}
	m := p.FindStringSubmatch(said)
	if m == nil {
		return err
	}
	return kit.Errorf("write docs/requirements.txt with the package that has it, and the others that the site needs", "%s names %s, which is not installed", g.config, strings.Join(m[1:], ""))
}

// installSite installs what the site is made with.
func (b *build) installSite() error {
	g := b.site
	if f := g.list(b.app); f != "" && f != b.source.kind {
		if err := b.requirementsFile(f); err != nil {
			return err
		}
	}
	for _, step := range []func() error{b.extraOfDocs, func() error { return b.pip("uv pip install "+strings.Join(g.needs, " "), g.needs...) }} {
		names, err := b.freeze()
		if err != nil {
			return err
		}
		if b.names = names; b.has(g.pkg) {
			return nil
		}
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// extraOfDocs installs the packages that pyproject.toml lists for the documentation alone.
func (b *build) extraOfDocs() error {
	p := b.source.project
	for _, name := range []string{"docs", "doc", "documentation"} {
		if p.Project.Optional[name] != nil {
			return b.pip("uv pip install -r pyproject.toml --extra "+name, "-r", "pyproject.toml", "--extra", name)
		}
		if p.Groups[name] != nil {
			return b.pip("uv pip install --group "+name, "--group", name)
		}
		if group := p.Tool.Poetry.Group[name].Dependencies; len(group) > 0 {
			var lines []string
			for _, pkg := range slices.Sorted(maps.Keys(group)) {
				lines = append(lines, tableRequirement(pkg, group[pkg], poetryVersion))
			}
			return b.requirements("uv pip install (group "+name+" of pyproject.toml)", lines)
		}
	}
	return nil
}

// siteKey is what decides on what a site is made with; nil where the app is none.
func (b *build) siteKey() (parts []string) {
	if b.site == nil {
		return nil
	}
	parts = append(parts, b.site.name, strings.Join(b.site.needs, " "))
	if f := b.site.list(b.app); f != "" {
		for _, f := range readRequirements(b.app, f).files {
			parts = append(parts, f, kit.Text(b.app, f))
		}
	}
	return parts
}
