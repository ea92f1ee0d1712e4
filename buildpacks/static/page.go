package static

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

const indexPage = "index.html"

// firstPages are the names of a first page besides index.html, in lower case.
var firstPages = []string{indexPage, "index.htm", "default.html", "default.htm", "home.html", "home.htm", "main.html"}

// indexOf is the first page of a folder: one of the usual names, in whatever case, else the only page. "" for none.
func indexOf(dir string) string {
	var pages []string
	entries, _ := os.ReadDir(dir) // what cannot be read is not served
	for _, e := range entries {
		if ext := strings.ToLower(filepath.Ext(e.Name())); e.Type().IsRegular() && (ext == ".html" || ext == ".htm") {
			pages = append(pages, e.Name())
		}
	}
	if slices.Contains(pages, indexPage) {
		return indexPage
	}
	for _, name := range firstPages {
		if i := slices.IndexFunc(pages, func(p string) bool { return strings.EqualFold(p, name) }); i >= 0 {
			return pages[i]
		}
	}
	if len(pages) == 1 && pages[0] != "404.html" {
		return pages[0]
	}
	return ""
}

// firstPageOf is indexOf, and says so where that is not index.html.
func (b Buildpack) firstPageOf(dir string) string {
	name := indexOf(dir)
	if name != "" && name != indexPage {
		kit.Say(b.Out, "The first page is %s: there is no index.html", name)
	}
	return name
}

// firstPage finds the first page of an app that is nothing but pages and has no index.html where they usually are: its folder and its name.
func firstPage(app string) (root, page string) {
	if kit.OtherLanguage(app).Name != "" || kit.HasManifest(app) || kit.Exists(app, procfile.Name) {
		return "", ""
	}
	for _, pattern := range []string{"*.sh", "*.go", "*.py", "*.rb", "*.php", "*.rs", "*.java", "*.c", "*.lua", "Makefile"} {
		if found, _ := filepath.Glob(filepath.Join(app, pattern)); len(found) > 0 { // constant patterns: cannot fail
			return "", ""
		}
	}
	if page := indexOf(app); page != "" {
		return ".", page
	}
	var found []string
	entries, _ := os.ReadDir(app) // what cannot be read is not served
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "node_modules" {
			if kit.HasManifest(filepath.Join(app, e.Name())) && !kit.IsFile(app, e.Name(), indexPage) || kit.IsFile(app, e.Name(), "package.json") {
				return "", ""
			}
			if kit.IsFile(app, e.Name(), indexPage) {
				found = append(found, e.Name())
			}
		}
	}
	if len(found) == 1 {
		return found[0], indexPage
	}
	return "", ""
}
