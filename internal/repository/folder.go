package repository

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/pattern"
	"github.com/gitd-io/gitd/internal/repository/lfs"
)

// Options configure a Folder. Zero values stand for the defaults.
type Options struct {
	Dir     string  // folder of the bare repositories, APP.git
	Indexer Indexer // default: ours, in this process
	Limits  Limits

	// ModulesFrom are addresses that submodules may be fetched from beside the usual ones, which are all but this machine's, its
	// containers', link-local ones and clouds' metadata services.
	ModulesFrom []netip.Prefix

	Log func(format string, args ...any) // the server's log
}

// Limits bound what is pushed, and what working on it may cost.
type Limits struct {
	Pack        int64         // bytes of one pack; default 1 GiB
	Objects     uint32        // objects of one pack; default 2,000,000
	Files       int           // files and folders of one commit; default 200,000
	Depth       int           // of folders; default 128
	Checkout    int64         // bytes of all files of one commit; default 2 GiB
	Memory      uint64        // bytes that a git process may take for itself; default 2 GiB
	CPU         time.Duration // processor time of a git process that checks a push; default 10 minutes
	MinFree     int64         // bytes that must be free on the disk for a push to be taken; default 256 MiB
	Large       int64         // bytes of one file in Git LFS; default 1 GiB
	LargeApp    int64         // bytes of all files in Git LFS of one app; default 4 GiB
	KeepLarge   time.Duration // how long a file in Git LFS is kept that nothing live needs; default 30 days
	Modules     int           // submodules of one commit, those of submodules included; default 64
	ModulesTime time.Duration // that fetching all of them may take; default 5 minutes
	Packs       int           // packs of a repository; when there are more, small ones are put together; default 40

	Writers int // that write a checkout at once; 0 for as many as there are processors for
}

func (l Limits) withDefaults() Limits {
	l.Pack = cmp.Or(l.Pack, 1<<30)
	l.Objects = cmp.Or(l.Objects, 2_000_000)
	l.Files = cmp.Or(l.Files, 200_000)
	l.Depth = cmp.Or(l.Depth, 128)
	l.Checkout = cmp.Or(l.Checkout, 2<<30)
	l.Memory = cmp.Or(l.Memory, 2<<30)
	l.CPU = cmp.Or(l.CPU, 10*time.Minute)
	l.MinFree = cmp.Or(l.MinFree, 256<<20)
	l.Large = cmp.Or(l.Large, 1<<30)
	l.LargeApp = cmp.Or(l.LargeApp, 4<<30)
	l.KeepLarge = cmp.Or(l.KeepLarge, 30*24*time.Hour)
	l.Modules = cmp.Or(l.Modules, 64)
	l.ModulesTime = cmp.Or(l.ModulesTime, 5*time.Minute)
	l.Packs = cmp.Or(l.Packs, 40)
	return l
}

// leftover is the name of what an earlier process left half done.
var leftover = pattern.New(`^(\.new-|\.deleted-)`)

// IsID says whether text is the ID of an object as git writes it: 40 hexadecimal digits in lower case.
func IsID(text string) bool { return plumbing.IsHash(text) && text == strings.ToLower(text) }

// Folder is the folder of all apps' bare repositories. Only this process writes refs, so a lock in memory is enough.
type Folder struct {
	dir    string
	opts   Options
	trees  *treeCache
	upkeep *upkeep

	// mu guards the following.
	mu   sync.Mutex
	apps map[string]*Repository
}

// Open makes the folder, and removes what an earlier process left half done. What cannot be removed is logged, and the repository
// serves: nothing reads it.
func Open(o Options) (*Folder, error) {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Indexer == nil {
		o.Indexer = packIndexer{}
	}
	o.Limits = o.Limits.withDefaults()
	if o.Dir == "" {
		return nil, errors.New("repository: Dir must be set")
	}
	if _, err := exec.LookPath("git"); err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "install git: apt-get install git", "git is missing: %w", err)
	}
	dir, err := filepath.Abs(o.Dir)
	if err == nil {
		err = clean(dir, o.Log)
	}
	if err != nil {
		return nil, fmt.Errorf("repositories in %s: %w", o.Dir, err)
	}
	return &Folder{dir: dir, opts: o, trees: newTreeCache(), upkeep: newUpkeep(), apps: map[string]*Repository{}}, nil
}

// clean makes the folder, and removes leftovers from it.
func clean(dir string, log func(format string, args ...any)) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
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
	return nil
}

// removeMatching removes what has a name of one of these patterns below dir.
func removeMatching(dir string, patterns ...string) error {
	for _, pattern := range patterns {
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
	return nil
}

// cleanRepository removes quarantines, lock files and unfinished packs.
func cleanRepository(dir string) error {
	if err := cleanBranches(dir); err != nil {
		return err
	}
	err := removeMatching(dir, "objects/tmp_objdir-*", "objects/pack/tmp_*", "objects/tmp_*", "*.lock", "objects/??/tmp_obj_*",
		modulesDir+"/.new-*", modulesDir+"/*/*.lock", modulesDir+"/*/objects/pack/tmp_*", modulesDir+"/*/refs/commits/*.lock", modulesDir+"/*/objects/??/tmp_obj_*")
	if err != nil {
		return err
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

// Of returns an app's repository, which need not exist.
func (f *Folder) Of(name string) *Repository {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.apps[name]
	if r == nil {
		r = &Repository{folder: f, name: name, path: filepath.Join(f.dir, name+".git")}
		r.turns.next = 1
		r.packs.readers = newReaders()
		r.modules.init()
		f.apps[name] = r
	}
	return r
}

// SetLive moves the app's branch, or that of a preview, to a commit whose objects are here: after a rollback, or when a crash came between a
// deployment and its ref. It returns an *app.Error with code CodeNotFound when they are not.
func (f *Folder) SetLive(a app.App, commit string) error {
	name, branch := a.Live()
	name, err := app.ParseName(name)
	if err != nil {
		return err
	}
	return f.Of(name).restore(branch, commit)
}

// Live returns the commit that is live by the app's repository, that of its parent for a preview, and "" if there is none.
func (f *Folder) Live(a app.App) (commit string, err error) {
	name, branch := a.Live()
	if name, err = app.ParseName(name); err != nil {
		return "", err
	}
	if branch == "" {
		_, commit, err = f.Of(name).Live()
		return commit, err
	}
	if err := app.CheckBranch(branch); err != nil {
		return "", err
	}
	return f.Of(name).branch(branch)
}

// Delete removes the repository of an app that no longer exists. A missing one is no error.
func (f *Folder) Delete(name string) error {
	name, err := app.ParseName(name)
	if err != nil {
		return err
	}
	return f.Of(name).Remove()
}

// DeployKey returns the public part, in authorized_keys form, of the key that the app's submodules are fetched with over SSH. It is made
// when it is first asked for, and again where renew is set. The app must exist: its owner is whose key it is.
func (f *Folder) DeployKey(name string, renew bool) (public string, err error) {
	name, err = app.ParseName(name)
	if err != nil {
		return "", err
	}
	return f.Of(name).deployKey(renew)
}

// ForgetHosts forgets the host keys of the app's submodules: what is shown next is believed, once.
func (f *Folder) ForgetHosts(name string) error {
	name, err := app.ParseName(name)
	if err != nil {
		return err
	}
	return f.Of(name).forgetHosts()
}

// StopMaintenance ends maintenance, waits until it has, and starts none again. Pushes may go on.
func (f *Folder) StopMaintenance() { f.upkeep.stop() }
