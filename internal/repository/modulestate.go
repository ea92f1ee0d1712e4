package repository

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gitd-io/gitd/internal/disk"
)

// moduleState is what is known of a repository's folders of submodules.
type moduleState struct {
	fetching chan struct{} // holds one: who fetches submodules

	// mu guards the following.
	mu   sync.Mutex
	used map[string]int  // pushes that use a folder
	new  map[string]bool // folders that no push has kept
	live map[string]bool // folders of what went live last; nil until something does
}

func (m *moduleState) init() {
	m.fetching, m.used, m.new = make(chan struct{}, 1), map[string]int{}, map[string]bool{}
}

// use counts a push in that uses a folder; releaseModules counts it out.
func (m *moduleState) use(folder string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used[folder]++
}

// add notes that a folder is to be made.
func (m *moduleState) add(folder string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.new[folder] = true
}

func (m *moduleState) onlyUser(folder string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used[folder] <= 1
}

// releaseModules keeps folders where the push went well. Else it removes those that no push has kept or uses, and that what is live
// does not, as far as this process knows: they can be fetched again.
func (r *Repository) releaseModules(folders map[string]bool, ok bool) (err error) {
	r.files.Lock()
	defer r.files.Unlock()
	m := &r.modules
	m.mu.Lock()
	defer m.mu.Unlock()
	for f := range folders {
		if ok {
			delete(m.new, f)
		}
		if m.used[f]--; m.used[f] <= 0 {
			delete(m.used, f)
			if m.new[f] && !m.live[f] {
				delete(m.new, f)
				err = errors.Join(err, disk.RemoveAll(filepath.Join(r.path, modulesDir, f)))
			}
		}
	}
	return err
}

// keepModules removes what was fetched for submodules that are not among those that are live, and that no push uses.
func (r *Repository) keepModules(live map[string]bool) error {
	r.files.Lock()
	defer r.files.Unlock()
	m := &r.modules
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live = live
	dir := filepath.Join(r.path, modulesDir)
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range found {
		if !live[f.Name()] && m.used[f.Name()] == 0 && !strings.HasPrefix(f.Name(), ".") {
			err = errors.Join(err, disk.RemoveAll(filepath.Join(dir, f.Name())))
		}
	}
	return err
}
