// Package repository is a bare repository on disk: packs and the quarantines that new ones come into, trees and checkouts, submodules, large
// files, and maintenance. It knows nothing of how a push arrives.
package repository

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/repository/lfs"
)

// The refs that can be live (those of other branches have previews), and the ID that stands for no object.
const (
	RefMain   = "refs/heads/main"
	RefMaster = "refs/heads/master"
	ZeroID    = "0000000000000000000000000000000000000000"
)

// Repository is one app's. It need not exist on disk.
type Repository struct {
	folder *Folder
	name   string
	path   string // DIR/APP.git

	wantsAll atomic.Bool // the next push is to send its whole history

	files   sync.Mutex // held while files change: refs, packs, keys, or all of it
	turns   turns
	packs   packState
	large   *lfs.Store // nil until it is asked for; guarded by files
	modules moduleState
}

// turns are the order of an app's pushes.
type turns struct {
	// mu guards the following.
	mu      sync.Mutex
	next    uint64            // turn of the next push or SetLive
	current map[string]uint64 // by ref (main for master too): turn of the one that moved it last
}

func (r *Repository) limits() Limits { return r.folder.opts.Limits }

// packDir is the folder of its packs.
func (r *Repository) packDir() string { return filepath.Join(r.path, "objects/pack") }

// Turn gives out the next place in the order of the app's pushes.
func (r *Repository) Turn() uint64 {
	r.turns.mu.Lock()
	defer r.turns.mu.Unlock()
	n := r.turns.next
	r.turns.next++
	return n
}

// WantsAll says whether the next push is to send its whole history: what was cut off before is needed.
func (r *Repository) WantsAll() bool { return r.wantsAll.Load() }

// SetWantsAll sets what WantsAll says.
func (r *Repository) SetWantsAll(all bool) { r.wantsAll.Store(all) }

// Ensure makes the repository if there is none.
func (r *Repository) Ensure() error {
	r.files.Lock()
	defer r.files.Unlock()
	made, err := makeBare(r.path, "refs/heads", "\tfilemode = true\n\tbare = true\n[gc]\n\tauto = 0\n")
	if err != nil || !made {
		return err
	}
	return disk.Sync(r.folder.dir)
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
	for file, text := range map[string]string{"HEAD": "ref: " + RefMain + "\n", "config": "[core]\n\trepositoryformatversion = 0\n" + core} {
		if err := writeSynced(filepath.Join(tmp, file), text); err != nil {
			return false, err
		}
	}
	return true, os.Rename(tmp, to)
}

// Live returns the ref that is live and its commit; both are "" where nothing is.
func (r *Repository) Live() (ref, commit string, err error) {
	for _, ref := range []string{RefMain, RefMaster} {
		b, err := os.ReadFile(filepath.Join(r.path, ref))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", "", err
		}
		commit := strings.TrimSpace(string(b))
		if !IsID(commit) {
			return "", "", fmt.Errorf("%s of %s holds %q", ref, r.name, commit)
		}
		return ref, commit, nil
	}
	return "", "", nil
}

