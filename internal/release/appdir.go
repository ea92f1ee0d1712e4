package release

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/project"
)

// folder is a source of which the app is one folder. The build sees all of it.
type folder struct {
	app.Source
	dir string
}

// inFolder returns the source with the app in that folder; "" for its root.
func inFolder(s app.Source, dir string) app.Source {
	if dir == "" {
		return s
	}
	return &folder{s, dir}
}

// ReadFile implements app.Source: files at the root are the app's own.
func (f *folder) ReadFile(name string, limit int64) ([]byte, error) {
	return f.Source.ReadFile(path.Join(f.dir, name), limit)
}

// Checkout implements app.Source. It fails where the folder is not there.
func (f *folder) Checkout(ctx context.Context, dir string, uid, gid int) error {
	if err := f.Source.Checkout(ctx, dir, uid, gid); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	at := ""
	for part := range strings.SplitSeq(f.dir, "/") {
		at = filepath.Join(at, part)
		if st, err := root.Lstat(at); err != nil || !st.IsDir() {
			return app.Errorf(app.CodeInvalidInput, "correct app-dir in project.toml, commit and push again", "project.toml: app-dir: there is no folder %q in the repository", f.dir)
		}
	}
	return nil
}

// asked turns the buildpacks of project.toml into those of a build.
func asked(list []project.Buildpack) (all []build.Buildpack) {
	for _, b := range list {
		all = append(all, build.Buildpack(b))
	}
	return all
}
