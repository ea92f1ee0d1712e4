package receive

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/receive/lfs"
)

const (
	refMain   = "refs/heads/main"
	refMaster = "refs/heads/master"
	zeroID    = "0000000000000000000000000000000000000000"
	emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
)

var (
	objectID = regexp.MustCompile(`^[0-9a-f]{40}$`)
	leftover = regexp.MustCompile(`^(\.new-|\.deleted-)`)
)

// store is the folder of bare repositories. Only this process writes refs, so a lock in memory is enough.
type store struct {
	dir    string
	limits lfs.Limits
	mu     sync.Mutex
	locks  map[string]*appState
	trees  *treeCache
}

// appState orders what happens to one app's repository.
type appState struct {
	mu      sync.Mutex
	next    uint64 // turn of the next push or SetLive
	current uint64 // turn of the one that moved the ref last

	wantsAll   atomic.Bool // the next push is to send its whole history
	readers    *readers    // who may have packs open
	maintained bool        // maintenance runs
	restsUntil int         // maintenance waits until there are this many packs

	large *lfs.Store // nil until it is asked for

	fetching    chan struct{}   // holds one: who fetches submodules
	modules     map[string]int  // pushes that use a folder of submodules
	newModules  map[string]bool // folders that no push has kept
	liveModules map[string]bool // folders of what went live last; nil until something does
}

// openStore makes the folder, and removes what an earlier process left half done. What cannot be removed is logged, and the repository
// serves: nothing reads it.
func openStore(dir string, limits lfs.Limits, log func(format string, args ...any)) (*store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		p := filepath.Join(dir, e.Name())
		if leftover.MatchString(e.Name()) {
			if err := disk.RemoveAll(p); err != nil {
				log("repositories: what an earlier process left stays: %v", err)
			}
			continue
		}
		if e.IsDir() && strings.HasSuffix(e.Name(), ".git") {
			if err := cleanRepository(p); err != nil {
				log("repositories: what an earlier process left stays: %v", err)
			}
		}
	}
	return &store{dir: dir, limits: limits, locks: map[string]*appState{}, trees: newTreeCache()}, nil
}

// cleanRepository removes quarantines, lock files and unfinished packs.
func cleanRepository(dir string) error {
	for _, pattern := range []string{"objects/tmp_objdir-*", "objects/pack/tmp_*", "objects/tmp_*", "*.lock", "refs/heads/*.lock", "objects/??/tmp_obj_*",
		modulesDir + "/.new-*", modulesDir + "/*/*.lock", modulesDir + "/*/objects/pack/tmp_*", modulesDir + "/*/refs/commits/*.lock", modulesDir + "/*/objects/??/tmp_obj_*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := disk.RemoveAll(f); err != nil {
				return err
			}
		}
	}
	// a pack without an index is one that a crash kept from being finished
	packs, err := filepath.Glob(filepath.Join(dir, "objects/pack/pack-*.pack"))
	if err != nil {
		return err
	}
	for _, p := range packs {
		if _, err := os.Lstat(strings.TrimSuffix(p, ".pack") + ".idx"); errors.Is(err, fs.ErrNotExist) {
			if err := os.Remove(p); err != nil {
				return err
			}
		}
	}
	// what is left of a pack that was being deleted
	reverse, err := filepath.Glob(filepath.Join(dir, "objects/pack/pack-*.rev"))
	if err != nil {
		return err
	}
	for _, p := range reverse {
		if _, err := os.Lstat(strings.TrimSuffix(p, ".rev") + ".pack"); errors.Is(err, fs.ErrNotExist) {
			if err := os.Remove(p); err != nil {
				return err
			}
		}
	}
	return lfs.Clean(filepath.Join(dir, largeDir))
}

func (s *store) path(name string) string { return filepath.Join(s.dir, name+".git") }

// packs is the folder of the app's packs.
func (s *store) packs(name string) string { return filepath.Join(s.path(name), "objects/pack") }

func (s *store) state(name string) *appState {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.locks[name]
	if st == nil {
		st = &appState{next: 1, readers: newReaders(), fetching: make(chan struct{}, 1), modules: map[string]int{}, newModules: map[string]bool{}}
		s.locks[name] = st
	}
	return st
}