// SetLive points ref, that of main or of a preview's branch, to commit, durably. The deployment is the truth: what the ref held before does not matter. A turn that is
// older than the one that moved the ref last changes nothing, since the newer push has replaced it.
func (r *Repository) SetLive(ref, commit string, turn uint64) error {
	r.files.Lock()
	defer r.files.Unlock()
	if r.turns.past(ref, turn) {
		return nil
	}
	if ref != RefMain && ref != RefMaster {
		err := r.setBranch(ref, commit)
		if err == nil {
			r.turns.took(ref, turn)
		}
		return err
	}
	if err := replaceSynced(filepath.Join(r.path, ref), commit+"\n"); err != nil {
		return err
	}
	r.turns.took(ref, turn)
	if ref == RefMain { // main takes over from a master that was live before
		if err := os.Remove(filepath.Join(r.path, RefMaster)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if head, err := os.ReadFile(filepath.Join(r.path, "HEAD")); err == nil && string(head) == "ref: "+ref+"\n" {
		return nil
	}
	return replaceSynced(filepath.Join(r.path, "HEAD"), "ref: "+ref+"\n")
}

// past says whether a turn of this number or a later one has moved the ref.
func (t *turns) past(ref string, turn uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return turn <= t.current[turnOf(ref)]
}

func (t *turns) took(ref string, turn uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		t.current = map[string]uint64{}
	}
	t.current[turnOf(ref)] = turn
}

// turnOf is the ref whose turns count for ref: main and master are one.
func turnOf(ref string) string {
	if ref == RefMaster {
		return RefMain
	}
	return ref
}

// restore is Folder.SetLive.
func (r *Repository) restore(branch, commit string) error {
	if commit == "" {
		return r.clear(branch)
	}
	missing := app.Errorf(app.CodeNotFound, "push that commit again", "commit %.12s of %s is not in its repository", commit, r.name)
	if !IsID(commit) {
		return missing
	}
	turn := r.Turn()
	o := objects{repository: r.path}
	if _, err := os.Stat(o.repository); errors.Is(err, fs.ErrNotExist) {
		return missing
	}
	if _, err := o.run(context.Background(), "", r.limits(), "cat-file", "-e", commit+"^{commit}"); err != nil {
		var g *GitError
		if errors.As(err, &g) {
			return missing
		}
		return err
	}
	if branch != "" {
		return r.SetLive(refHeads+branch, commit, turn)
	}
	ref, _, err := r.Live()
	if err != nil {
		return err
	}
	return r.SetLive(cmp.Or(ref, RefMain), commit, turn)
}

// clear removes main, or a preview's branch: no commit is live.
func (r *Repository) clear(branch string) error {
	refs := []string{RefMain, RefMaster}
	if branch != "" {
		refs = []string{refHeads + branch}
	}
	turn := r.Turn()
	r.files.Lock()
	defer r.files.Unlock()
	if r.turns.past(refs[0], turn) {
		return nil
	}
	for _, ref := range refs {
		err := os.Remove(filepath.Join(r.path, ref))
		if err == nil {
			err = disk.Sync(filepath.Dir(filepath.Join(r.path, ref)))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	r.turns.took(refs[0], turn)
	return nil
}

// Remove deletes the repository.
func (r *Repository) Remove() error {
	r.files.Lock()
	defer r.files.Unlock()
	gone := filepath.Join(r.folder.dir, ".deleted-"+rand.Text()) // by a name alone: a full disk has no room for a folder
	defer disk.RemoveAll(gone)
	err := os.Rename(r.path, gone)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.large = nil
	r.folder.trees.drop(r.name)
	return disk.Sync(r.folder.dir)
}

// largeDir is where a repository has the files of Git LFS.
const largeDir = "lfs"

// LargeFiles returns the app's files in Git LFS. The repository must exist.
func (r *Repository) LargeFiles() *lfs.Store {
	r.files.Lock()
	defer r.files.Unlock()
	if r.large == nil {
		l := r.limits()
		r.large = lfs.Open(filepath.Join(r.path, largeDir), lfs.Limits{Object: l.Large, App: l.LargeApp, MinFree: l.MinFree, Keep: l.KeepLarge}, r.liveCommits)
	}
	return r.large
}

// liveCommits returns what refs name, as far as they can be read.
func (r *Repository) liveCommits() (commits []string) {
	if _, commit, err := r.Live(); err == nil && commit != "" {
		commits = append(commits, commit)
	}
	branches, err := r.Branches()
	if err != nil {
		r.folder.opts.Log("branches of %s: %v", r.name, err)
	}
	for _, commit := range branches {
		commits = append(commits, commit)
	}
	return commits
}

// certificatesDir is where a repository keeps the certificates of signed pushes that went live, by commit.
const certificatesDir = "certificates"

// KeepCertificate keeps the certificate of a commit that went live beside it, so that it can be checked again.
func (r *Repository) KeepCertificate(commit, text string) error {
	dir := filepath.Join(r.path, certificatesDir)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return replaceSynced(filepath.Join(dir, commit), text)
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
