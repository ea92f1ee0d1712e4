package disk

import (
	"context"

	"golang.org/x/sys/unix"
)

// Usage is what folders take.
type Usage struct {
	Bytes   int64 // on the disk; 4 KiB at least for each file and folder, for an empty one costs the server as well
	Entries int64 // files, folders and links
}

// Over reports whether it is more than either limit; 0 is no limit.
func (u Usage) Over(bytes, entries int64) bool {
	return bytes > 0 && u.Bytes > bytes || entries > 0 && u.Entries > entries
}

const (
	leastEntry = 4 << 10 // bytes
	maxLinked  = 1 << 20 // files of several names that are remembered; further ones count once for each name
)

// Measure returns what directories take on the disk. They belong to a stranger who changes them meanwhile: no symbolic link is followed, no
// mount crossed, and what cannot be read is passed over. Depth costs neither descriptors nor stack.
func Measure(ctx context.Context, dirs ...string) Usage {
	m := measure{linked: map[[2]uint64]bool{}}
	for _, d := range dirs {
		m.add(ctx, d)
	}
	return m.Usage
}

type measure struct {
	Usage
	linked map[[2]uint64]bool // files of several names that were counted
}

func (m *measure) add(ctx context.Context, dir string) {
	var w walk
	defer w.close()
	if w.enter(dir) != nil {
		return
	}
	for ctx.Err() == nil {
		e, ok, err := w.next()
		if err != nil || !ok {
			if len(w.levels) == 1 {
				return
			}
			w.leave()
			continue
		}
		if m.count(w.lowest().dir.fd, e.name) {
			_ = w.enter(e.name)
		}
	}
}

// count counts an entry and tells whether it is a directory.
func (m *measure) count(dir int, name string) (isDir bool) {
	var s unix.Stat_t
	if unix.Fstatat(dir, name, &s, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	m.Entries++
	if isDir = s.Mode&unix.S_IFMT == unix.S_IFDIR; !isDir && s.Nlink > 1 {
		key := [2]uint64{uint64(s.Dev), s.Ino}
		if m.linked[key] {
			return false
		}
		if len(m.linked) < maxLinked {
			m.linked[key] = true
		}
	}
	m.Bytes += max(s.Blocks*512, leastEntry)
	return isDir
}
