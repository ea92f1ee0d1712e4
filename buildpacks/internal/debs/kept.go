package debs

import (
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

// InCache returns a folder of the app's cache that has the set, below the cache's folder name: for tools that only the build runs. It installs what
// is not there yet, and removes other sets.
func (t *Tool) InCache(set *Set, cache *kit.Cache, name string) (string, error) {
	root, err := cache.Dir(name)
	if err != nil {
		return "", err
	}
	dir := func() string { return filepath.Join(root, set.Key()[:20]) } // installing may change the set
	const whole = "gitd-whole"                                          // the last file that is written: a build may be stopped at any time
	if kit.IsFile(dir(), whole) {
		return dir(), nil
	}
	old, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		return "", err
	}
	for _, o := range old {
		if err := os.RemoveAll(o); err != nil {
			return "", err
		}
	}
	// The packages are at their place before they are installed: they are turned to it.
	if err := t.Install(set, dir()); err != nil {
		_ = os.RemoveAll(dir())
		return "", err
	}
	return dir(), os.WriteFile(filepath.Join(dir(), whole), nil, 0o644)
}
