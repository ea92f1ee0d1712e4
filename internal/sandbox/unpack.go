package sandbox

import (
	"archive/tar"
	"bufio"
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

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
)

// unpacker unpacks one layer into the form that overlayfs expects.
type unpacker struct {
	maxEntries int
	maxBytes   int64

	root       int // descriptor of the layer's directory
	parent     int // of the directory of the last entry, -1 for none: entries come grouped
	parentName string
	buffer     []byte
	left       int64 // bytes that files may still have: a sparse file has more of them than the archive
	dirs       []dirTime
}

// dirTime is a directory's modification time, set after the last change in it.
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
	if _, err := io.Copy(io.Discard, counted); err != nil { // bytes after the archive's end are part of the sum
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
	return app.Errorf(app.CodeInvalidInput, "build the image again", "layers must not have entries of this type (%q)", h.Typeflag)
}

// entryName cleans an entry's name. An absolute one means the layer's root.
func entryName(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", app.Errorf(app.CodeInvalidInput, "build the image again", "a name contains a NUL byte")
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
