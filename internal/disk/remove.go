package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	maxAgain = 100     // directories looked at again because files are created in them meanwhile
	maxStuck = 100_000 // entries that cannot be removed
)

// RemoveAll removes path and everything in it, as os.RemoveAll does, where the content is a stranger's: it takes some sixty descriptors and
// no deeper stack however deep the folders are, paths longer than the kernel takes do not matter, symbolic links are not followed, mounts
// are not crossed, and files that are marked immutable are removed too. It needs no free space. What cannot be removed stays and the rest
// goes; the error is the first one.
func RemoveAll(path string) error { return removeAll(path, nil, nil) }

// errStopped is the error of a removal that was stopped.
var errStopped = errors.New("stopped")

func removeAll(path string, stopped *atomic.Bool, removed *atomic.Int64) error {
	dir, name := filepath.Split(filepath.Clean(path))
	if name == "" || name == "." || name == ".." {
		return &os.PathError{Op: "remove", Path: path, Err: unix.EINVAL}
	}
	if dir == "" {
		dir = "."
	}
	parent, err := retry(func() (int, error) { return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "remove", Path: path, Err: err}
	}
	defer unix.Close(parent)
	r := remover{stuck: map[[2]uint64]bool{}, stopped: stopped, removed: removed}
	defer r.walk.close()
	err = r.drop(parent, name, false)
	if isFull(err) || errors.Is(err, unix.EBUSY) { // what is mounted on path itself is meant
		if err = r.walk.enter(path); err == nil {
			err = r.empty()
		}
		if err == nil || errors.Is(err, unix.ENOENT) {
			err = r.drop(parent, name, false)
		}
	}
	if err != nil {
		return &os.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

// isFull tells a directory that is not empty.
func isFull(err error) bool { return errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) }

// remover empties a folder from its lowest levels up.
type remover struct {
	walk  walk
	first error              // of those for which something stays
	stuck map[[2]uint64]bool // what stays, by device and inode
	again int                // directories looked at again

	stopped *atomic.Bool  // nil for one that cannot be stopped
	removed *atomic.Int64 // counts what is removed; may be nil
}

// empty removes all that is in the directory that was entered.
func (r *remover) empty() error {
	w := &r.walk
	for {
		if r.stopped != nil && r.stopped.Load() {
			return errStopped
		}
		l := w.lowest()
		e, ok, err := w.next()
		switch {
		case err != nil:
			r.keep(l, l.ino, err)
			l.changed = false
		case ok:
			r.remove(l, e)
			continue
		}
		if len(r.stuck) > maxStuck {
			return fmt.Errorf("too much of it cannot be removed: %w", r.first)
		}
		if l.changed && r.again < maxAgain {
			r.again++
			l.changed = false
			w.rewind()
			continue
		}
		if l.changed {
			r.keep(l, l.ino, unix.ENOTEMPTY)
		}
		if len(w.levels) == 1 {
			return r.first
		}
		r.up()
	}
}

// remove removes one entry of the lowest level, or enters it.
func (r *remover) remove(l *level, e entry) {
	if r.stuck[[2]uint64{l.dev, e.ino}] {
		return
	}
	err := r.drop(l.dir.fd, e.name, true)
	if isFull(err) {
		if err = r.walk.enter(e.name); err == nil {
			return
		}
		if errors.Is(err, unix.EACCES) && allow(l.dir.fd, e.name) == nil {
			if err = r.walk.enter(e.name); err == nil {
				return
			}
		}
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR): // it is being changed
		l.changed = true
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EBUSY):
		r.keep(l, e.ino, fmt.Errorf("something is mounted on %.200q in it", e.name))
	case err != nil:
		r.keep(l, e.ino, fmt.Errorf("%.200q in it: %w", e.name, err))
	}
}

// keep notes what stays.
func (r *remover) keep(l *level, ino uint64, err error) {
	if r.first == nil {
		r.first = err
	}
	l.stuck = true
	r.stuck[[2]uint64{l.dev, ino}] = true
}

// up leaves a directory that was gone through, and removes it.
func (r *remover) up() {
	child, ok := r.walk.leave()
	l := r.walk.lowest()
	if !ok {
		l.changed = true
		return
	}
	if child.stuck {
		r.keep(l, child.ino, r.first)
		return
	}
	name := child.name
	if name == "" {
		var err error
		if name, err = r.walk.find(child.ino); err != nil {
			r.keep(l, child.ino, err)
			return
		}
		if name == "" { // moved
			l.changed = true
			return
		}
	}
	if err := r.drop(l.dir.fd, name, true); isFull(err) {
		l.changed = true
	} else if err != nil {
		r.keep(l, child.ino, fmt.Errorf("%.200q in it: %w", name, err))
	}
}

// drop removes a file or an empty directory, if it exists. Where force is set, dir belongs to a stranger too: its mode
// and marks are changed where they are in the way.
func (r *remover) drop(dir int, name string, force bool) error {
	unlink := func() error {
		_, err := retry(func() (int, error) { return 0, unix.Unlinkat(dir, name, 0) })
		if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) {
			if _, e := retry(func() (int, error) { return 0, unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) }); !errors.Is(e, unix.ENOTDIR) {
				err = e
			}
		}
		if errors.Is(err, unix.ENOENT) {
			err = nil
		}
		return err
	}
	if r.removed != nil {
		r.removed.Add(1)
	}
	err := unlink()
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return err
	}
	if force {
		unmark(dir)
		_ = unix.Fchmod(dir, 0o700)
	}
	var s unix.Stat_t
	if unix.Fstatat(dir, name, &s, unix.AT_SYMLINK_NOFOLLOW) == nil && (s.Mode&unix.S_IFMT == unix.S_IFREG || s.Mode&unix.S_IFMT == unix.S_IFDIR) {
		if fd, e := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0); e == nil {
			unmark(fd)
			_ = unix.Close(fd)
		}
	}
	return unlink()
}

// The marks of a file that nothing of root's may change or remove: chattr +i and +a.
const marks = 0x10 | 0x20 // FS_IMMUTABLE_FL, FS_APPEND_FL

// unmark takes the marks from a file or directory.
func unmark(fd int) {
	if n, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil && n&marks != 0 {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(n&^marks))
	}
}

// allow makes a directory readable for its owner, who is not root.
func allow(dir int, name string) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o700)
}
