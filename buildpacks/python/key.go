package python

import (
	"github.com/gitd-io/gitd/internal/pattern"

	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
	"github.com/gitd-io/gitd/buildpacks/procfile"
)

// layout is raised when the way that the environment is made changes, so that older ones are not reused.
const layout = "5"

// installerVariables decide what is installed, or from where.
var installerVariables = pattern.New(`^(PIP_|UV_|POETRY_)`)

// notForKey are those of them that say only how it is shown or where it is kept.
var notForKey = []string{"PIP_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_ROOT_USER_ACTION", "PIP_NO_INPUT", "PIP_PROGRESS_BAR", "PIP_CERT", "PIP_DEFAULT_TIMEOUT",
	"PIP_RETRIES", "UV_CACHE_DIR", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES"}

// movingTable is a repository in a table of packages, whose commit no lock file notes.
var movingTable = pattern.New(`(?m)\bgit\s*=\s*["']|\bgit\+`)

// key digests all that decides on what is installed; "" where that changes without a file's changing.
func (b *build) key() (string, error) {
	parts := []string{layout, b.version, b.venv.Path, b.source.kind, b.pythonPath()}
	for _, kv := range b.env.List() {
		if name, _, _ := strings.Cut(kv, "="); installerVariables.MatchString(name) && !slices.Contains(notForKey, name) {
			parts = append(parts, kv)
		}
	}
	var r requirements
	switch {
	case isRequirements(b.source.kind):
		r = readRequirements(b.app, b.source.kind)
	case b.source.kind == "pyproject.toml" || b.source.kind == "Pipfile":
		r.moves = movingTable.MatchString(kit.Text(b.app, b.source.kind))
	}
	if r.moves {
		return "", nil
	}
	files := r.files
	for _, f := range slices.Concat(glob(b.app, "*requirements*.txt"), glob(b.app, "requirements/*.txt"), glob(b.app, "constraints*.txt")) {
		if rel, err := filepath.Rel(b.app, f); err == nil {
			files = append(files, rel)
		}
	}
	files = append(files, "pyproject.toml", "uv.lock", "uv.toml", "poetry.lock", "Pipfile", "Pipfile.lock", "pdm.lock", "pylock.toml", "setup.py", "setup.cfg")
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(b.app, f))
		if err != nil {
			continue
		}
		parts = append(parts, f, string(data))
	}
	// A requirement that is a folder of the app changes with the app, and so may what a build system finds out.
	if r.local || b.source.kind == "setup.py" || b.source.project.dynamic() {
		if err := b.eachFile(func(path, sum string) { parts = append(parts, path, sum) }); err != nil {
			return "", err
		}
	}
	parts = append(parts, b.unlisted()...)
	parts = append(parts, b.siteKey()...)
	for _, tool := range runners {
		parts = append(parts, fmt.Sprint(b.starts(tool)))
	}
	// These decide on whether a server is added.
	o := b.findApp()
	parts = append(parts, fmt.Sprint(b.isDjango(), procfile.HasWeb(b.app), o.name != "", o.protocol, b.namedServer()))
	if b.function != nil {
		parts = append(parts, "function")
	}
	return kit.Key(parts...), nil
}

// eachFile calls see with each of the app's files and a digest of it.
func (b *build) eachFile(see func(path, sum string)) error {
	return filepath.WalkDir(b.app, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		sum, err := kit.FileKey(path)
		see(path, sum)
		return err
	})
}
