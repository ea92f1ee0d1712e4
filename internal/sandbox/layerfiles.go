package sandbox

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// makeDir creates a directory, or keeps the one that the layer has already.
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

// fresh creates a name by do, and replaces what the layer has there.
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

// file creates a regular file.
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

// link creates a hard link to a file of the same layer.
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

// own sets owner and mode, never through a link.
func own(parent int, base string, h *tar.Header, mode bool) error {
	if err := unix.Fchownat(parent, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return os.NewSyscallError("chown", err)
	}
	if !mode {
		return nil
	}
	// base was just created, so it is not a link, and no other process writes here.
	return os.NewSyscallError("chmod", unix.Fchmodat(parent, base, uint32(h.Mode&0o7777), 0))
}

func setTime(parent int, base string, t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(parent, base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
}