// turn gives out the next place in the order of an app's pushes.
func (s *store) turn(name string) uint64 {
	st := s.state(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	n := st.next
	st.next++
	return n
}

// ensure makes the app's repository if there is none.
func (s *store) ensure(name string) error {
	st := s.state(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	made, err := makeBare(s.path(name), "refs/heads", "\tfilemode = true\n\tbare = true\n[gc]\n\tauto = 0\n")
	if err != nil || !made {
		return err
	}
	return disk.Sync(s.dir)
}

// makeBare makes an empty bare repository, if there is none; core is the rest of its configuration, from within [core].
func makeBare(to, refs, core string) (made bool, err error) {
	if _, err := os.Stat(to); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(to), ".new-")
	if err != nil {
		return false, err
	}
	defer disk.RemoveAll(tmp)
	for _, d := range []string{"objects/pack", "objects/info", refs} {
		if err := os.MkdirAll(filepath.Join(tmp, d), 0o755); err != nil {
			return false, err
		}
	}
	for file, text := range map[string]string{"HEAD": "ref: " + refMain + "\n", "config": "[core]\n\trepositoryformatversion = 0\n" + core} {
		if err := writeSynced(filepath.Join(tmp, file), text); err != nil {
			return false, err
		}
	}
	return true, os.Rename(tmp, to)
}

// live returns the ref that is live and its commit; both are "" where nothing is.
func (s *store) live(name string) (ref, commit string, err error) {
	for _, ref := range []string{refMain, refMaster} {
		b, err := os.ReadFile(filepath.Join(s.path(name), ref))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", "", err
		}
		commit := strings.TrimSpace(string(b))
		if !objectID.MatchString(commit) {
			return "", "", fmt.Errorf("%s of %s holds %q", ref, name, commit)
		}
		return ref, commit, nil
	}
	return "", "", nil
}

// setLive points ref to commit, durably. The deployment is the truth: what the ref held before does not matter. A turn that is
// older than the one that moved the ref last changes nothing, since the newer push has replaced it.
func (s *store) setLive(name, ref, commit string, turn uint64) error {
	st := s.state(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	if turn <= st.current {
		return nil
	}
	dir := s.path(name)
	if err := replaceSynced(filepath.Join(dir, ref), commit+"\n"); err != nil {
		return err
	}
	st.current = turn
	if ref == refMain { // main takes over from a master that was live before
		if err := os.Remove(filepath.Join(dir, refMaster)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if head, err := os.ReadFile(filepath.Join(dir, "HEAD")); err == nil && string(head) == "ref: "+ref+"\n" {
		return nil
	}
	return replaceSynced(filepath.Join(dir, "HEAD"), "ref: "+ref+"\n")
}

// remove deletes the app's repository.
func (s *store) remove(name string) error {
	st := s.state(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	gone := filepath.Join(s.dir, ".deleted-"+rand.Text()) // by a name alone: a full disk has no room for a folder
	defer disk.RemoveAll(gone)
	err := os.Rename(s.path(name), gone)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st.large = nil
	s.trees.drop(name)
	return disk.Sync(s.dir)
}

// largeDir is where a repository has the files of Git LFS.
const largeDir = "lfs"

// largeFiles returns the app's files in Git LFS. The app's repository must be there.
func (s *store) largeFiles(name string) *lfs.Store {
	st := s.state(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.large == nil {
		st.large = lfs.Open(filepath.Join(s.path(name), largeDir), s.limits)
	}
	return st.large
}

// SetLive moves the app's branch to a commit whose objects are here: after a rollback, or when a crash came between a
// deployment and its ref. It returns an *app.Error with code CodeNotFound when they are not.
func (s *Server) SetLive(name, commit string) error {
	name, err := app.ParseName(name)
	if err != nil {
		return err
	}
	missing := app.Errorf(app.CodeNotFound, "push that commit again", "commit %.12s of %s is not in its repository", commit, name)
	if !objectID.MatchString(commit) {
		return missing
	}
	turn := s.store.turn(name)
	o := objects{repository: s.store.path(name)}
	if _, err := os.Stat(o.repository); errors.Is(err, fs.ErrNotExist) {
		return missing
	}
	if _, err := o.run(context.Background(), "", s.opts, "cat-file", "-e", commit+"^{commit}"); err != nil {
		var g *gitError
		if errors.As(err, &g) {
			return missing
		}
		return err
	}
	ref, _, err := s.store.live(name)
	if err != nil {
		return err
	}
	if ref == "" {
		ref = refMain
	}
	return s.store.setLive(name, ref, commit, turn)
}

// Live returns the commit that is live by the app's repository, and "" where there is none.
func (s *Server) Live(name string) (string, error) {
	name, err := app.ParseName(name)
	if err != nil {
		return "", err
	}
	_, commit, err := s.store.live(name)
	return commit, err
}

// DeleteRepository removes the repository of an app that is no more. It is no error where there is none.
func (s *Server) DeleteRepository(name string) error {
	name, err := app.ParseName(name)
	if err != nil {
		return err
	}
	return s.store.remove(name)
}

// replaceSynced replaces a file so that a crash leaves the old or the new one.
func replaceSynced(path, text string) error { return replaceSyncedMode(path, text, 0o644) }

func replaceSyncedMode(path, text string, mode os.FileMode) error {
	lock := path + ".lock"
	if err := writeSyncedMode(lock, text, mode); err != nil {
		return err
	}
	if err := os.Rename(lock, path); err != nil {
		return err
	}
	return disk.Sync(filepath.Dir(path))
}

func writeSynced(path, text string) error { return writeSyncedMode(path, text, 0o644) }

func writeSyncedMode(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
