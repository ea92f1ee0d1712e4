// Package disk is what several parts do with files and file systems: measure, remove, sync, read what a stranger wrote.
package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// A walk keeps this many directories open: the uppermost and the lowest of the way that it is on. Those in between are closed, and opened
// again through the ".." of the one below. So neither descriptors nor the stack grow with the depth; a level costs some eighty bytes.
const (
	openAbove = 32
	openBelow = 32
)

// walk goes through a folder of a stranger, who may change it meanwhile. It follows no symbolic link, crosses no mount, and names everything
// by its directory's descriptor: neither the length of a path nor the depth of the folder matters.
type walk struct {
	levels []level
}

// level is one directory of the way.
type level struct {
	dir      *directory // nil while it is closed
	name     string     // in the level above; "" for the first, and for one that was closed: find tells it
	dev, ino uint64
	offset   int64 // of the entry that comes next
	changed  bool  // it is being changed: its content must be read again
	stuck    bool  // something in it cannot be removed
}

// directory is one that is open.
type directory struct {
	fd     int
	unread []byte // entries that the kernel has given
	buffer []byte
}

// entry is a name in a directory.
type entry struct {
	name string
	ino  uint64
	kind uint8 // unix.DT_DIR and so on; DT_UNKNOWN where the file system does not say
}

const (
	openFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	readSize  = 8 << 10
)

// enter opens a directory on the lowest level, or anywhere for the first one, and makes it the lowest.
func (w *walk) enter(name string) error {
	var fd int
	var err error
	if len(w.levels) == 0 {
		fd, err = retry(func() (int, error) { return unix.Open(name, openFlags, 0) })
	} else {
		fd, err = openIn(w.lowest().dir.fd, name)
	}
	if err != nil {
		return err
	}
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		_ = unix.Close(fd)
		return err
	}
	l := level{dir: &directory{fd: fd}, dev: uint64(s.Dev), ino: s.Ino}
	if len(w.levels) > 0 {
		l.name = name
	}
	w.levels = append(w.levels, l)
	if far := len(w.levels) - 1 - openBelow; far >= openAbove {
		w.levels[far].close()
	}
	return nil
}

// openIn opens a directory in another one, unless something is mounted on it.
func openIn(dir int, name string) (int, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat2(dir, name, &unix.OpenHow{Flags: openFlags, Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS})
	})
	if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		return fd, err
	}
	// A container's filter of system calls may not know openat2. What is mounted from the same file system is not told apart then.
	fd, err = retry(func() (int, error) { return unix.Openat(dir, name, openFlags, 0) })
	if err != nil {
		return -1, err
	}
	var here, there unix.Stat_t
	if err = errors.Join(unix.Fstat(dir, &here), unix.Fstat(fd, &there)); err == nil && here.Dev != there.Dev {
		err = unix.EXDEV
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// retry repeats a call that a signal interrupted.
func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}

func (w *walk) lowest() *level { return &w.levels[len(w.levels)-1] }

// pop takes the lowest level off. Nothing keeps it: its buffer is a hundred times as large as a level.
func (w *walk) pop() level {
	l := *w.lowest()
	*w.lowest() = level{}
	w.levels = w.levels[:len(w.levels)-1]
	return l
}

// leave goes up by one level and returns the one that it leaves. Where the directory was moved meanwhile, so that its parent is another one,
// it goes up to the lowest that is still open, and returns false.
func (w *walk) leave() (child level, ok bool) {
	child = w.pop()
	defer child.close()
	if len(w.levels) == 0 || w.lowest().dir != nil {
		return child, true
	}
	parent := w.lowest()
	fd, err := openIn(child.dir.fd, "..")
	if err == nil {
		var s unix.Stat_t
		if err = unix.Fstat(fd, &s); err == nil && uint64(s.Dev) == parent.dev && s.Ino == parent.ino {
			_, _ = unix.Seek(fd, parent.offset, unix.SEEK_SET)
			parent.dir = &directory{fd: fd}
			return child, true
		}
		_ = unix.Close(fd)
	}
	for w.lowest().dir == nil { // the uppermost are always open
		w.pop()
	}
	return child, false
}

// find returns the name of a directory in the lowest one, "" where it is there no more.
func (w *walk) find(ino uint64) (string, error) {
	for _, exact := range []bool{false, true} { // some file systems tell other numbers in a list than of the file itself
		w.rewind()
		for {
			e, ok, err := w.next()
			if err != nil {
				return "", err
			}
			if !ok {
				break
			}
			found := e.ino
			if exact && (e.kind == unix.DT_DIR || e.kind == unix.DT_UNKNOWN) {
				var s unix.Stat_t
				if unix.Fstatat(w.lowest().dir.fd, e.name, &s, unix.AT_SYMLINK_NOFOLLOW) == nil {
					found = s.Ino
				}
			}
			if found == ino && (e.kind == unix.DT_DIR || e.kind == unix.DT_UNKNOWN) {
				return e.name, nil
			}
		}
	}
	return "", nil
}

// close closes all that is open.
func (w *walk) close() {
	for i := range w.levels {
		w.levels[i].close()
	}
	w.levels = nil
}

func (l *level) close() {
	if l.dir != nil {
		_ = unix.Close(l.dir.fd)
		l.dir, l.name = nil, ""
	}
}

// rewind begins the lowest directory again.
func (w *walk) rewind() {
	l := w.lowest()
	l.offset, l.dir.unread = 0, nil
	_, _ = unix.Seek(l.dir.fd, 0, unix.SEEK_SET)
}

// next returns the next entry of the lowest directory; ok is false when there is none.
func (w *walk) next() (e entry, ok bool, err error) {
	l := w.lowest()
	for {
		if len(l.dir.unread) == 0 {
			if l.dir.buffer == nil {
				l.dir.buffer = make([]byte, readSize)
			}
			n, err := retry(func() (int, error) { return unix.Getdents(l.dir.fd, l.dir.buffer) })
			if err != nil {
				return entry{}, false, os.NewSyscallError("getdents64", err)
			}
			if n <= 0 {
				return entry{}, false, nil
			}
			l.dir.unread = l.dir.buffer[:n]
		}
		// struct linux_dirent64: inode, offset of the next entry, length, kind, name with a NUL at its end
		b := l.dir.unread
		length := int(binary.NativeEndian.Uint16(b[16:]))
		l.dir.unread, l.offset = b[length:], int64(binary.NativeEndian.Uint64(b[8:]))
		name := b[19:length]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		if s := string(name); s != "." && s != ".." {
			return entry{s, binary.NativeEndian.Uint64(b), b[18]}, true, nil
		}
	}
}
