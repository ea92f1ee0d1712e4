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
)

// layout is raised when the way that the environment is made changes, so that older ones are not reused.
const layout = "3"

var (
	included         = pattern.New(`^\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)`)
	localRequirement = pattern.New(`^\s*(-e\s|--editable|\.|/|file:)|\s@\s+file:`)
	// A branch moves: what is installed from it cannot be known by its name. A commit of 40 digits does not.
	vcsRequirement = pattern.New(`\b(?:git|hg|svn|bzr)\+\S+`)
	pinnedCommit   = pattern.New(`@[0-9a-f]{40}(?:#|$)`)
)

// requirements is what a file of requirements and all that it includes say.
type requirements struct {
	files []string // the files, relative to the app, in the order in which pip reads them
	local bool     // one of them is a folder or a file of the app
	moves bool     // one of them is a branch of a repository
}

// maxIncluded bounds the files of requirements: more are a circle or a mistake.
const maxIncluded = 200

// readRequirements follows -r and -c.
func readRequirements(app string, files ...string) (r requirements) {
	for len(files) > 0 && len(r.files) < maxIncluded {
		f := files[0]
		files = files[1:]
		if slices.Contains(r.files, f) {
			continue
		}
		r.files = append(r.files, f)
		for line := range strings.Lines(kit.Text(app, f)) {
			line, _, _ = strings.Cut(line, " #")
			if m := included.FindStringSubmatch(line); m != nil {
				if next := filepath.Join(filepath.Dir(f), strings.Trim(m[1], `"'`)); filepath.IsLocal(next) {
					files = append(files, next)
				}
				continue
			}
			r.local = r.local || localRequirement.MatchString(line)
			if v := vcsRequirement.FindString(line); v != "" && !pinnedCommit.MatchString(v) {
				r.moves = true
			}
		}
	}
	return r
}

// installerVariables decide what is installed, or from where.
var installerVariables = pattern.New(`^(PIP_|UV_|POETRY_)`)

// notForKey are those of them that say only how it is shown or where it is kept.
var notForKey = []string{"PIP_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_ROOT_USER_ACTION", "PIP_NO_INPUT", "PIP_PROGRESS_BAR", "PIP_CERT", "UV_CACHE_DIR"}

// key digests all that decides on what is installed; "" where that changes without a file's changing.
func (b *build) key() (string, error) {
	parts := []string{layout, b.version, b.venv.Path, b.source.kind, b.pythonPath()}
	for _, kv := range b.env.List() {
		if name, _, _ := strings.Cut(kv, "="); installerVariables.MatchString(name) && !slices.Contains(notForKey, name) {
			parts = append(parts, kv)
		}
	}
	r := readRequirements(b.app, "requirements.txt")
	if r.moves && b.source.kind == "requirements.txt" {
		return "", nil
	}
	files := r.files
	for _, f := range slices.Concat(glob(b.app, "*requirements*.txt"), glob(b.app, "requirements/*.txt"), glob(b.app, "constraints*.txt")) {
		if rel, err := filepath.Rel(b.app, f); err == nil {
			files = append(files, rel)
		}
	}
	files = append(files, "pyproject.toml", "uv.lock", "uv.toml", "poetry.lock", "Pipfile.lock", "pdm.lock", "setup.py", "setup.cfg", "pip.conf")
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
	// These decide on whether a server is added.
	o := b.findApp()
	parts = append(parts, fmt.Sprint(b.isDjango(), b.procfileWeb(), o.name != "", o.protocol))
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
