package repository

import (
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// askedAtOnce is how many objects are asked for before the first answer is read. Their names fit into a pipe together (64 KiB), so
// that git never waits for us while we wait for it.
const askedAtOnce = 1000

// levels reads the trees below root into the memo, a level of folders after the other, with many asked for at once: one after the
// other would cost two switches between processes for each. It leaves off early where there is too much; walk then says so. What is below a
// tree of the push before was read with it.
func (w *treeWalk) levels(root plumbing.Hash, dir string) error {
	type folder struct {
		id  plumbing.Hash
		dir string
	}
	if w.before[root] != nil {
		return nil
	}
	level := []folder{{root, dir}}
	known := map[plumbing.Hash]bool{root: true}
	listed, paths := 0, w.paths // without those of the push before
	tooMuch := func() bool { return listed > w.limits.Files || paths > maxPaths }
	for range w.limits.Depth {
		var next []folder
		for some := range slices.Chunk(level, askedAtOnce) {
			if tooMuch() || w.memoed >= maxTreeMemo {
				return nil
			}
			var ids strings.Builder
			for _, f := range some {
				ids.WriteString(f.id.String() + "\n")
			}
			if _, err := io.WriteString(w.c.in, ids.String()); err != nil {
				return err
			}
			for _, f := range some {
				list, err := w.answer(f.id, f.dir)
				if err != nil {
					return err
				}
				listed += len(list)
				for _, e := range list {
					if e.mode == filemode.Dir && !known[e.id] && w.before[e.id] == nil && !tooMuch() { // the answers that are still to come must be read
						known[e.id] = true
						paths += len(f.dir) + len(e.path)
						next = append(next, folder{e.id, f.dir + e.path + "/"})
					}
				}
			}
		}
		if level = next; len(level) == 0 {
			return nil
		}
	}
	return nil
}

// count returns how many entries the trees below root have that are at hand, or most.
func (w *treeWalk) count(root plumbing.Hash, most int) int {
	list, ok := w.memo[root]
	if !ok {
		list = w.before[root]
	}
	n := len(list)
	for _, e := range list {
		if n >= most {
			return most
		}
		if e.mode == filemode.Dir {
			n += w.count(e.id, most-n)
		}
	}
	return min(n, most)
}
