package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// refHeads is what the refs of branches begin with.
const refHeads = "refs/heads/"

// Branches returns the branches that have a live preview, with the commit of each: all but main and master.
func (r *Repository) Branches() (map[string]string, error) {
	root := filepath.Join(r.path, refHeads)
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile, or no repository
		}
		branch := strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
		if err != nil || d.IsDir() || strings.HasSuffix(branch, ".lock") || refHeads+branch == RefMain || refHeads+branch == RefMaster {
			return err
		}
		commit, err := r.branch(branch)
		if commit != "" {
			found[branch] = commit
		}
		return err
	})
	return found, err
}

// branch returns the commit of a branch; "" if there is none.
func (r *Repository) branch(branch string) (commit string, err error) {
	b, err := os.ReadFile(filepath.Join(r.path, refHeads, branch))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	if commit = strings.TrimSpace(string(b)); !IsID(commit) {
		return "", fmt.Errorf("%s%s of %s holds %q", refHeads, branch, r.name, commit)
	}
	return commit, nil
}

// RoomForBranch returns an *app.Error if git can have no branch of this name beside those that are here: one is a folder of the other.
func RoomForBranch(branch string, here map[string]string) error {
	for _, other := range slices.Sorted(maps.Keys(here)) {
		if strings.HasPrefix(other, branch+"/") || strings.HasPrefix(branch, other+"/") {
			return app.Errorf(app.CodeInvalidName, "push it under another name, or delete the other: git push platform --delete "+app.Plain(other),
				"git has no branch %s beside %s, which has a preview", app.Plain(branch), app.Plain(other))
		}
	}
	return nil
}

// setBranch is SetLive for a branch that is not main. The files are locked.
func (r *Repository) setBranch(ref, commit string) error {
	path := filepath.Join(r.path, ref)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return replaceSynced(path, commit+"\n")
}

// DeleteBranch removes the ref of a branch, for good: a push that began before does not set it any more. A missing one is no error.
func (r *Repository) DeleteBranch(branch string) error {
	if err := app.CheckBranch(branch); err != nil {
		return err
	}
	turn := r.Turn()
	r.files.Lock()
	defer r.files.Unlock()
	root, path := filepath.Join(r.path, refHeads), filepath.Join(r.path, refHeads, branch)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for dir := filepath.Dir(path); dir != root && os.Remove(dir) == nil; { // folders that are empty now
		dir = filepath.Dir(dir)
	}
	r.turns.took(refHeads+branch, turn)
	return nil
}

// cleanBranches removes the lock files of refs, and folders without any ref.
func cleanBranches(dir string) error {
	root := filepath.Join(dir, refHeads)
	var folders []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && path != filepath.Clean(root):
			folders = append(folders, path)
		case strings.HasSuffix(path, ".lock"):
			return os.Remove(path)
		}
		return nil
	})
	for _, f := range slices.Backward(folders) {
		_ = os.Remove(f) // one that is not empty stays
	}
	return err
}
