package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// Quarantine holds the objects of one push until it is accepted, inside of the repository so that taking them over is a
// matter of hard links. It stays until the push is over: the source reads from it.
type Quarantine struct {
	objects
	of    *Repository
	cat   *catFile
	cut   []string                  // the client's shallow commits
	trees map[plumbing.Hash][]entry // of the commit that is to be deployed, by ID

	commit  plumbing.Hash // that is to be deployed; Inspect sets this, and the following
	tree    plumbing.Hash
	author  string
	subject string
	entries []entry
	large   []string // objects of Git LFS that the commit needs
	modules *modules // what was fetched for it; nil where nothing was

	readers []*catFile // of submodules

	mu       sync.Mutex
	accepted bool // guarded by mu
}

// NewQuarantine makes the repository if need be, and a quarantine in it. Cut are the client's shallow commits. What is read from the quarantine
// ends with ctx.
func (r *Repository) NewQuarantine(ctx context.Context, cut []string) (*Quarantine, error) {
	if err := r.Ensure(); err != nil {
		return nil, err
	}
	if err := room(r.path, r.limits().MinFree, "a push"); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Join(r.path, "objects"), "tmp_objdir-incoming-")
	if err != nil {
		return nil, err
	}
	q := &Quarantine{objects: objects{repository: r.path, quarantine: dir}, of: r, cut: cut}
	if err := os.Mkdir(filepath.Join(dir, "pack"), 0o755); err != nil {
		q.Close()
		return nil, err
	}
	if len(cut) > 0 {
		known, err := r.Shallow()
		if err != nil {
			q.Close()
			return nil, err
		}
		all := slices.Compact(slices.Sorted(slices.Values(append(known, cut...))))
		q.shallow = filepath.Join(dir, "shallow")
		if err := os.WriteFile(q.shallow, []byte(strings.Join(all, "\n")+"\n"), 0o644); err != nil {
			q.Close()
			return nil, err
		}
	}
	q.cat = &catFile{ctx: ctx, objects: q.objects, limits: r.limits()}
	return q, nil
}

