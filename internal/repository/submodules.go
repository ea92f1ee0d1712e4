package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/disk"
)

// Submodules are fetched by git when the push that names them is checked: exactly the commit that is named, into a repository that the app
// keeps for each URL, so that a submodule that has not changed costs no look at the network. git gets no credentials but the
// app's deploy key, no way to another host than the one that was checked, and limits on everything.

const (
	modulesDir = "submodules" // where a repository has what was fetched: a bare repository for each URL
	maxNesting = 4            // of submodules in submodules
)

// modules fetches the submodules of one push.
type modules struct {
	repository *Repository
	q          *Quarantine
	limits     Limits
	exists     bool // the app does, and has a deploy key
	log        *app.Log
	fetched    int
	used       map[string]bool // folders, by name
}

// level is a repository whose tree has submodules.
type level struct {
	objects objects
	cat     *catFile
	prefix  string // of the paths of its files in the whole, "" or ending in "/"
	from    *remote
	depth   int
}

// AddSubmodules fetches the commit's submodules, and theirs, and puts their files in their places. An app that does not exist yet has no deploy key
// to fetch them with. What is fetched is told to log.
func (q *Quarantine) AddSubmodules(ctx context.Context, exists bool, log *app.Log) error {
	limits := q.of.limits()
	q.modules = &modules{repository: q.of, q: q, limits: limits, exists: exists, log: log, used: map[string]bool{}}
	ctx, cancel := context.WithTimeoutCause(ctx, limits.ModulesTime,
		app.Errorf(app.CodeLimitExceeded, "push again, or have less to fetch", "fetching the submodules took longer than %v", limits.ModulesTime))
	defer cancel()
	all, err := q.modules.expand(ctx, level{objects: q.objects, cat: q.cat}, q.entries, tallyOf(q.entries))
	if e := context.Cause(ctx); err != nil && e != nil {
		return e
	}
	if err == nil {
		q.entries = all
	}
	return err
}

// done lets go of what was fetched. What came with a push that failed goes, or else pushes that fail would fill the disk.
func (m *modules) done(ok bool) {
	if err := m.repository.releaseModules(m.used, ok); err != nil {
		m.repository.folder.opts.Log("submodules of %s: %v", m.repository.name, err)
	}
}

// expand returns the entries of one repository with those of its submodules in their places. known is what is known so far.
func (m *modules) expand(ctx context.Context, l level, entries []entry, known tally) ([]entry, error) {
	any := false
	for _, e := range entries {
		any = any || e.mode == filemode.Submodule
	}
	if !any {
		return entries, nil
	}
	urls, err := m.urls(ctx, l, entries)
	if err != nil {
		return nil, err
	}
	all := make([]entry, 0, len(entries))
	for _, e := range entries {
		if e.mode != filemode.Submodule {
			all = append(all, e)
			continue
		}
		inside, err := m.one(ctx, l, e, urls[strings.TrimPrefix(e.path, l.prefix)], known)
		if err != nil {
			var told *app.Error
			if errors.As(err, &told) {
				with := *told
				with.Message = fmt.Sprintf("submodule %s: %s", quote(e.path), told.Message)
				return nil, &with
			}
			return nil, fmt.Errorf("submodule %s: %w", e.path, err)
		}
		known = known.and(tallyOf(inside))
		all = append(all, inside...)
	}
	return all, nil
}

