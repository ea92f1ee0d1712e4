package disk

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"
)

// syncsAtOnce is how many syncs are under way together: the disk, or the file system's journal, does them in one turn.
const syncsAtOnce = 8

// SyncAll is Sync for many files and folders. One that is not there is left out.
func SyncAll(paths ...string) error {
	var g errgroup.Group
	g.SetLimit(syncsAtOnce)
	for _, p := range paths {
		g.Go(func() error {
			if err := Sync(p); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		})
	}
	return g.Wait()
}

// Batch puts small files in place together. A power cut leaves of each what was there before, or all of it, as with Replace; that one of them is there says
// nothing of the others. When Place returns, all are. It takes two turns of the disk instead of two for each file.
type Batch struct {
	names   [][2]string     // of files: the temporary one, and the one that it gets
	content []string        // that is there already, and that Place syncs as well
	dirs    map[string]bool // that got a name
}

// Add writes a file beside the place that it gets, and makes the folders on the way to it.
func (b *Batch) Add(path string, mode os.FileMode, content []byte) error {
	dir := filepath.Dir(path)
	if err := b.MakeDir(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, temporary)
	if err != nil {
		return err
	}
	b.names = append(b.names, [2]string{f.Name(), path})
	b.SyncDir(dir)
	_, err = f.Write(content)
	return errors.Join(err, f.Chmod(mode), f.Close())
}

// MakeDir makes a folder and those above it, and has Place sync the ones that it adds to.
func (b *Batch) MakeDir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrNotExist) {
		if err := b.MakeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o755)
	}
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil {
		b.SyncDir(filepath.Dir(dir))
	}
	return err
}

// SyncDir has Place put the names in folders on the disk.
func (b *Batch) SyncDir(dirs ...string) {
	if b.dirs == nil {
		b.dirs = map[string]bool{}
	}
	for _, d := range dirs {
		b.dirs[d] = true
	}
}

// Sync has Place put a file on the disk that is in its place already, and the names in its folder.
func (b *Batch) Sync(path string) {
	b.content = append(b.content, path)
	b.SyncDir(filepath.Dir(path))
}

// Place puts the content on the disk, then the files in their places in the order of the calls of Add, then the names on the disk. The batch is empty then.
func (b *Batch) Place() error {
	defer b.Drop()
	all := slices.Clone(b.content)
	for _, n := range b.names {
		all = append(all, n[0])
	}
	if err := SyncAll(all...); err != nil {
		return err
	}
	for _, n := range b.names {
		if err := os.Rename(n[0], n[1]); err != nil {
			return err
		}
	}
	return SyncAll(slices.Collect(maps.Keys(b.dirs))...)
}

// Drop removes what was not placed.
func (b *Batch) Drop() {
	for _, n := range b.names {
		_ = os.Remove(n[0])
	}
	*b = Batch{}
}