// Index takes a pack in, as an Indexer does. It returns io.EOF if there is none.
func (q *Quarantine) Index(ctx context.Context, r io.Reader, progress Progress) (PackStats, error) {
	l := q.of.limits()
	return q.of.folder.opts.Indexer.Index(ctx, r, PackTarget{Repository: q.repository, Quarantine: q.quarantine, Shallow: q.shallow},
		PackLimits{Bytes: l.Pack, Objects: l.Objects, Memory: l.Memory, CPU: l.CPU}, progress)
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

// Close ends what reads from the quarantine and deletes it. What was fetched for the push goes as well, unless Keep was called.
func (q *Quarantine) Close() {
	if q.cat != nil {
		q.cat.close()
	}
	for _, c := range q.readers {
		c.close()
	}
	if q.modules != nil {
		q.modules.done(false)
	}
	_ = disk.RemoveAll(q.quarantine)
}

// Keep keeps what was fetched for the push, which went well.
func (q *Quarantine) Keep() {
	if err := q.of.LargeFiles().Note(q.commit.String(), q.large); err != nil {
		q.of.folder.opts.Log("large files of %s: %v", q.of.name, err)
	}
	if q.modules != nil {
		q.modules.done(true)
		q.modules = nil
	}
}

// KeepLive is Keep for a commit that is live now: what only earlier ones needed may go.
func (q *Quarantine) KeepLive() {
	used := map[string]bool{}
	if q.modules != nil {
		used = q.modules.used
	}
	if err := q.of.keepModules(used); err != nil {
		q.of.folder.opts.Log("submodules of %s: %v", q.of.name, err)
	}
	q.Keep()
	if err := q.of.LargeFiles().Collect(); err != nil {
		q.of.folder.opts.Log("large files of %s: %v", q.of.name, err)
	}
}

// Commit returns the name of the author and the subject of the commit that is to be deployed: what it claims, which is not trusted.
func (q *Quarantine) Commit() (author, subject string) { return q.author, q.subject }

// Source is the tree of the commit that is to be deployed.
func (q *Quarantine) Source() *Source {
	return &Source{cat: q.cat, entries: q.entries, limits: q.of.limits()}
}

// Accept makes the objects part of the repository, durably: which commits have no parents here, which says nothing
// while these commits are not here, then data, then the index that makes it visible.
func (q *Quarantine) Accept() error {
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
	if err := q.of.takeOver(from, files); err != nil {
		return err
	}
	q.accepted = true
	q.of.folder.trees.keep(q.of.name, q.trees)
	return nil
}

// cutHere returns those of the client's shallow commits that are here and whose parents are not.
func (q *Quarantine) cutHere() (cut []string, err error) {
	if len(q.cut) == 0 {
		return nil, nil
	}
	err = q.cat.use(context.Background(), func() error {
		for _, id := range q.cut {
			kind, content, err := q.cat.object(plumbing.NewHash(id), maxCommitBytes)
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
				if kind != "commit" { // the parents of a commit that is cut off were not checked
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

func (q *Quarantine) writeShallow(cut []string) error {
	if len(cut) == 0 {
		return nil
	}
	q.of.files.Lock()
	defer q.of.files.Unlock()
	known, err := q.of.Shallow()
	if err != nil {
		return err
	}
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(known, cut))))
	if len(all) == len(known) {
		return nil
	}
	return replaceSynced(filepath.Join(q.repository, "shallow"), strings.Join(all, "\n")+"\n")
}

// Shallow returns the commits whose parents are cut off, sorted.
func (r *Repository) Shallow() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(r.path, "shallow"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	ids := strings.Fields(string(b))
	slices.Sort(ids)
	return ids, err
}

// Inspect finds the tree of the commit that is to be deployed, and lists it.
func (q *Quarantine) Inspect(ctx context.Context, commit string) error {
	q.commit = plumbing.NewHash(commit)
	return q.cat.use(ctx, func() error {
		kind, content, err := q.cat.object(q.commit, maxCommitBytes)
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
		q.author, q.subject = describe(content)
		tree := headerValues(content, "tree")
		if len(tree) != 1 {
			return app.Errorf(app.CodeInvalidInput, "check your repository with: git fsck", "commit %.12s has no sound tree", commit)
		}
		q.tree = tree[0]
		q.entries, q.trees, err = q.cat.walkTree(q.tree, "", tally{}, q.of.limits(), q.of.folder.trees.of(q.of.name))
		return err
	})
}

// Connected checks that everything that the commit leads to is here.
func (q *Quarantine) Connected(ctx context.Context) error {
	limits := q.of.limits()
	_, err := q.run(ctx, "", limits, "rev-list", "--objects", "--quiet", q.commit.String(), "--not", "--all")
	var g *GitError
	if !errors.As(err, &g) {
		return err
	}
	if len(g.lines) == 0 || g.killedBy() != 0 || g.says("ut of memory") {
		return app.Wrap(g, app.CodeLimitExceeded, "push less at once", "checking connectivity took more than %s of memory, or more than %v of processor time",
			app.Size(int64(limits.Memory)), limits.CPU)
	}
	if len(g.lines) > 1 {
		return incompleteSince(fmt.Errorf("%w: %w", ErrIncomplete, g), "%s", app.Plain(g.lines[0]))
	}
	return incomplete("%s", app.Plain(g.lines[0]))
}

// CheckLinks refuses a commit with a symlink that leads out of its tree. It comes last, when all of the tree is known.
func (q *Quarantine) CheckLinks() error { return checkLinks(q.entries) }

// Descends says whether commit descends from another one, as far as it is known here.
func (q *Quarantine) Descends(ctx context.Context, commit, from string) bool {
	_, err := q.run(ctx, "", q.of.limits(), "merge-base", "--is-ancestor", from, commit)
	var g *GitError
	return !errors.As(err, &g)
}

// AnnotatedTags returns which of the objects are annotated tags.
func (q *Quarantine) AnnotatedTags(ctx context.Context, ids []string) (annotated map[string]bool, err error) {
	annotated = map[string]bool{}
	err = q.cat.use(ctx, func() error {
		for _, id := range ids {
			if err := q.cat.ask(plumbing.NewHash(id)); err != nil {
				return err
			}
			kind, size, err := q.cat.answer()
			if errors.Is(err, errMissing) {
				continue
			}
			if err != nil {
				return err
			}
			if _, err := q.cat.out.Discard(int(size) + 1); err != nil {
				return err
			}
			annotated[id] = kind == "tag"
		}
		return nil
	})
	return annotated, err
}
