// Package disk is what several parts do with files and file systems: measure, sync, read what a stranger wrote.
package disk

import (
	"context"

	"golang.org/x/sys/unix"
)

// maxDepth bounds how deep Size looks; what lies deeper is not counted, and the check of free space catches it.
const maxDepth = 128

// Size returns the bytes that directories take on the disk. They belong to a stranger who changes them meanwhile: no
// symbolic link is followed, and what cannot be read is passed over.
func Size(ctx context.Context, dirs ...string) int64 {
	t := &tree{ctx: ctx, linked: map[[2]uint64]bool{}}
	for _, d := range dirs {
		if fd, err := unix.Open(d, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_RDONLY, 0); err == nil {
			t.add(fd, 0)
		}
	}
	return t.bytes
}

type tree struct {
	ctx    context.Context
	bytes  int64
	linked map[[2]uint64]bool // files of several names that were counted
}

// add counts what is in the directory, and closes fd.
func (t *tree) add(fd, depth int) {
	defer unix.Close(fd)
	buf := make([]byte, 16<<10)
	for t.ctx.Err() == nil {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n <= 0 {
			return
		}
		var names []string
		_, _, names = unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			var s unix.Stat_t
			if unix.Fstatat(fd, name, &s, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue
			}
			if s.Mode&unix.S_IFMT == unix.S_IFDIR {
				t.bytes += s.Blocks * 512
				if depth < maxDepth {
					if sub, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_RDONLY, 0); err == nil {
						t.add(sub, depth+1)
					}
				}
				continue
			}
			if s.Nlink > 1 {
				key := [2]uint64{uint64(s.Dev), s.Ino}
				if t.linked[key] {
					continue
				}
				t.linked[key] = true
			}
			t.bytes += s.Blocks * 512
		}
	}
}
