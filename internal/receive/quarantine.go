package receive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// quarantine holds the objects of one push until it is accepted, inside of the repository so that taking them over is a
// matter of hard links. It stays until the push is over: the source reads from it.
type quarantine struct {
	objects
	store *store
	name  string
	cat   *catFile
	cut   []string           // the client's shallow commits
	trees map[string][]entry // of the commit that is to be deployed, by ID

	modules []*catFile // of submodules

	mu       sync.Mutex
	accepted bool
}

// newQuarantine makes the app's repository if need be, and a quarantine in it.
func (s *Server) newQuarantine(ctx context.Context, name string, cut []string) (*quarantine, error) {
	if err := s.store.ensure(name); err != nil {
		return nil, err
	}
	repository := s.store.path(name)
	if err := room(repository, s.opts.MinFree, "a push"); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Join(repository, "objects"), "tmp_objdir-incoming-")
	if err != nil {
		return nil, err
	}
	q := &quarantine{objects: objects{repository: repository, quarantine: dir}, store: s.store, name: name, cut: cut}
	if err := os.Mkdir(filepath.Join(dir, "pack"), 0o755); err != nil {
		q.remove()
		return nil, err
	}
	if len(cut) > 0 {
		known, err := readShallow(repository)
		if err != nil {
			q.remove()
			return nil, err
		}
		all := slices.Compact(slices.Sorted(slices.Values(append(known, cut...))))
		q.shallow = filepath.Join(dir, "shallow")
		if err := os.WriteFile(q.shallow, []byte(strings.Join(all, "\n")+"\n"), 0o644); err != nil {
			q.remove()
			return nil, err
		}
	}
	q.cat = &catFile{ctx: ctx, objects: q.objects, limits: s.opts}
	return q, nil
}

// room says whether so many bytes are free on the disk of dir.
func room(dir string, need int64, what string) error {
	free, err := disk.Free(dir)
	if err != nil {
		return err
	}
	if short := free.Short(need); short != "" {
		return app.Errorf(app.CodeUnavailable, "ask the operator to make room", "the server's disk is nearly full: %s for %s", short, what)
	}
	return nil
}

// remove ends what reads from the quarantine and deletes it.
func (q *quarantine) remove() {
	if q.cat != nil {
		q.cat.close()
	}
	for _, m := range q.modules {
		m.close()
	}
	_ = disk.RemoveAll(q.quarantine)
}

// accept makes the objects part of the repository, durably: which commits have no parents here, which says nothing
// while these commits are not here, then data, then the index that makes it visible.
func (q *quarantine) accept() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.accepted {
		return nil
	}
	cut, err := q.cutHere()
	if err != nil {
		return err
	}
	from := filepath.Join(q.quarantine, "pack")
	files, err := syncPacks(from)
	if err != nil {
		return err
	}
	if err := q.writeShallow(cut); err != nil {
		return err
	}
	if err := q.store.takeOver(q.name, from, files); err != nil {
		return err
	}
	q.accepted = true
	q.store.trees.keep(q.name, q.trees)
	return nil
}

// cutHere returns those of the client's shallow commits that are here and whose parents are not.
func (q *quarantine) cutHere() (cut []string, err error) {
	if len(q.cut) == 0 {
		return nil, nil
	}
	err = q.cat.use(context.Background(), func() error {
		for _, id := range q.cut {
			kind, content, err := q.cat.object(id, maxCommitBytes)
			if errors.Is(err, errMissing) || err == nil && kind != "commit" {
				continue
			}
			if err != nil {
				return err
			}
			missing := false
			for _, parent := range headerValues(content, "parent") {
				if err := q.cat.ask(parent); err != nil {
					return err
				}
				kind, n, err := q.cat.answer()
				if errors.Is(err, errMissing) {
					missing = true
					continue
				}
				if err != nil {
					return err
				}
				if kind != "commit" { // nobody has looked at the parents of a commit that is cut off
					return app.Errorf(app.CodeInvalidInput, "check your repository with: git fsck", "object %.12s is a %s where a parent of commit %.12s must be", parent, kind, id)
				}
				if _, err := q.cat.out.Discard(int(n) + 1); err != nil {
					return err
				}
			}
			if missing {
				cut = append(cut, id)
			}
		}
		return nil
	})
	return cut, err
}

func (q *quarantine) writeShallow(cut []string) error {
	if len(cut) == 0 {
		return nil
	}
	st := q.store.state(q.name)
	st.mu.Lock()
	defer st.mu.Unlock()
	known, err := readShallow(q.repository)
	if err != nil {
		return err
	}
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(known, cut))))
	if len(all) == len(known) {
		return nil
	}
	return replaceSynced(filepath.Join(q.repository, "shallow"), strings.Join(all, "\n")+"\n")
}

// readShallow returns the commits of a repository whose parents are cut off, sorted.
func readShallow(repository string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(repository, "shallow"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	ids := strings.Fields(string(b))
	slices.Sort(ids)
	return ids, err
}

// maxCommitBytes bounds the commit objects that we read.
const maxCommitBytes = 1 << 20

// headerValues returns the values of one header of a commit.
func headerValues(commit []byte, name string) []string {
	head, _, _ := strings.Cut(string(commit), "\n\n")
	var values []string
	for l := range strings.SplitSeq(head, "\n") {
		if v, ok := strings.CutPrefix(l, name+" "); ok && objectID.MatchString(v) {
			values = append(values, v)
		}
	}
	return values
}

// inspect finds the tree of the commit that is to be deployed, and lists it.
func (q *quarantine) inspect(ctx context.Context, commit string, limits Options) (root string, entries []entry, err error) {
	err = q.cat.use(ctx, func() error {
		kind, content, err := q.cat.object(commit, maxCommitBytes)
		var large *tooLargeError
		switch {
		case errors.Is(err, errMissing):
			return incomplete("commit %.12s is missing", commit)
		case errors.As(err, &large) || err == nil && kind != "commit":
			return app.Errorf(app.CodeInvalidInput, "push the commit itself: git push platform 'NAME^{commit}:refs/heads/main'",
				"%.12s is a %s, not a commit", commit, kind)
		case err != nil:
			return err
		}
		tree := headerValues(content, "tree")
		if len(tree) != 1 {
			return app.Errorf(app.CodeInvalidInput, "check your repository with: git fsck", "commit %.12s has no sound tree", commit)
		}
		root = tree[0]
		entries, q.trees, err = q.cat.walkTree(root, "", tally{}, limits, q.store.trees.of(q.name))
		return err
	})
	return root, entries, err
}

// connected checks that everything that the commit leads to is here.
func (q *quarantine) connected(ctx context.Context, commit string, limits Options) error {
	_, err := q.run(ctx, "", limits, "rev-list", "--objects", "--quiet", commit, "--not", "--all")
	var g *gitError
	if !errors.As(err, &g) {
		return err
	}
	if len(g.lines) == 0 || g.killedBy() != 0 || g.says("ut of memory") {
		return app.Wrap(g, app.CodeLimitExceeded, "push less at once", "checking connectivity took more than %s of memory, or more than %v of processor time",
			app.Size(int64(limits.MaxMemory)), limits.MaxCPU)
	}
	if len(g.lines) > 1 {
		return incompleteSince(fmt.Errorf("%w: %w", ErrIncomplete, g), "%s", app.Plain(g.lines[0]))
	}
	return incomplete("%s", app.Plain(g.lines[0]))
}
