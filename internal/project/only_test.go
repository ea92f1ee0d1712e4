package project

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// TestRead_OnlyFolder: an app that is all in one folder, below a README and the like, needs no project.toml.
func TestRead_OnlyFolder(t *testing.T) {
	for name, tt := range map[string]struct{ files, want string }{
		"one folder":                     {"README.md LICENSE .gitignore .github/workflows/ci.yml server/go.mod server/main.go docs/conf.py", "server"},
		"with a Dockerfile":              {"Dockerfile docker-compose.yml backend/requirements.txt backend/main.py backend/tests/package.json", "backend"},
		"Django without a list":          {"README.md shop/manage.py shop/shop/settings.py", "shop"},
		"beside a text":                  {"README.md changed.txt site/package.json", "site"},
		"beside a list of packages":      {"requirements-dev.txt site/package.json", ""},
		"two files that say so":          {"api/package.json api/Procfile", "api"},
		"two folders":                    {"README.md backend/package.json frontend/package.json", ""},
		"another folder has programs":    {"frontend/package.json backend/app.py", ""},
		"an app at the root":             {"package.json server/package.json", ""},
		"a program at the root":          {"main.py web/package.json", ""},
		"deeper":                         {"README.md apps/web/package.json", ""},
		"no app":                         {"README.md docs/index.md", ""},
		"documentation":                  {"README.md docs/requirements.txt docs/conf.py", ""},
		"pages that are served":          {"README.md public/index.html public/package.json", ""},
		"a page of PHP":                  {"README.md web/index.php web/composer.json", ""},
		"project.toml says nothing else": {"project.toml server/package.json", "server"},
	} {
		files := strings.Fields(tt.files)
		read := func(name string, _ int64) ([]byte, error) {
			if slices.Contains(files, name) {
				return nil, nil
			}
			return nil, fs.ErrNotExist
		}
		d, err := Read(read, slices.Values(files), "shop")
		if err != nil || d.AppDir != tt.want || len(d.Remarks) != min(len(tt.want), 1) {
			t.Errorf("%s: %q %q %v, want %q", name, d.AppDir, d.Remarks, err, tt.want)
		}
	}
}
