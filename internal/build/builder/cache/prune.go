package cache

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/disk"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// What makes room in the cache, and what can never be taken from under a build that uses it:
//
//   - An entry goes when it is not one of the newest two of its kind, it was not asked for in a week, and no process
//     has it open: a process that was given an image of it holds a shared lock on its folder, until the process ends. Of pulled
//     images only those go that their reference does not stand for any more.
//   - A stage goes after a week without use, when no entry has its file.
//   - An unpacked layer goes with the last builder that has it, when no process holds its lock likewise: builds run on
//     it, and builds end with their server.
//   - An unpacked layer of a run image never goes. Apps run on it, for as long as they like and without any process of
//     ours that could hold a lock. A run image is small, and a machine sees few of them.
//   - A layer of a builder that the cache has no entry of (oci:DIR) stays too.
//
// Only the holder of the cache's lock prunes.

const (
	keepEntries = 2
	keepUnused  = 7 * 24 * time.Hour
)

// held are the files by which this process holds locks, by the path of the folder. They are never closed.
var held struct {
	sync.Mutex
	files map[string]*os.File
}

// Hold takes a shared lock on a folder of the cache, which lasts as long as this process does, and notes its use. It
// reports false where the folder has gone.
func Hold(dir string) (bool, error) {
	held.Lock()
	defer held.Unlock()
	f := held.files[dir]
	if f == nil || !same(f, dir) {
		var err error
		if f, err = os.Open(dir); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		// A pruner holds the other lock for a moment, after which the folder is not there.
		if err := flock(f, unix.LOCK_SH); err != nil {
			f.Close()
			return false, err
		}
		if !same(f, dir) {
			f.Close()
			return false, nil
		}
		if held.files == nil {
			held.files = map[string]*os.File{}
		}
		if old := held.files[dir]; old != nil {
			old.Close()
		}
		held.files[dir] = f
	}
	return true, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return os.NewSyscallError("flock", err)
		}
	}
}

// same says whether a path still leads to an open folder.
func same(f *os.File, dir string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(dir)
	return err == nil && os.SameFile(a, b)
}

// Touch notes the use of an entry or stage. A cache that cannot be written only forgets.
func Touch(dir string) {
	now := time.Now()
	_ = os.Chtimes(dir, now, now)
}

// HoldLayers unpacks what is missing of an image, and holds its layers.
func (c *Cache) HoldLayers(ensure func() ([]string, error)) ([]string, error) {
	for range 10 { // a pruner may be at work between the two
		dirs, err := ensure()
		if err != nil {
			return nil, err
		}
		all := true
		for _, d := range dirs {
			ok, err := Hold(d)
			if err != nil {
				return nil, err
			}
			all = all && ok
		}
		if all {
			return dirs, nil
		}
	}
	return nil, errors.New("the unpacked layers in " + c.LayersDir() + " vanish as soon as they are made")
}

