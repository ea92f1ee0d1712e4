package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/repository/lfs"
)

// attributesFile is the name of the files that say, among other things, which files are in Git LFS; filterLFS is how they say it.
const (
	attributesFile = ".gitattributes"
	filterLFS      = "filter=lfs"
)

// maxAttributes bounds the .gitattributes files that are read, in bytes.
const maxAttributes = 1 << 20

// FindLarge finds the files of the commit that are in Git LFS, and gives their entries the objects that they stand for. Those are the files
// that .gitattributes sends through the filter "lfs", by git's own reading of it, and that hold a pointer. It fails where an object
// is missing. It returns how many there are.
func (q *Quarantine) FindLarge(ctx context.Context) (n int, err error) {
	limits, entries := q.of.limits(), q.entries
	used, err := q.mentionsLarge(ctx, entries)
	if err != nil || !used {
		return 0, err
	}
	selected, err := q.filtered(ctx, q.tree.String(), entries, limits)
	if err != nil {
		return 0, err
	}
	store := q.of.LargeFiles()
	var missing []string
	total := int64(0)
	err = q.cat.use(ctx, func() error {
		for _, i := range selected {
			e := &entries[i]
			p, err := q.pointer(e)
			if err != nil {
				return err
			}
			if p == nil {
				continue
			}
			here, err := store.Use(p.OID)
			switch {
			case errors.Is(err, fs.ErrNotExist) || err == nil && here != p.Size:
				missing = append(missing, e.path)
				continue
			case err != nil:
				return err
			}
			if total += p.Size; total > limits.Checkout {
				return tooMuch(limits)
			}
			e.large = &largeFile{*p, store}
			q.large = append(q.large, p.OID)
		}
		return nil
	})
	if err == nil && len(missing) > 0 {
		err = notSent(missing)
	}
	if err != nil {
		return 0, err
	}
	return len(q.large), nil
}

// pointer reads the pointer that a file holds; nil where it holds none. It is used inside of use.
func (q *Quarantine) pointer(e *entry) (*lfs.Pointer, error) {
	if err := q.cat.ask(e.id); err != nil {
		return nil, err
	}
	kind, size, err := q.cat.answer()
	if errors.Is(err, errMissing) || err == nil && kind != "blob" {
		return nil, incomplete("%s is missing", quote(e.path))
	}
	if err != nil {
		return nil, err
	}
	if size > lfs.MaxPointer { // the file itself, as for Git LFS: it was committed without
		_, err := q.cat.out.Discard(int(size) + 1)
		return nil, err
	}
	content, err := q.cat.content(size)
	if err != nil {
		return nil, err
	}
	p, ok := lfs.ParsePointer(content)
	if !ok {
		return nil, nil
	}
	if p.Extended {
		return nil, app.Errorf(app.CodeInvalidInput, "track it without the extension", "%s uses an extension of Git LFS, which gitd does not run", quote(e.path))
	}
	return &p, nil
}

// notSent is the error of a commit whose files in Git LFS are not all here.
func notSent(paths []string) error {
	also := ""
	if n := len(paths); n > 1 {
		also = fmt.Sprintf(" (and %s)", app.Count(n-1, "other file"))
	}
	return app.Errorf(app.CodeInvalidInput, "send what is missing, then push again: git lfs push --all platform main",
		"the content of %s%s is not here: it is in Git LFS, and was not sent", quote(paths[0]), also)
}

// largeFile is what a pointer stands for.
type largeFile struct {
	lfs.Pointer
	store *lfs.Store
}

// mentionsLarge says whether any .gitattributes speaks of Git LFS: most commits have none that does, and cost nothing more.
func (q *Quarantine) mentionsLarge(ctx context.Context, entries []entry) (found bool, err error) {
	err = q.cat.use(ctx, func() error {
		for _, e := range entries {
			if path.Base(e.path) != attributesFile || !e.regular() || e.module != nil {
				continue
			}
			_, content, err := q.cat.object(e.id, maxAttributes)
			var large *tooLargeError
			switch {
			case errors.As(err, &large):
				return app.Errorf(app.CodeLimitExceeded, "make it smaller", "%s is larger than %s", quote(e.path), app.Size(maxAttributes))
			case errors.Is(err, errMissing):
				return incomplete("%s is missing", quote(e.path))
			case err != nil:
				return err
			}
			if strings.Contains(string(content), filterLFS) {
				found = true
				return nil
			}
		}
		return nil
	})
	return found, err
}

// attributesAtOnce is how many files git is asked about at once: it says the path of each again, and whatever the attribute is, which may
// be 2 KB.
const attributesAtOnce = 4000

// filtered returns the indexes of the regular files that .gitattributes sends through the filter "lfs". git decides.
func (q *Quarantine) filtered(ctx context.Context, tree string, entries []entry, limits Limits) (found []int, err error) {
	index := q.objects
	index.index = path.Join(q.quarantine, "index")
	if _, err := index.run(ctx, "", limits, "read-tree", tree); err != nil {
		return nil, err
	}
	var files []int
	for i, e := range entries {
		if e.regular() && e.module == nil {
			files = append(files, i)
		}
	}
	for some := range slices.Chunk(files, attributesAtOnce) {
		var paths strings.Builder
		at := make(map[string]int, len(some))
		for _, i := range some {
			paths.WriteString(entries[i].path)
			paths.WriteByte(0)
			at[entries[i].path] = i
		}
		out, err := index.run(ctx, paths.String(), limits, "check-attr", "--cached", "-z", "--stdin", "filter")
		if err != nil {
			return nil, err
		}
		fields := strings.Split(out, "\x00") // path, "filter", value, and again
		for i := 0; i+2 < len(fields); i += 3 {
			if n, ok := at[fields[i]]; ok && fields[i+2] == "lfs" {
				found = append(found, n)
			}
		}
	}
	return found, nil
}

// tooMuch is the error of a commit with too many bytes.
func tooMuch(limits Limits) error {
	return app.Errorf(app.CodeLimitExceeded, "leave large files out of the repository",
		"the files of the commit are larger than %s together", app.Size(limits.Checkout))
}
