package sandbox

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
)

// resolve returns the directory that holds name, created if missing, and the last part of name. The kernel follows links as if the
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

// forget closes the directory of the last entry.
func (u *unpacker) forget() {
	if u.parent >= 0 {
		_ = unix.Close(u.parent)
		u.parent = -1
	}
}

// openDir opens a directory of the layer; "" is the layer's own.
func (u *unpacker) openDir(name string) (int, error) {
	if name == "" {
		name = "."
	}
	for {
		fd, err := unix.Openat2(u.root, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
		if err == unix.EAGAIN || err == unix.EINTR { // something was renamed at the same time
			continue
		}
		if err != nil {
			return -1, os.NewSyscallError("open its directory", err)
		}
		return fd, nil
	}
}

// makeParents creates a directory with its parents, and opens it.
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
