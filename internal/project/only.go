package project

import (
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/app"
)

// beside are folders of a repository that have files of a language and are no app.
var beside = []string{"docs", "doc", "test", "tests", "e2e", "scripts", "examples", "assets", "images", "screenshots"}

// sources are the endings of programs.
var sources = []string{".py", ".js", ".mjs", ".ts", ".tsx", ".jsx", ".go", ".rb", ".php", ".java", ".kt", ".rs", ".ex", ".cs", ".fs", ".html"}

// only finds the folder that has all there is of an app, where the root of the repository has none: a README and the like, and one folder with an app
// of some language. "" for every other repository: nothing of the root may be an app, and no second folder.
func only(files iter.Seq[string]) string {
	found, others := "", false
	manifests := append(catalog.Manifests(), "Procfile")
	for f := range files {
		dir, name, inFolder := strings.Cut(f, "/")
		switch {
		case !inFolder && !isNote(f):
			return ""
		case !inFolder, strings.HasPrefix(dir, "."), strings.Contains(name, "/"), slices.Contains(beside, strings.ToLower(dir)), dir == found:
		case slices.Contains(manifests, name):
			if found != "" || app.Plain(dir) != dir {
				return ""
			}
			found = dir
		}
	}
	if found == "" {
		return ""
	}
	for f := range files {
		dir, name, inFolder := strings.Cut(f, "/")
		if inFolder && dir != found && !strings.HasPrefix(dir, ".") && !strings.Contains(name, "/") && !slices.Contains(beside, strings.ToLower(dir)) {
			others = others || slices.Contains(sources, path.Ext(name))
		}
		if dir == found && (name == "index.php" || name == "index.html" && servedAtRoot[dir]) {
			return "" // which a buildpack finds at the root
		}
	}
	if others {
		return ""
	}
	return found
}

// servedAtRoot are folders whose pages are served where the root has nothing else.
var servedAtRoot = map[string]bool{"public": true, "dist": true, "build": true, "_site": true, "site": true, "www": true, "out": true, "html": true, "public_html": true}

// isNote tells whether a file at the root is no part of an app.
func isNote(name string) bool {
	lower := strings.ToLower(name)
	for _, prefix := range []string{".", "readme", "license", "licence", "changelog", "contributing", "dockerfile", "docker-compose", "compose.y", "makefile", "justfile", "taskfile.y"} {
		if strings.HasPrefix(lower, prefix) && lower != "makefile.pl" {
			return true
		}
	}
	return slices.Contains([]string{"netlify.toml", "vercel.json", "render.yaml", "fly.toml", "railway.json", "railway.toml", "renovate.json", strings.ToLower(File)}, lower) ||
		path.Ext(lower) == ".txt" && !strings.HasPrefix(lower, "requirements") && lower != "runtime.txt" && lower != "cmakelists.txt" ||
		slices.Contains([]string{".md", ".rst", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".pdf"}, path.Ext(lower))
}
