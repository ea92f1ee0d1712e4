package sandbox

import (
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
	"github.com/gitd-io/gitd/internal/disk"
)

// Each app has a directory, which holds
//
//	cache/    what the buildpacks keep for the next build, mounted in the container
//	kept/     layers that are cached
//	build-…/  a build under way
//
// and is the app's alone: what a build leaves there, only a build of the same app ever sees.

func (e *Engine) appDir(name string) string { return dirOf(e.opts.Dir, name) }

func dirOf(dir, name string) string { return filepath.Join(dir, "apps", name) }

// RemoveCache takes away what an app's builds kept in the directory of an engine that does not run. The next engine removes it.
func RemoveCache(dir, name string, log func(format string, args ...any)) error {
	if n, err := app.ParseName(name); err != nil || n != name {
		return err
	}
	trash := trashOf(dir, log)
	trash.Close() // only moved
	return trash.Discard(dirOf(dir, name))
}

// PurgeCache removes the cache of an app. It waits for a build of the app that is under way.
func (e *Engine) PurgeCache(name string) error {
	if n, err := app.ParseName(name); err != nil || n != name {
		return err
	}
	release, err := e.sessions.Lock(context.Background(), name)
	if err != nil {
		return err
	}
	defer release()
	return e.trash.Discard(e.appDir(name))
}

// prepareCache makes the app's directories. What belongs to another user than the build's is removed: it is left from an earlier app of that
// name, or from a server that gave its apps other user IDs.
func (e *Engine) prepareCache(name string, owner int, clear bool) error {
	dir := e.appDir(name)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	for _, d := range []string{"cache", wire.Kept} {
		d = filepath.Join(dir, d)
		e.settler.Unsettle(d)
		info, err := os.Lstat(d)
		if err == nil {
			s, ok := info.Sys().(*syscall.Stat_t)
			if clear || !info.IsDir() || !ok || int(s.Uid) != owner || int(s.Gid) != owner {
				if err := e.trash.Discard(d); err != nil {
					return err
				}
			}
		}
		if err := ownedDir(d, owner, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// ownedDir makes a directory that belongs to the build's user and group.
func ownedDir(dir string, owner int, mode os.FileMode) error {
	if err := os.Mkdir(dir, mode); err != nil && !os.IsExist(err) {
		return err
	}
	if err := os.Chown(dir, owner, owner); err != nil {
		return err
	}
	return os.Chmod(dir, mode)
}

// distrustCaches removes the caches that were written shortly before the machine went down: their files may be empty, and no build finds out.
func (e *Engine) distrustCaches() {
	var unsettled []string
	for _, d := range []string{filepath.Join("apps", "*", "cache"), filepath.Join("apps", "*", wire.Kept), sharedDir} {
		found, _ := filepath.Glob(filepath.Join(e.opts.Dir, d)) // the pattern is right
		for _, dir := range found {
			if !disk.Settled(dir) {
				unsettled = append(unsettled, dir)
			}
		}
	}
	err := disk.AfterBoot(filepath.Join(e.opts.Dir, ".boot"), func() error {
		for _, dir := range unsettled {
			e.opts.Log("build: the cache %s was not on the disk when the machine went down, and is removed", dir)
			e.discard(dir)
		}
		return nil
	})
	if err != nil {
		e.opts.Log("build: caches are not looked at: %v", err)
	}
	for _, dir := range unsettled { // one that is gone needs no mark
		e.settler.Settle(dir)
	}
}

// settleCache starts syncing the app's cache to the disk, and marks it as synced after that.
func (e *Engine) settleCache(name string) {
	for _, dir := range e.cacheDirs(name) {
		e.settler.Settle(dir)
	}
}

func (e *Engine) cacheDirs(name string) []string {
	return []string{filepath.Join(e.appDir(name), "cache"), filepath.Join(e.appDir(name), wire.Kept)}
}

// dropCache removes the app's cache. The caller holds the app's lock.
func (e *Engine) dropCache(name string) {
	for _, d := range e.cacheDirs(name) {
		e.discard(d)
	}
}

// downloads is the folder of a cache for what can be fetched again: buildpacks keep package managers' own caches there.
const downloads = "downloads"

// mostEntries is how many entries of a cache's folder are looked at one by one. Buildpacks make a dozen; a cache with more is removed whole.
const mostEntries = 64

// capped is what capCache did: what the cache took before, and what it removed.
type capped struct {
	used    disk.Usage
	removed string // in words; "" for nothing
}

// capCache makes the cache smaller when it takes more than its limits, or more than a tenth of the files and folders that fit on the disk. What
// was downloaded goes first, for it can be fetched again; then the folders that buildpacks keep, the largest first and each whole, for a part of one may be
// worth less than none; layers that are kept go last.
func (e *Engine) capCache(ctx context.Context, name string, l build.Limits) (capped, error) {
	over := func(u disk.Usage) bool { return u.Over(l.Cache, e.share(l.CacheFiles, 10)) }
	used := disk.Measure(ctx, e.cacheDirs(name)...)
	if !over(used) {
		return capped{}, nil
	}
	cache := filepath.Join(e.appDir(name), "cache")
	e.discard(filepath.Join(cache, downloads))
	left := disk.Measure(ctx, e.cacheDirs(name)...)
	if !over(left) {
		return capped{used, "what was downloaded"}, nil
	}
	entries, err := readSome(cache, mostEntries+1)
	if err != nil || len(entries) > mostEntries {
		e.dropCache(name)
		return capped{used, "all of it"}, nil
	}
	sizes := map[string]disk.Usage{}
	for _, entry := range entries {
		sizes[entry] = measure(ctx, filepath.Join(cache, entry))
	}
	byFiles := !left.Over(l.Cache, 0)
	slices.SortFunc(entries, func(a, b string) int {
		if byFiles {
			return cmp.Compare(sizes[b].Entries, sizes[a].Entries)
		}
		return cmp.Compare(sizes[b].Bytes, sizes[a].Bytes)
	})
	removed := []string{"what was downloaded"}
	for _, entry := range entries {
		e.discard(filepath.Join(cache, entry))
		removed = append(removed, app.Plain(entry))
		left.Bytes -= sizes[entry].Bytes
		left.Entries -= sizes[entry].Entries
		if !over(left) {
			return capped{used, strings.Join(removed, ", ")}, nil
		}
	}
	e.dropCache(name)
	return capped{used, "all of it"}, nil
}

// measure returns what a folder takes, or a file.
func measure(ctx context.Context, path string) disk.Usage {
	if fi, err := os.Lstat(path); err == nil && !fi.IsDir() {
		return disk.Usage{Bytes: fi.Size(), Entries: 1}
	}
	return disk.Measure(ctx, path)
}

// readSome lists at most n names of a directory. One that is not there has none.
func readSome(dir string, n int) ([]string, error) {
	f, err := os.Open(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(n)
	if err == io.EOF {
		err = nil
	}
	return names, err
}
