package repository

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/disk"
)

// packFile is one pack of a repository.
type packFile struct {
	name  string // "pack-1234…"
	bytes int64
}

// listPacks returns the packs that have an index, largest first.
func listPacks(dir string) ([]packFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".pack"); ok && strings.HasPrefix(name, "pack-") {
			info, err := e.Info()
			if err != nil {
				return nil, err
			}
			sizes[name] = info.Size()
		}
	}
	var packs []packFile
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".idx")
		if n, found := sizes[name]; ok && found {
			packs = append(packs, packFile{name, n})
		}
	}
	slices.SortFunc(packs, func(a, b packFile) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), strings.Compare(a.name, b.name))
	})
	return packs, nil
}

// growth is how many times as large as the next smaller pack a pack must be to be left alone (git repack --geometric). Each
// byte is so written again only once for every doubling of the repository.
const growth = 2

// smallPacks returns which of the packs, largest first, should become one so that every pack is at least growth times as
// large as the next. It returns none where that is so already.
func smallPacks(packs []packFile) []packFile {
	n := 0 // packs[:n] stay
	for n < len(packs)-1 && packs[n].bytes >= growth*packs[n+1].bytes {
		n++
	}
	if n >= len(packs)-1 {
		return nil
	}
	var total int64
	for _, p := range packs[n:] {
		total += p.bytes
	}
	for n > 0 && packs[n-1].bytes < growth*total {
		n--
		total += packs[n].bytes
	}
	return packs[n:]
}

// syncPacks writes the packs of an object directory to disk, and returns their files in the order in which they must appear.
func syncPacks(dir string) (files []string, err error) {
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if strings.HasPrefix(f.Name(), "pack-") {
			files = append(files, f.Name())
			if err := disk.Sync(filepath.Join(dir, f.Name())); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(files, func(a, b string) int { return rank(a) - rank(b) })
	return files, nil
}

// takeOver links the files of a pack into the app's repository, durably. Packs are added and deleted one after the other, since
// two that hold the same have the same name.
func (r *Repository) takeOver(from string, files []string) error {
	r.files.Lock()
	defer r.files.Unlock()
	to := r.packDir()
	for _, f := range files {
		if err := os.Link(filepath.Join(from, f), filepath.Join(to, f)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return disk.Sync(to)
}

// rank orders the files of a pack: git believes in a pack as soon as it sees the index.
func rank(file string) int {
	switch filepath.Ext(file) {
	case ".pack":
		return 0
	case ".idx":
		return 2
	}
	return 1
}
