package repository

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/repository/lfs"
)

// Source is the tree of a pushed commit. It reads from quarantine and repository, and stays usable until the push is over.
type Source struct {
	cat     *catFile
	entries []entry
	limits  Limits
}

// ReadFile returns the content of a file, which may have limit bytes. It returns fs.ErrNotExist if there is none.
func (s *Source) ReadFile(name string, limit int64) ([]byte, error) {
	for _, e := range s.entries {
		if e.path != name {
			continue
		}
		if !e.regular() {
			break
		}
		if e.large != nil {
			return readLarge(e, limit)
		}
		cat := s.cat
		if e.module != nil {
			cat = e.module
		}
		var b []byte
		err := cat.use(cat.ctx, func() (err error) {
			_, b, err = cat.object(e.id, limit)
			return err
		})
		var large *tooLargeError
		if errors.As(err, &large) {
			return nil, app.Errorf(app.CodeLimitExceeded, "make it smaller", "%s is larger than %s", app.Plain(name), app.Size(limit))
		}
		return b, err
	}
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

// Files implements app.Lister.
func (s *Source) Files() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, e := range s.entries {
			if e.mode != filemode.Dir && !yield(e.path) {
				return
			}
		}
	}
}

// Checkout writes all files below dir, owned by uid and gid. Nothing is ever written through a symlink: every path is resolved below dir by os.Root,
// every file is a new one, and symlinks come last.
func (s *Source) Checkout(ctx context.Context, dir string, uid, gid int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Lchown(".", uid, gid); err != nil {
		return err
	}
	left := &atomic.Int64{}
	left.Store(s.limits.Checkout)
	newWriter := func() *writer {
		return &writer{root: root, uid: uid, gid: gid, left: left, limits: s.limits, buf: make([]byte, 128<<10)}
	}
	w := newWriter()
	defer w.close()
	files, large, links := s.sorted()
	for _, e := range s.entries {
		if e.mode == filemode.Dir {
			if err := w.mkdir(e.path); err != nil {
				return err
			}
		}
	}
	for _, of := range files {
		if err := s.write(ctx, of, newWriter); err != nil {
			return err
		}
	}
	for _, e := range large {
		if err := w.large(ctx, e); err != nil {
			return err
		}
	}
	for _, e := range links {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := root.Symlink(e.target, e.path); err != nil {
			return err
		}
		if err := root.Lchown(e.path, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

// sorted returns what is written: files of git by the repository that they come from, files in Git LFS, and symlinks.
func (s *Source) sorted() (files []filesOf, large, links []entry) {
	for _, e := range s.entries {
		switch {
		case e.mode == filemode.Symlink:
			links = append(links, e)
		case !e.regular():
		case e.large != nil:
			large = append(large, e)
		default:
			cat := s.cat
			if e.module != nil {
				cat = e.module
			}
			if n := len(files); n == 0 || files[n-1].cat != cat {
				files = append(files, filesOf{cat: cat})
			}
			of := &files[len(files)-1]
			of.entries = append(of.entries, e)
		}
	}
	return files, large, links
}

// Bounds of how many write at once.
const (
	mostWriters    = 4
	filesForWriter = 500 // a further process to read them from does not pay before
)

// write writes files, a part of them by each of several writers where there are many, and processors for the writers and for the git that each
// one reads from. The first error ends all.
func (s *Source) write(ctx context.Context, of filesOf, newWriter func() *writer) error {
	n := cmp.Or(s.limits.Writers, min(mostWriters, runtime.GOMAXPROCS(0)/2))
	n = max(1, min(n, len(of.entries)/filesForWriter))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	part := (len(of.entries) + n - 1) / n
	for i, some := range slices.Collect(slices.Chunk(of.entries, part)) {
		cat := of.cat
		if i > 0 {
			cat = &catFile{ctx: cat.ctx, objects: cat.objects, limits: cat.limits}
		}
		all.Go(func() {
			w := newWriter()
			defer w.close()
			if i > 0 {
				defer cat.close()
			}
			if err := cat.use(ctx, func() error { return w.files(ctx, cat, some) }); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// filesOf are files that come from one repository.
type filesOf struct {
	cat     *catFile
	entries []entry
}

// writer writes files below a root, and keeps the folder of the last one open since the next is mostly beside it.
type writer struct {
	root     *os.Root
	uid, gid int
	left     *atomic.Int64 // bytes that may still be written, by all writers
	limits   Limits
	buf      []byte

	dir  *os.Root
	name string
}

func (w *writer) mkdir(p string) error {
	if err := w.root.Mkdir(p, 0o755); err != nil {
		return err
	}
	if err := w.root.Chmod(p, 0o755); err != nil { // whatever the umask is
		return err
	}
	return w.root.Lchown(p, w.uid, w.gid)
}

// files asks for all files at once and writes them as they come.
func (w *writer) files(ctx context.Context, c *catFile, files []entry) error {
	asked := make(chan error, 1)
	in := c.in
	go func() {
		var b strings.Builder
		for i, e := range files {
			b.WriteString(e.id.String())
			b.WriteByte('\n')
			if b.Len() > 32<<10 || i == len(files)-1 {
				if _, err := io.WriteString(in, b.String()); err != nil {
					asked <- err
					return
				}
				b.Reset()
			}
		}
		asked <- nil
	}()
	for _, e := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		kind, n, err := c.answer()
		if errors.Is(err, errMissing) || err == nil && kind != "blob" {
			return app.Errorf(app.CodeInvalidInput, "check your repository with: git fsck", "the push is incomplete: %s is missing", quote(e.path))
		}
		if err != nil {
			return err
		}
		if w.left.Add(-n) < 0 {
			return tooMuch(w.limits)
		}
		if err := w.file(e, func(f io.Writer) error { return w.copy(f, io.LimitReader(c.out, n), n) }); err != nil {
			return err
		}
		if _, err := c.out.Discard(1); err != nil {
			return err
		}
	}
	return <-asked
}

// large writes the object that a pointer of Git LFS stands for.
func (w *writer) large(ctx context.Context, e entry) error {
	if w.left.Add(-e.large.Size) < 0 {
		return tooMuch(w.limits)
	}
	err := w.file(e, func(f io.Writer) error { return e.large.store.CopyTo(ctx, f, e.large.Pointer, w.buf) })
	if errors.Is(err, lfs.ErrContent) {
		if err := e.large.store.Remove(e.large.OID); err != nil {
			return err
		}
		return app.Wrap(err, app.CodeInternal, "send it again, then push again: git lfs push --all platform main",
			"the server's copy of %s in Git LFS is damaged, and was removed", quote(e.path))
	}
	return err
}

// readLarge is ReadFile for such an object.
func readLarge(e entry, limit int64) ([]byte, error) {
	if e.large.Size > limit {
		return nil, app.Errorf(app.CodeLimitExceeded, "make it smaller", "%s is larger than %s", app.Plain(e.path), app.Size(limit))
	}
	var b bytes.Buffer
	err := e.large.store.CopyTo(context.Background(), &b, e.large.Pointer, make([]byte, 32<<10))
	return b.Bytes(), err
}

// copy writes the n bytes of r to f.
func (w *writer) copy(f io.Writer, r io.Reader, n int64) error {
	written, err := io.CopyBuffer(struct{ io.Writer }{f}, r, w.buf)
	if err == nil && written != n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// file makes a file, and has fill write its content.
func (w *writer) file(e entry, fill func(io.Writer) error) error {
	dir, name := path.Split(e.path)
	in := w.root
	if dir != "" {
		if w.dir == nil || w.name != dir {
			w.close()
			d, err := w.root.OpenRoot(dir)
			if err != nil {
				return err
			}
			w.dir, w.name = d, dir
		}
		in = w.dir
	}
	perm := os.FileMode(0o644)
	if e.mode == filemode.Executable {
		perm = 0o755
	}
	f, err := in.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Chmod(perm); err != nil {
		return err
	}
	if err := f.Chown(w.uid, w.gid); err != nil {
		return err
	}
	return f.Close()
}

func (w *writer) close() {
	if w.dir != nil {
		_ = w.dir.Close()
		w.dir = nil
	}
}
