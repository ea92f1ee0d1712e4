package sandbox

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
)

// unpacker unpacks one layer as overlayfs wants it.
type unpacker struct {
	maxEntries int
	maxBytes   int64

	root       int // descriptor of the layer's directory
	parent     int // of the directory of the last entry, -1 for none: entries come grouped
	parentName string
	buffer     []byte
	left       int64 // bytes that files may still have: a sparse one has more than the archive holds of it
	dirs       []dirTime
}

// dirTime is a directory's modification time, set when nothing is put into it any more.
type dirTime struct {
	name string
	time time.Time
}

// unpack reads a layer's blob, tar or tar compressed by gzip or zstd, into dir. It returns the SHA-256 of the tar.
func (u *unpacker) unpack(ctx context.Context, blob io.Reader, dir string) (sum string, err error) {
	stream, err := decompress(bufio.NewReaderSize(contextReader{ctx, blob}, 256<<10))
	if err != nil {
		return "", err
	}
	defer stream.Close()
	if u.root, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return "", os.NewSyscallError("open", err)
	}
	defer unix.Close(u.root)
	u.parent, u.buffer = -1, make([]byte, 256<<10)
	defer u.forget()

	ahead := readAhead(stream)
	defer ahead.Close()
	hash := sha256.New()
	left := u.maxBytes
	u.left = u.maxBytes
	counted := io.TeeReader(&capped{ahead, &left}, hash)
	archive := tar.NewReader(counted)
	for n := 0; ; n++ {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err == nil && n >= u.maxEntries {
			err = app.Errorf(app.CodeLimitExceeded, "make the image smaller", "the layer has more than %d entries", u.maxEntries)
		}
		if err == nil {
			if err = u.entry(h, archive); err != nil {
				err = fmt.Errorf("%.200q: %w", h.Name, err)
			}
		}
		if err != nil {
			return "", err
		}
	}
	if _, err := io.Copy(io.Discard, counted); err != nil { // what follows the archive's end counts for the sum
		return "", err
	}
	for i := len(u.dirs) - 1; i >= 0; i-- {
		parent, base, err := u.resolve(u.dirs[i].name)
		if err == nil {
			err = setTime(parent, base, u.dirs[i].time)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// decompress recognises the compression by its first bytes: media types are not always right.
func decompress(r *bufio.Reader) (io.ReadCloser, error) {
	magic, _ := r.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(r)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// capped fails when more is read than is left.
type capped struct {
	r    io.Reader
	left *int64
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if *c.left -= int64(n); *c.left < 0 {
		return 0, app.Errorf(app.CodeLimitExceeded, "make the image smaller", "the layer is too large")
	}
	return n, err
}

// readAhead decompresses on another core while this one writes files.
func readAhead(r io.Reader) io.ReadCloser {
	a := &ahead{full: make(chan []byte, 4), free: make(chan []byte, 4), stop: make(chan struct{}), done: make(chan struct{})}
	for range cap(a.free) {
		a.free <- make([]byte, 256<<10)
	}
	go func() {
		defer close(a.done)
		defer close(a.full)
		for {
			var b []byte
			select {
			case b = <-a.free:
			case <-a.stop:
				return
			}
			n := 0
			var err error
			for n < len(b) && err == nil { // not io.ReadFull, which cannot tell a damaged end from a whole one
				var m int
				m, err = r.Read(b[n:])
				n += m
			}
			if n > 0 {
				a.full <- b[:n] // has room for every buffer
			}
			if err != nil {
				a.err = err
				return
			}
		}
	}()
	return a
}

type ahead struct {
	full, free chan []byte
	stop, done chan struct{}
	err        error // valid once full is closed
	whole, now []byte
}

func (a *ahead) Read(p []byte) (int, error) {
	if len(a.now) == 0 {
		if a.whole != nil {
			a.free <- a.whole[:cap(a.whole)]
			a.whole = nil
		}
		b, ok := <-a.full
		if !ok {
			return 0, a.err
		}
		a.whole, a.now = b, b
	}
	n := copy(p, a.now)
	a.now = a.now[n:]
	return n, nil
}

// Close returns when nothing is read from the stream any more.
func (a *ahead) Close() error {
	close(a.stop)
	<-a.done
	return nil
}

// Whiteouts as the OCI image specification has them.
const (
	whiteout       = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	whiteoutMeta   = ".wh..wh."
)

// entry unpacks one entry. Extended attributes are left out: file capabilities have no effect without new privileges, and
// overlayfs's own would reach into other layers.
func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name, err := entryName(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		return nil
	}
	parent, base, err := u.resolve(name)
	if err != nil {
		return err
	}
	if strings.HasPrefix(base, whiteout) {
		return u.hide(parent, base)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := makeDir(parent, base); err != nil {
			return err
		}
		u.dirs = append(u.dirs, dirTime{name, h.ModTime})
		return own(parent, base, h, true)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		if u.left -= max(h.Size, 0); u.left < 0 {
			return app.Errorf(app.CodeLimitExceeded, "make the image smaller", "the layer is too large")
		}
		if err := u.file(parent, base, h, content); err != nil {
			return err
		}
		return setTime(parent, base, h.ModTime)
	case tar.TypeSymlink:
		if err := fresh(parent, base, func() error { return unix.Symlinkat(h.Linkname, parent, base) }); err != nil {
			return os.NewSyscallError("symlink", err)
		}
		if err := own(parent, base, h, false); err != nil {
			return err
		}
		return setTime(parent, base, h.ModTime)
	case tar.TypeLink:
		return u.link(parent, base, h)
	case tar.TypeFifo:
		if err := fresh(parent, base, func() error { return unix.Mknodat(parent, base, unix.S_IFIFO|0o600, 0) }); err != nil {
			return os.NewSyscallError("mkfifo", err)
		}
		return own(parent, base, h, true)
	case tar.TypeChar, tar.TypeBlock, tar.TypeXGlobalHeader: // containers get their devices from the runtime
		return nil
	}
	return app.Errorf(app.CodeInvalidInput, "build the image again", "it is a kind of entry that layers do not have (%q)", h.Typeflag)
}

// entryName cleans an entry's name. An absolute one means the layer's root.
func entryName(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", app.Errorf(app.CodeInvalidInput, "build the image again", "a name has a NUL")
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == "" {
		clean = "."
	}
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", app.Errorf(app.CodeInvalidInput, "build the image again", "the name leads out of the layer")
	}
	return clean, nil
}

// resolve returns the directory that holds name, made if missing, and the last part of name. The kernel follows links as if the
// layer's directory were the root.
func (u *unpacker) resolve(name string) (parent int, base string, err error) {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if base == "" || base == "." || base == ".." {
		return -1, "", unix.EINVAL
	}
	if u.parent >= 0 && u.parentName == dir {
		return u.parent, base, nil
	}
	u.forget()
	fd, err := u.openDir(dir)
	if errors.Is(err, unix.ENOENT) {
		fd, err = u.makeParents(dir)
	}
	if err != nil {
		return -1, "", err
	}
	u.parent, u.parentName = fd, dir
	return fd, base, nil
}

func (u *unpacker) forget() {
	if u.parent >= 0 {
		_ = unix.Close(u.parent)
		u.parent = -1
	}
}

func (u *unpacker) openDir(name string) (int, error) {
	if name == "" {
		name = "."
	}
	for {
		fd, err := unix.Openat2(u.root, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
		if err == unix.EAGAIN || err == unix.EINTR { // a rename elsewhere at the same time
			continue
		}
		if err != nil {
			return -1, os.NewSyscallError("open its directory", err)
		}
		return fd, nil
	}
}

func (u *unpacker) makeParents(name string) (int, error) {
	fd, err := u.openDir("")
	if err != nil {
		return -1, err
	}
	for i := 0; i < len(name); {
		end := strings.IndexByte(name[i:], '/')
		if end < 0 {
			end = len(name)
		} else {
			end += i
		}
		next, err := u.openDir(name[:end])
		if errors.Is(err, unix.ENOENT) {
			if err = unix.Mkdirat(fd, name[i:end], 0o755); err == unix.EEXIST {
				err = app.Errorf(app.CodeInvalidInput, "build the image again", "it lies behind a link that leads out of the layer")
			} else if err == nil {
				if err = unix.Fchmodat(fd, name[i:end], 0o755, 0); err == nil {
					next, err = u.openDir(name[:end])
				}
			}
		}
		_ = unix.Close(fd)
		if err != nil {
			return -1, err
		}
		fd, i = next, end+1
	}
	return fd, nil
}

// hide makes a whiteout: overlayfs's sign that a name, or all of a directory, of lower layers is not to be seen.
func (u *unpacker) hide(parent int, base string) error {
	if base == whiteoutOpaque {
		return opaque(fmt.Sprintf("/proc/self/fd/%d", parent))
	}
	if strings.HasPrefix(base, whiteoutMeta) {
		return nil // bookkeeping of a file system that nobody has any more
	}
	hidden := strings.TrimPrefix(base, whiteout)
	if hidden == "" || hidden == "." || hidden == ".." {
		return unix.EINVAL
	}
	err := unix.Mknodat(parent, hidden, unix.S_IFCHR, 0)
	if err == unix.EEXIST { // the layer has the name itself, which hides the lower one; a directory must be told to
		var st unix.Stat_t
		if unix.Fstatat(parent, hidden, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return opaque(fmt.Sprintf("/proc/self/fd/%d/%s", parent, hidden))
		}
		return nil
	}
	return os.NewSyscallError("mknod", err)
}

// opaque makes a directory hide all that lower layers have in it.
func opaque(dir string) error {
	return os.NewSyscallError("setxattr", unix.Setxattr(dir, "trusted.overlay.opaque", []byte("y"), 0))
}

func makeDir(parent int, base string) error {
	err := unix.Mkdirat(parent, base, 0o700)
	if err != unix.EEXIST {
		return os.NewSyscallError("mkdir", err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return os.NewSyscallError("stat", err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil
	}
	err = fresh(parent, base, func() error { return unix.Mkdirat(parent, base, 0o700) })
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR { // a whiteout: the new directory does not show the lower one's content
		err = opaque(fmt.Sprintf("/proc/self/fd/%d/%s", parent, base))
	}
	return os.NewSyscallError("mkdir", err)
}

// fresh makes a name, in place of what the layer has there so far.
func fresh(parent int, base string, do func() error) error {
	err := do()
	if err != unix.EEXIST {
		return err
	}
	if err := unix.Unlinkat(parent, base, 0); err == unix.EISDIR || err == unix.EPERM {
		if err := unix.Unlinkat(parent, base, unix.AT_REMOVEDIR); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return do()
}

func (u *unpacker) file(parent int, base string, h *tar.Header, content io.Reader) error {
	fd := -1
	err := fresh(parent, base, func() (err error) {
		fd, err = unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	f := rawFile(fd)
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{content}, u.buffer)
	if err == nil && (h.Uid != 0 || h.Gid != 0) {
		err = os.NewSyscallError("chown", unix.Fchown(fd, h.Uid, h.Gid))
	}
	if err == nil {
		err = os.NewSyscallError("chmod", unix.Fchmod(fd, uint32(h.Mode&0o7777)))
	}
	return errors.Join(err, os.NewSyscallError("close", unix.Close(fd)))
}

// rawFile writes to a descriptor without the poller's bookkeeping: there are tens of thousands of small files.
type rawFile int

func (f rawFile) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := unix.Write(int(f), p[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, os.NewSyscallError("write", err)
		}
		n += m
	}
	return n, nil
}

func (u *unpacker) link(parent int, base string, h *tar.Header) error {
	name, err := entryName(h.Linkname)
	if err != nil {
		return err
	}
	dir, target := path.Split(name)
	if target == "." || strings.HasPrefix(target, whiteout) {
		return unix.EINVAL
	}
	from, err := u.openDir(strings.TrimSuffix(dir, "/"))
	if err != nil {
		return err
	}
	defer unix.Close(from)
	var there, here unix.Stat_t // a link to itself must not remove itself first
	if unix.Fstatat(from, target, &there, unix.AT_SYMLINK_NOFOLLOW) == nil && unix.Fstatat(parent, base, &here, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		there.Ino == here.Ino {
		return nil
	}
	err = fresh(parent, base, func() error { return unix.Linkat(from, target, parent, base, 0) })
	return os.NewSyscallError("link", err)
}

// own sets owner and mode. Never through a link.
func own(parent int, base string, h *tar.Header, mode bool) error {
	if err := unix.Fchownat(parent, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return os.NewSyscallError("chown", err)
	}
	if !mode {
		return nil
	}
	// base was just made and is no link, and nobody else is at work here.
	return os.NewSyscallError("chmod", unix.Fchmodat(parent, base, uint32(h.Mode&0o7777), 0))
}

func setTime(parent int, base string, t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(parent, base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
}
