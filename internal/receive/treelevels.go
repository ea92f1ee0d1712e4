package receive

import (
	"io"
	"slices"
	"strings"
)

// askedAtOnce is how many objects are asked for before the first answer is read. Their names fit into a pipe together (64 KiB), so
// that git never waits for us while we wait for it.
const askedAtOnce = 1000

// levels reads the trees below root into the memo, a level of folders after the other, with many asked for at once: one after the
// other would cost two switches between processes for each. It leaves off early where there is too much; walk then says so.
func (w *treeWalk) levels(root, dir string) error {
	type folder struct{ id, dir string }
	level := []folder{{root, dir}}
	known := map[string]bool{root: true}
	listed, paths := 0, w.paths
	tooMuch := func() bool { return listed > w.limits.MaxFiles || paths > maxPaths }
	defer func() { w.entries = slices.Grow(w.entries, min(listed, w.limits.MaxFiles)) }()
	for range w.limits.MaxDepth {
		var next []folder
		take := func(f folder, list []entry) {
			listed += len(list)
			for _, e := range list {
				if e.mode == modeDir && !known[e.id] && !tooMuch() { // the answers that are still to come must be read
					known[e.id] = true
					paths += len(f.dir) + len(e.path)
					next = append(next, folder{e.id, f.dir + e.path + "/"})
				}
			}
		}
		for some := range slices.Chunk(level, askedAtOnce) {
			if tooMuch() || w.memoed >= maxTreeMemo {
				return nil
			}
			var ids strings.Builder
			var asked []folder
			for _, f := range some {
				if list, ok := w.before[f.id]; ok {
					w.memo[f.id] = list
					take(f, list)
					continue
				}
				asked = append(asked, f)
				ids.WriteString(f.id + "\n")
			}
			if _, err := io.WriteString(w.c.in, ids.String()); err != nil {
				return err
			}
			for _, f := range asked {
				list, err := w.answer(f.id, f.dir)
				if err != nil {
					return err
				}
				take(f, list)
			}
		}
		if level = next; len(level) == 0 {
			return nil
		}
	}
	return nil
}