// MarkRun notes for good that an app may run on an image's layers.
func (c *Cache) MarkRun(img v1.Image) error {
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	for _, id := range config.RootFS.DiffIDs {
		f, err := os.OpenFile(filepath.Join(c.Dir, "run", id.Hex), os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

// folder is an entry of the cache.
type folder struct {
	path string
	used time.Time
	link string // that leads to it; "" for none
}

// folders returns the entries below a folder of the cache, the one used last first.
func (c *Cache) folders(kind string) ([]folder, error) {
	dir := filepath.Join(c.Dir, kind)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	links := map[string]string{}
	var all []folder
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		if e.Type()&fs.ModeSymlink != 0 {
			if to, err := os.Readlink(at); err == nil {
				links[filepath.Join(dir, to)] = at
			}
		} else if info, err := e.Info(); err == nil && e.IsDir() {
			all = append(all, folder{path: at, used: info.ModTime()})
		}
	}
	for i := range all {
		all[i].link = links[all[i].path]
	}
	slices.SortFunc(all, func(a, b folder) int { return b.used.Compare(a.used) })
	return all, nil
}

// MakeRoom prunes after something new came. What fails takes disk space and no more.
func (c *Cache) MakeRoom() {
	if err := c.prune(time.Now()); err != nil {
		c.Log.Detail("the cache of builder images could not be pruned: %v", err)
	}
}

// prune makes room. The caller holds the cache's lock.
func (c *Cache) prune(now time.Time) error {
	old := func(t time.Time) bool { return now.Sub(t) > keepUnused }
	builders, err := c.folders("builder")
	if err != nil {
		return err
	}
	images, err := c.folders("image")
	if err != nil {
		return err
	}
	var remove, keep []folder
	sort := func(f folder, unused bool) {
		if unused {
			remove = append(remove, f)
		} else {
			keep = append(keep, f)
		}
	}
	for i, f := range builders {
		sort(f, i >= keepEntries && old(f.used))
	}
	for _, f := range images {
		sort(f, f.link == "" && old(f.used))
	}
	candidates, inUse, err := c.removeFolders(remove)
	if err != nil {
		return err
	}
	if err := c.pruneStages(old); err != nil {
		return err
	}
	c.pruneDigests(old)
	kept := map[string]bool{}
	for _, f := range append(keep, inUse...) {
		if err := c.addLayers(kept, f); err != nil {
			return err
		}
	}
	return c.pruneLayers(candidates, kept)
}

// removeFolders removes images. It returns the layers of those that are gone, and the images that are in use, which stay.
func (c *Cache) removeFolders(remove []folder) (layers map[string]bool, inUse []folder, err error) {
	layers = map[string]bool{}
	for _, f := range remove {
		of := map[string]bool{}
		if err := c.addLayers(of, f); err != nil {
			return nil, nil, err
		}
		removed, err := c.remove(f.path, func() error {
			if f.link == "" {
				return nil
			}
			return os.Remove(f.link)
		})
		if err != nil {
			return nil, nil, err
		}
		if !removed {
			inUse = append(inUse, f)
			continue
		}
		maps.Copy(layers, of)
	}
	return layers, inUse, nil
}

func (c *Cache) addLayers(to map[string]bool, f folder) error {
	layers, err := c.builderLayers(f.path)
	for _, l := range layers {
		to[l] = true
	}
	return err
}

// pruneLayers removes unpacked layers that no image needs any more.
func (c *Cache) pruneLayers(candidates, kept map[string]bool) error {
	for hex := range candidates {
		dir := filepath.Join(c.LayersDir(), hex)
		if _, err := os.Lstat(filepath.Join(c.Dir, "run", hex)); err == nil || kept[hex] || !filled(dir) {
			continue
		}
		if _, err := c.remove(dir, func() error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// filled says whether there is anything in a folder. The empty layer is in many images; to remove it would free nothing.
func filled(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

// remove removes a folder of the cache unless a process holds it. first is called under the lock.
func (c *Cache) remove(dir string, first func() error) (bool, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	switch err := flock(f, unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, nil
	case err != nil:
		return false, err
	}
	if err := first(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	// It disappears at once; the next process that holds the lock of the cache clears what we do not get done.
	tmp, err := c.Temp("pruned")
	if err != nil {
		return false, err
	}
	if err := os.Rename(dir, filepath.Join(tmp, filepath.Base(dir))); err != nil {
		return false, err
	}
	return true, disk.RemoveAll(tmp)
}

// builderLayers returns the diff IDs, in hex, of the layers that builds alone need of an entry, and marks those that apps
// may need: caches of earlier versions have no marks.
func (c *Cache) builderLayers(dir string) ([]string, error) {
	all, err := layoutImages(dir)
	if err != nil {
		return nil, nil // not whole: of no use, and nothing is known of its layers
	}
	var layers []string
	for _, i := range all {
		if i.Config.Config.Labels[MetadataLabel] == "" {
			if err := c.MarkRun(i.Image); err != nil {
				return nil, err
			}
			continue
		}
		for _, id := range i.Config.RootFS.DiffIDs {
			layers = append(layers, id.Hex)
		}
	}
	return layers, nil
}

// pruneStages removes the stages that are no longer used.
func (c *Cache) pruneStages(old func(time.Time) bool) error {
	stages, err := c.folders("stage")
	if err != nil {
		return err
	}
	for _, s := range stages {
		if !old(s.used) || linked(filepath.Join(s.path, "layer.tar.gz")) {
			continue
		}
		if _, err := c.remove(s.path, func() error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// linked says whether a file has other names: entries have the files of their stages.
func linked(file string) bool {
	var s unix.Stat_t
	return unix.Lstat(file, &s) == nil && s.Nlink > 1
}

// pruneDigests forgets the digests of programs that are of an earlier version, or gone.
func (c *Cache) pruneDigests(old func(time.Time) bool) {
	files, _ := filepath.Glob(filepath.Join(c.Dir, digestPrefix+"*"))
	for _, f := range files {
		if info, err := os.Lstat(f); err == nil && info.Mode().IsRegular() && old(info.ModTime()) {
			_ = os.Remove(f)
		}
	}
}
