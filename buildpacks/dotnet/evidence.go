package dotnet

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/internal/pattern"
)

const (
	globalFile    = "global.json"
	runtimeConfig = ".runtimeconfig.json"
)

// Evidence is the file by which an app is one of .NET; "" for none: a solution or a project at its root, a published program, or projects in folders where
// the root has nothing that another language is found by.
func Evidence(app string) string {
	for _, p := range []string{"*.slnx", "*.sln", "*.csproj", "*.fsproj", "*.vbproj"} {
		found, _ := filepath.Glob(filepath.Join(app, p)) // constant patterns but for the app's folder
		if len(found) == 0 {
			continue
		}
		if strings.HasPrefix(p, "*.sln") && len(nearProjects(app)) == 0 {
			continue // of C++, most likely
		}
		return filepath.Base(found[0])
	}
	found, _ := filepath.Glob(filepath.Join(app, "*"+runtimeConfig)) // a constant pattern but for the app's folder
	for _, f := range found {
		if kit.IsFile(strings.TrimSuffix(f, runtimeConfig) + ".dll") {
			return filepath.Base(f)
		}
	}
	if kit.HasManifest(app) {
		return ""
	}
	if f := singleFile(app); f != "" {
		return f
	}
	if near := nearProjects(app); len(near) > 0 {
		return kit.Pick(kit.IsFile(app, globalFile), globalFile, near[0])
	}
	return ""
}

// nearProjects are the projects at the root of the app and in its folders, as solutions have them: src/Shop/Shop.csproj.
func nearProjects(app string) (found []string) {
	for _, depth := range []string{"", "*", "*/*", "*/*/*"} {
		for _, ext := range extensions {
			files, _ := filepath.Glob(filepath.Join(app, depth, "*"+ext)) // constant patterns but for the app's folder
			for _, f := range files {
				rel, err := filepath.Rel(app, f)
				if err == nil && !slices.ContainsFunc(strings.Split(path.Dir(rel), "/"), func(d string) bool { return slices.Contains(skipped, d) || len(d) > 1 && d[0] == '.' }) {
					found = append(found, rel)
				}
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

var inSolution = pattern.New(`"([^"\r\n]{1,500}\.(?:cs|fs|vb)proj)"`)

// solutionProjects are the projects that the solutions at the root name; nil where there is none.
func solutionProjects(app string) (found []string) {
	for _, p := range []string{"*.slnx", "*.sln"} {
		files, _ := filepath.Glob(filepath.Join(app, p)) // constant patterns but for the app's folder
		for _, f := range files {
			for _, m := range inSolution.FindAllStringSubmatch(kit.Text(f), maxProjects) {
				rel := path.Clean(strings.ReplaceAll(m[1], `\`, "/"))
				if filepath.IsLocal(rel) && kit.IsFile(app, rel) && !slices.Contains(found, rel) {
					found = append(found, rel)
				}
			}
		}
	}
	return found
}
