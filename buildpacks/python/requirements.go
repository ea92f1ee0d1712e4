package python

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/pattern"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// isRequirements tells whether a file is one of requirements, as pip reads them.
func isRequirements(kind string) bool {
	return strings.HasSuffix(kind, ".txt") || strings.HasSuffix(kind, ".in")
}

// requirementsFile installs what a file of requirements lists.
func (b *build) requirementsFile(name string) error {
	restore, err := b.adapt(readRequirements(b.app, name).files)
	if err != nil {
		return err
	}
	defer restore()
	return b.pip("uv pip install -r "+name, "-r", name)
}

var (
	// A repository that is installed for editing is installed as any other: its name stands behind.
	editableVCS = pattern.New(`^(?:-e|--editable)[\s=]+((?:git|hg|svn|bzr)\+\S*?)(?:@([^#@/]+))?(?:#(?:\S*&)?egg=([A-Za-z0-9._-]+)(\[[^\]]*\])?\S*)$`)
	// Options of pip that uv does not know, and that change nothing here.
	pipOnly = pattern.New(`^--(?:process-dependency-links|use-feature|use-pep517|no-use-pep517|use-wheel|no-use-wheel|allow-external|allow-unverified|trusted-host|prefer-binary|disable-pip-version-check|upgrade|no-cache-dir|user|quiet)\b|^-(?:U|q)\b`)
)

// adapt writes lines of requirements that only pip understands as uv does, for as long as the packages are being installed.
func (b *build) adapt(files []string) (restore func(), err error) {
	before := map[string][]byte{}
	restore = func() {
		for path, data := range before {
			_ = os.WriteFile(path, data, 0o644) // it could be written before
		}
	}
	for _, f := range files {
		path := filepath.Join(b.app, f)
		data, err := os.ReadFile(path)
		if err != nil {
			continue // uv says which file it misses
		}
		text := kit.Text(path)
		changed := b.adaptText(text)
		if changed == text {
			continue
		}
		before[path] = data
		if err := os.WriteFile(path, []byte(changed+"\n"), 0o644); err != nil {
			restore()
			return nil, err
		}
	}
	return restore, nil
}

func (b *build) adaptText(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if host := strings.TrimPrefix(line, "--trusted-host"); host != line {
			b.env["UV_INSECURE_HOST"] = strings.TrimSpace(b.env["UV_INSECURE_HOST"] + " " + strings.Trim(host, " ="))
		}
		if m := editableVCS.FindStringSubmatch(line); m != nil {
			lines[i] = m[3] + m[4] + " @ " + m[1]
			if m[2] != "" {
				lines[i] += "@" + m[2]
			}
			if _, after, ok := strings.Cut(line, "subdirectory="); ok {
				lines[i] += "#subdirectory=" + after
			}
		} else if pipOnly.MatchString(line) {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}

var (
	included         = pattern.New(`^\s*(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)`)
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
