package static

import (
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// The folders that are looked at, in this order.
var (
	plainRoots = []string{".", "public", "dist", "build", "_site", "site", "www", "out", "html", "public_html", "docs"}
	builtRoots = []string{"dist", "build", "out", "_site", ".output/public", ".vitepress/dist", ".vuepress/dist", "www", "public", "."}
)

// chooseRoot finds the folder to serve.
func chooseRoot(app, asked string, built bool) (string, error) {
	if asked != "" {
		return askedRoot(app, asked)
	}
	roots := plainRoots
	if built {
		roots = builtRoots
	}
	for _, root := range roots {
		if kit.IsFile(app, root, "index.html") && !(built && root == "." && kit.Exists(app, "src")) {
			return root, nil
		}
	}
	// Some generators make a folder per project: dist/NAME or dist/NAME/browser.
	for _, pattern := range []string{"dist/*/index.html", "dist/*/browser/index.html", "*/.vitepress/dist/index.html", "*/.vuepress/dist/index.html", "dist/*/*/index.html", "build/*/index.html"} {
		if found, _ := filepath.Glob(filepath.Join(app, pattern)); len(found) == 1 {
			rel, err := filepath.Rel(app, filepath.Dir(found[0]))
			return filepath.ToSlash(rel), err
		}
	}
	if built && takesBuilt(app) {
		return ".", nil
	}
	if built {
		if root := configuredRoot(app); root != "" {
			return root, nil
		}
		found := withIndex(app)
		if len(found) == 1 {
			return found[0], nil
		}
		for _, name := range []string{"web", "app", "site", "www"} { // of several members of a workspace
			for _, f := range found {
				if slices.Contains(strings.Split(f, "/"), name) {
					return f, nil
				}
			}
		}
		if len(found) > 1 {
			return "", kit.Errorf("set BP_STATIC_ROOT to one of them, or app-dir in project.toml to the folder of one app", "there are pages in several folders: %s", strings.Join(found[:min(len(found), 10)], ", "))
		}
		return "", kit.Errorf("set BP_STATIC_ROOT to the folder that it makes, or add a start script to package.json",
			"the build script has left no index.html in %s", strings.Join(builtRoots[:len(builtRoots)-1], ", "))
	}
	if root, page := firstPage(app); page != "" {
		return root, nil
	}
	return "", kit.Errorf("set BP_STATIC_ROOT to the folder of the site", "there is no %s", looksFor)
}

var builtLink = regexp.MustCompile(`(?:src|href)\s*=\s*["']?(?:\./|/)?((?:dist|build|out|bundle|public)/[\w./-]+)`)

// takesBuilt tells whether the page at the root takes what the build has made, as those of webpack do.
func takesBuilt(app string) bool {
	for _, m := range builtLink.FindAllStringSubmatch(kit.Text(app, "index.html"), 20) {
		if kit.IsFile(app, m[1]) {
			return true
		}
	}
	return false
}

var outDir = regexp.MustCompile(`\b(?:outDir|outputDir|distDir|outputPath|publicDir|destination)["']?\s*[:=]\s*["']([^"'\n]+)["']`)

// configuredRoot is the folder that the configuration of a build tool names, where it has pages.
func configuredRoot(app string) string {
	for _, pattern := range []string{"vite.config.*", "vue.config.*", "astro.config.*", "angular.json", "rsbuild.config.*", "webpack.config.*", "svelte.config.*", "next.config.*", ".eleventy.js", "eleventy.config.*"} {
		found, _ := filepath.Glob(filepath.Join(app, pattern)) // constant patterns: cannot fail
		for _, f := range found {
			for _, m := range outDir.FindAllStringSubmatch(kit.Text(f), -1) {
				dir := path.Clean(m[1])
				for _, d := range []string{dir, path.Join(dir, "browser")} {
					if filepath.IsLocal(d) && d != "." && kit.IsFile(app, d, "index.html") {
						return d
					}
				}
			}
		}
	}
	return ""
}

// withIndex lists the folders that have an index.html, as deep as three, but those of sources, tests and packages.
func withIndex(app string) (found []string) {
	skip := []string{"node_modules", "src", "test", "tests", "e2e", "cypress", "docs", "examples", "public", "static", "coverage", "templates"}
	_ = filepath.WalkDir(app, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || file == app {
			return nil // what cannot be read is not served
		}
		rel, err := filepath.Rel(app, file)
		if err != nil || slices.Contains(skip, d.Name()) || strings.HasPrefix(d.Name(), ".") || strings.Count(rel, "/") > 2 {
			return fs.SkipDir
		}
		if kit.IsFile(file, "package.json") { // a package of its own, with sources and what was built of them
			for _, dir := range builtRoots {
				if kit.IsFile(file, dir, "index.html") && (dir != "." || !kit.IsDir(file, "src")) {
					found = append(found, path.Join(filepath.ToSlash(rel), dir))
					return fs.SkipDir
				}
			}
			return nil
		}
		if kit.IsFile(file, "index.html") {
			found = append(found, filepath.ToSlash(rel))
			return fs.SkipDir // what is below belongs to it
		}
		return nil
	})
	return found
}
