package corpus

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// The size of what Large makes.
const (
	largeZips    = 480 << 20 // bytes of zips whose files are taken
	largeObjects = 540_000
	editedFiles  = 6000
	editedLimit  = 48 << 10
)

// Large returns a bare repository of more than 300 MB and 500,000 objects. Its files are those of the modules in the Go module
// cache, a commit for each. A history of tens of thousands of small commits follows: each changes some lines of a few files
// that lie together, as developers do, and the lines come from other files.
func Large(ctx context.Context, say func(format string, args ...any)) (repository string, err error) {
	return cached(ctx, "large", say, func(i *importer) error { return i.large(ctx, say) })
}

type editedFile struct {
	name    string
	content []byte
}

func (i *importer) large(ctx context.Context, say func(string, ...any)) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return fmt.Errorf("go env GOMODCACHE: %w", err)
	}
	cache := filepath.Join(strings.TrimSpace(string(out)), "cache/download")
	type zipFile struct {
		path string
		size int64
	}
	var zips []zipFile
	err = filepath.WalkDir(cache, func(path string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".zip" || strings.Contains(path, "go-git-fixtures") { // which is all packs
			return err
		}
		info, err := e.Info()
		if err == nil {
			zips = append(zips, zipFile{path, info.Size()})
		}
		return err
	})
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 1))
	r.Shuffle(len(zips), func(a, b int) { zips[a], zips[b] = zips[b], zips[a] })
	// The largest come first, so that there is enough.
	slices.SortStableFunc(zips, func(a, b zipFile) int { return int(min(b.size>>22, 4) - min(a.size>>22, 4)) })
	var total int64
	var files []editedFile
	folders := map[string]bool{}
	for _, z := range zips {
		if total += z.size; total > largeZips {
			break
		}
		rel, _ := filepath.Rel(cache, z.path)
		module, _, _ := strings.Cut(filepath.ToSlash(rel), "/@v/")
		i.commit(rel)
		err := eachFile(z.path, func(name string, content []byte) {
			name = module + "/" + name
			i.file(name, content)
			i.objects++
			for d := filepath.Dir(name); d != "."; d = filepath.Dir(d) {
				folders[d] = true
			}
			if len(content) < editedLimit && bytes.Count(content, []byte("\n")) > 20 && utf8.Valid(content) && r.IntN(6) == 0 && len(files) < editedFiles {
				files = append(files, editedFile{name, content})
			}
		})
		if err != nil {
			return err
		}
	}
	i.objects += len(folders)
	if len(files) < 100 {
		return fmt.Errorf("the Go module cache %s has too little", cache)
	}
	say("%d MB of modules, about %d objects; edits follow", total>>20, i.objects)
	slices.SortFunc(files, func(a, b editedFile) int { return strings.Compare(a.name, b.name) })
	for i.objects < largeObjects {
		if err := ctx.Err(); err != nil {
			return err
		}
		i.commit(fmt.Sprintf("edit %d", i.commits))
		i.objects++
		at := int(float64(len(files)) * r.Float64() * r.Float64()) // some places see more work than others
		touched := map[string]bool{"": true}
		for range 1 + r.IntN(4) {
			f := &files[(at+r.IntN(6))%len(files)]
			if touched[f.name] {
				continue
			}
			touched[f.name] = true
			f.content = edit(r, f.content, files[r.IntN(len(files))].content)
			i.file(f.name, f.content)
			for d := filepath.Dir(f.name); d != "."; d = filepath.Dir(d) {
				touched[d] = true
			}
		}
		i.objects += len(touched)
	}
	return nil
}

// edit replaces, adds or deletes lines in a few places.
func edit(r *rand.Rand, content, other []byte) []byte {
	lines, more := bytes.SplitAfter(content, []byte("\n")), bytes.SplitAfter(other, []byte("\n"))
	for range 1 + r.IntN(3) {
		at, gone := r.IntN(len(lines)), r.IntN(4)
		from, added := r.IntN(len(more)), r.IntN(6)
		if len(content) > editedLimit {
			added = 0
		}
		lines = slices.Replace(lines, at, min(at+gone, len(lines)), more[from:min(from+added, len(more))]...)
		if len(lines) == 0 {
			return other
		}
	}
	return bytes.Join(lines, nil)
}