// one returns the entries of one submodule, its folder first.
func (m *modules) one(ctx context.Context, l level, e entry, url string, known tally) ([]entry, error) {
	const orElse = "or put its files into this repository: git rm --cached PATH && git add PATH"
	if url == "" {
		return nil, app.Errorf(app.CodeInvalidInput, "add it with: git submodule add URL PATH, "+orElse, ".gitmodules does not say where it comes from")
	}
	if l.depth >= maxNesting {
		return nil, app.Errorf(app.CodeLimitExceeded, "put its files into the repository that has it", "submodules are nested more than %d deep", maxNesting)
	}
	if m.fetched++; m.fetched > m.limits.Modules {
		return nil, app.Errorf(app.CodeLimitExceeded, "reduce the number of submodules", "there are more than %d submodules", m.limits.Modules)
	}
	from, err := m.remote(l, url)
	if err != nil {
		return nil, err
	}
	o, err := m.fetch(ctx, from, e.id.String())
	if err != nil {
		return nil, err
	}
	cat := &catFile{ctx: m.q.cat.ctx, objects: o, limits: m.limits}
	m.q.readers = append(m.q.readers, cat)
	folder := entry{path: e.path, mode: filemode.Dir}
	var inside []entry
	err = cat.use(ctx, func() error {
		kind, content, err := cat.object(e.id, maxCommitBytes)
		if err != nil {
			return err
		}
		tree := headerValues(content, "tree")
		if kind != "commit" || len(tree) != 1 {
			return app.Errorf(app.CodeInvalidInput, "check it with: git fsck", "%.12s is no sound commit", e.id)
		}
		inside, _, err = cat.walkTree(tree[0], e.path+"/", known, m.limits, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range inside {
		inside[i].module = cat
	}
	inside, err = m.expand(ctx, level{objects: o, cat: cat, prefix: e.path + "/", from: &from, depth: l.depth + 1}, inside, known.and(tallyOf(inside)).and(tallyOf([]entry{folder})))
	return append([]entry{folder}, inside...), err
}

func (m *modules) remote(l level, url string) (remote, error) {
	if l.from != nil {
		return l.from.resolve(url)
	}
	return parseRemote(url)
}

// fetch returns the repository that has the commit, fetched if need be.
func (m *modules) fetch(ctx context.Context, from remote, commit string) (objects, error) {
	st := &m.repository.modules
	select { // one fetch of an app at a time
	case st.fetching <- struct{}{}:
		defer func() { <-st.fetching }()
	case <-ctx.Done():
		return objects{}, context.Cause(ctx)
	}
	sum := sha256.Sum256([]byte(from.url()))
	folder := hex.EncodeToString(sum[:16])
	mine := m.used[folder] // something of ours reads from it
	if !mine {
		m.used[folder] = true
		st.use(folder)
	}
	o := objects{repository: filepath.Join(m.repository.path, modulesDir, folder)}
	has := func() bool {
		_, err := o.run(ctx, "", m.limits, "cat-file", "-e", commit+"^{tree}")
		return err == nil
	}
	if _, err := os.Stat(o.repository); err == nil {
		if has() {
			return o, nil
		}
		if n, err := folderSize(o.repository); (err != nil || n > m.limits.Pack) && !mine && st.onlyUser(folder) {
			if err := disk.RemoveAll(o.repository); err != nil { // begun again
				return o, err
			}
		}
	} else {
		st.add(folder)
	}
	if err := room(m.repository.path, m.limits.MinFree+m.limits.Pack, "fetching a submodule"); err != nil {
		return o, err
	}
	if err := makeModule(o.repository); err != nil {
		return o, err
	}
	m.log.Step("Fetching submodule %s (%.7s)", from, commit)
	if err := m.get(ctx, o, from, commit); err != nil {
		_ = cleanModule(o.repository)
		return o, err
	}
	if !has() {
		return o, notThere(from, commit)
	}
	return o, nil
}

func notThere(from remote, commit string) error {
	return app.Errorf(app.CodeInvalidInput, "push it there first, then push again: git push --recurse-submodules=on-demand", "%s has no commit %.12s", from, commit)
}

// makeModule makes an empty bare repository, if there is none.
func makeModule(dir string) error {
	if err := os.Mkdir(filepath.Dir(dir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	_, err := makeBare(dir, "refs/commits", "\tbare = true\n")
	return err
}

// cleanModule removes what a fetch that failed has left.
func cleanModule(dir string) error {
	return removeMatching(dir, "objects/pack/tmp_*", "objects/pack/.tmp*", "*.lock", "refs/commits/*.lock", "objects/tmp_*")
}

func folderSize(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
