package release

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/project"
)

// tree is a source of these files; one whose content begins with -> is a link.
type tree map[string]string

func (s tree) Checkout(_ context.Context, dir string, _, _ int) error {
	for name, text := range s {
		f := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			return err
		}
		if to, link := strings.CutPrefix(text, "->"); link {
			if err := os.Symlink(to, f); err != nil {
				return err
			}
		} else if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (s tree) ReadFile(name string, _ int64) ([]byte, error) {
	if text, ok := s[name]; ok {
		return []byte(text), nil
	}
	return nil, fs.ErrNotExist
}

func TestSelectFiles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "kept.md")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	source := tree{"main.go": "", "README.md": "", "docs/deep/er/a.md": "", "docs/deep/b.txt": "", "all/of/it.md": "", "link.md": "->" + outside,
		"folder": "->" + filepath.Dir(outside)}
	settings, err := project.Parse("[io.buildpacks]\nexclude = ['*.md']\n")
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	s := selectFiles(source, settings.Files, app.NewLog(&log))
	dir := t.TempDir()
	if err := s.Checkout(t.Context(), dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	var left []string
	if err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			left = append(left, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"docs", "docs/deep", "docs/deep/b.txt", "folder", "main.go"}; !slices.Equal(left, want) {
		t.Errorf("%q", left)
	}
	if log.String() != "       4 of 7 files are left out of the build (project.toml)\n" {
		t.Error(log.String())
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a link's target: %v", err)
	}
	if _, err := s.ReadFile("README.md", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("README.md: %v", err)
	}
	if _, err := s.ReadFile("main.go", 1); err != nil {
		t.Errorf("main.go: %v", err)
	}

	if settings, err = project.Parse("[io.buildpacks]\ninclude = ['nothing']\n"); err != nil {
		t.Fatal(err)
	}
	err = selectFiles(source, settings.Files, app.NewLog(&log)).Checkout(t.Context(), t.TempDir(), 0, 0)
	if app.CodeOf(err) != app.CodeInvalidInput || err.Error() != "project.toml leaves no file for the build" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if err := selectFiles(source, settings.Files, app.NewLog(&log)).Checkout(ctx, t.TempDir(), 0, 0); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	if selectFiles(source, project.Files{}, nil).(tree) == nil {
		t.Error("all files are another source")
	}
}
