package receive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/receive/lfs"
)

// largeFiles serves git-lfs-transfer APP upload|download: Git LFS over SSH.
func (s *Server) largeFiles(ss *session, args []string) outcome {
	const what = "git-lfs-transfer"
	refuse := func(what string, err error) outcome {
		ss.tell(err)
		return outcome{what: what, result: "refused: " + oneLine(err), status: 1}
	}
	if len(args) != 2 {
		return refuse(what, app.Errorf(app.CodeInvalidInput, "install Git LFS 3.0 or newer", "%s takes the name of an app, and upload or download", what))
	}
	name, err := parseName(args[0])
	if err != nil {
		return refuse(what, err)
	}
	op := lfs.Operation(args[1])
	verb, title := app.VerbRead, "lfs download "+name
	switch op {
	case lfs.Upload:
		verb, title = app.VerbPush, "lfs upload "+name
	case lfs.Download:
	default:
		return refuse(what, app.Errorf(app.CodeInvalidInput, "install Git LFS 3.0 or newer", "unknown operation %q; use upload or download", app.Plain(app.Clip(args[1], 60))))
	}
	ref, _, err := s.store.live(name) // before asking, as for a push
	if err != nil {
		return refuse(title, err)
	}
	a, err := s.opts.Handler.Authorize(ss.ctx, ss.key, name, verb)
	if err == nil && a.ID == 0 && op == lfs.Download {
		err = app.Errorf(app.CodeNotFound, "create it with its first push: git push platform main", "there is no app %s", name)
	}
	// Objects come before the first push of an app. It is created for them, and its repository made: what lay there without an app would
	// belong to the key that creates it.
	if err == nil && a.ID == 0 && ref != "" { // of an app that was destroyed
		err = s.opts.Handler.WhileAbsent(ss.ctx, name, func() error { return s.store.remove(name) })
	}
	if err == nil && a.ID == 0 {
		a, err = s.opts.Handler.Create(ss.ctx, ss.key, name)
	}
	if err == nil {
		err = ss.hold(name, a.ID, verb, ss.giveUp)
	}
	if err == nil {
		err = s.store.ensure(name)
	}
	if err != nil {
		return refuse(title, err)
	}
	// A client that sends nothing more, and one that reads nothing more, are let go of when the session ends.
	defer context.AfterFunc(ss.ctx, func() { _ = ss.ch.Close() })()
	heard := ss.raw.wait(s.opts.QuestionTimeout, func() {
		ss.giveUp(stalled("the client has sent nothing for %v", s.opts.QuestionTimeout))
	})
	defer heard()
	stats, err := lfs.Serve(ss.ctx, ss.in, ss.ch, op, s.store.largeFiles(name))
	told := fmt.Sprintf("%s, %s", count(stats.Objects, "object"), app.Size(stats.Bytes))
	switch cause := context.Cause(ss.ctx); {
	case cause != nil:
		return outcome{what: title, result: fmt.Sprintf("ended: %v; %s", cause, told), status: 1}
	case err != nil:
		ss.tell(err)
		return outcome{what: title, result: fmt.Sprintf("failed: %s; %s", oneLine(err), told), status: 1, drain: true}
	}
	return outcome{what: title, result: "ok; " + told}
}

// attributesFile is the name of the files that say, among other things, which files are in Git LFS; filterLFS is how they say it.
const (
	attributesFile = ".gitattributes"
	filterLFS      = "filter=lfs"
)

// maxAttributes bounds the .gitattributes files that are read, in bytes.
const maxAttributes = 1 << 20

// findLarge finds the files of a commit that are in Git LFS, and gives their entries the objects that they stand for. Those are the files
// that .gitattributes sends through the filter "lfs", by git's own reading of it, and that hold a pointer. It fails where an object
// is missing. It returns the objects' names.
func (q *quarantine) findLarge(ctx context.Context, tree string, entries []entry, limits Options) (oids []string, err error) {
	used, err := q.mentionsLarge(ctx, entries)
	if err != nil || !used {
		return nil, err
	}
	selected, err := q.filtered(ctx, tree, entries, limits)
	if err != nil {
		return nil, err
	}
	store := q.store.largeFiles(q.name)
	var missing []string
	total := int64(0)
	err = q.cat.use(ctx, func() error {
		for _, i := range selected {
			e := &entries[i]
			if err := q.cat.ask(e.id); err != nil {
				return err
			}
			kind, size, err := q.cat.answer()
			if errors.Is(err, errMissing) || err == nil && kind != "blob" {
				return incomplete("%s is missing", quote(e.path))
			}
			if err != nil {
				return err
			}
			if size > lfs.MaxPointer { // the file itself, as for Git LFS: it was committed without
				if _, err := q.cat.out.Discard(int(size) + 1); err != nil {
					return err
				}
				continue
			}
			content, err := q.cat.content(size)
			if err != nil {
				return err
			}
			p, ok := lfs.ParsePointer(content)
			if !ok {
				continue
			}
			if p.Extended {
				return app.Errorf(app.CodeInvalidInput, "track it without the extension", "%s uses an extension of Git LFS, which gitd does not run", quote(e.path))
			}
			here, err := store.Use(p.OID)
			switch {
			case errors.Is(err, fs.ErrNotExist) || err == nil && here != p.Size:
				missing = append(missing, e.path)
				continue
			case err != nil:
				return err
			}
			if total += p.Size; total > limits.MaxCheckout {
				return tooMuch(limits)
			}
			e.large = &largeFile{p, store}
			oids = append(oids, p.OID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if n := len(missing); n > 0 {
		also := ""
		if n > 1 {
			also = fmt.Sprintf(" (and %s)", count(n-1, "other file"))
		}
		return nil, app.Errorf(app.CodeInvalidInput, "send what is missing, then push again: git lfs push --all platform main",
			"the content of %s%s is not here: it is in Git LFS, and was not sent", quote(missing[0]), also)
	}
	return oids, nil
}

// largeFile is what a pointer stands for.
type largeFile struct {
	lfs.Pointer
	store *lfs.Store
}

// mentionsLarge says whether any .gitattributes speaks of Git LFS: most commits have none that does, and cost nothing more.
func (q *quarantine) mentionsLarge(ctx context.Context, entries []entry) (found bool, err error) {
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
func (q *quarantine) filtered(ctx context.Context, tree string, entries []entry, limits Options) (found []int, err error) {
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
func tooMuch(limits Options) error {
	return app.Errorf(app.CodeLimitExceeded, "leave large files out of the repository",
		"the files of the commit are larger than %s together", app.Size(limits.MaxCheckout))
}
