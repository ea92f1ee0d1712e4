package sandbox

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
)

// minFree is the room in bytes that a build needs on its file system to start; below half of it a running one is stopped.
const minFree = 512 << 20

// freeSpace returns the bytes that are free on dir's file system.
func freeSpace(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// maxDepth bounds how deep treeSize looks; what lies deeper is not counted, and the check of free space catches it.
const maxDepth = 128

// treeSize returns the bytes that directories take on the disk. They belong to a stranger who changes them meanwhile: no
// symbolic link is followed, and what cannot be read is passed over.
func treeSize(ctx context.Context, dirs ...string) int64 {
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

// watch measures the directories about once a second, and less often where that takes long, until ctx ends. It calls
// exceeded once, when they take more than their limit, the file system runs full, or the build is stuck at its limit of processes.
func (e *Engine) watch(ctx context.Context, limits build.Limits, dirs []string, o *lifecycle.Output, exceeded func(error)) {
	wait := e.diskInterval
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		began := time.Now()
		if size := treeSize(ctx, dirs...); size > limits.Disk && ctx.Err() == nil {
			exceeded(diskExceeded(limits.Disk))
			return
		}
		if free, err := e.free(dirs[0]); err == nil && free < minFree/2 {
			exceeded(diskFull(free))
			return
		}
		if o.Stuck(5 * e.patience) {
			exceeded(lifecycle.ProcessesExceeded(limits))
			return
		}
		wait = max(e.diskInterval, 20*time.Since(began))
	}
}

func diskExceeded(limit int64) error {
	return app.Errorf(app.LimitExceeded, "have the build write less, or ask the operator for a higher disk limit",
		"build stopped at its disk limit of %s for source, layers and cache together", lifecycle.Size(limit))
}

func diskFull(free int64) error {
	return app.Errorf(app.LimitExceeded, "ask the operator to make room on the server's disk, then push again",
		"build stopped: the server's disk is nearly full (%s free)", lifecycle.Size(free))
}

func (e *Engine) checkRoom() error {
	free, err := e.free(e.opts.Dir)
	if err != nil {
		return err
	}
	if free < minFree {
		return app.Errorf(app.LimitExceeded, "ask the operator to make room on the server's disk, then push again",
			"build not started: the server's disk is nearly full (%s free, %s needed)", lifecycle.Size(free), lifecycle.Size(minFree))
	}
	return nil
}
