package release

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/project"
)

// selected is a source without the files that project.toml excludes from the build.
type selected struct {
	app.Source
	files project.Files
	log   *app.Log
}

// selectFiles returns the source as the build sees it.
func selectFiles(s app.Source, files project.Files, log *app.Log) app.Source {
	if files.All() {
		return s
	}
	return &selected{s, files, log}
}

// ReadFile implements app.Source.
func (s *selected) ReadFile(name string, limit int64) ([]byte, error) {
	if keeps, err := s.files.Keeps(name); err != nil {
		return nil, err
	} else if !keeps {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return s.Source.ReadFile(name, limit)
}

// Checkout implements app.Source. It writes everything, then removes what the build must not see, and the folders that become empty.
func (s *selected) Checkout(ctx context.Context, dir string, uid, gid int) error {
	if err := s.Source.Checkout(ctx, dir, uid, gid); err != nil {
		return err
	}
	var folders []string
	removed, kept, all := 0, 0, s.files.Select()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e.IsDir() {
			folders = append(folders, path)
			return nil
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if keeps, err := all.Keeps(name); err != nil {
			return err
		} else if keeps {
			kept++
			return nil
		}
		removed++
		return os.Remove(path)
	})
	if err != nil {
		return err
	}
	if kept == 0 {
		return app.Errorf(app.CodeInvalidInput, "correct include or exclude in project.toml, commit and push again", "project.toml leaves no file for the build")
	}
	if removed == 0 {
		return nil
	}
	for _, f := range slices.Backward(folders) { // the deepest first; those that are not empty stay
		_ = os.Remove(f)
	}
	s.log.Detail("%d of %d files are left out of the build (project.toml)", removed, removed+kept)
	return nil
}
