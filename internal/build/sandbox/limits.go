package sandbox

import (
	"context"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/disk"
)

// watch measures the directories about once a second, less often where that takes long, and at once where the disk fills up quickly, until
// ctx ends. It calls exceeded once, when they take more than their limits, the file system runs full, or the build is stuck at its limit of
// processes.
func (e *Engine) watch(ctx context.Context, limits build.Limits, dirs []string, o *lifecycle.Output, exceeded func(error)) {
	files := e.share(limits.Files, 4)
	due := time.Now().Add(e.diskInterval)
	var before disk.Space // at the last measuring
	tick := time.NewTicker(e.diskInterval / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		free, err := e.free(dirs[0])
		if err == nil && free.VeryShort(e.minFree()) != "" {
			exceeded(diskFull(free.VeryShort(e.minFree())))
			return
		}
		if o.Stuck(5 * e.sessions.Quiet) {
			exceeded(lifecycle.ProcessesExceeded(limits))
			return
		}
		quick := err == nil && (before.Bytes-free.Bytes > limits.Disk/4 || before.Entries-free.Entries > files/4)
		if time.Now().Before(due) && !quick {
			continue
		}
		before = free
		began := time.Now()
		used := disk.Measure(ctx, dirs...)
		if ctx.Err() != nil {
			return
		}
		if used.Bytes > limits.Disk {
			exceeded(diskExceeded(limits.Disk))
			return
		}
		if used.Entries > files {
			exceeded(filesExceeded(files))
			return
		}
		due = time.Now().Add(max(e.diskInterval, 20*time.Since(began)))
	}
}

// share is a limit on files and folders, but no more than one of so many parts of what fits on the disk.
func (e *Engine) share(limit, parts int64) int64 {
	if free, err := e.free(e.opts.Dir); err == nil && free.Total > 0 {
		return min(limit, free.Total/parts)
	}
	return limit
}

// minFree is the room in bytes that a build needs on its file system to start; below half of it a running one is stopped.
func (e *Engine) minFree() int64 {
	if e.opts.MinFree != 0 {
		return e.opts.MinFree
	}
	return 512 << 20
}

func diskExceeded(limit int64) error {
	return app.Errorf(app.CodeLimitExceeded, "have the build write less, or ask the operator for a higher disk limit (gitd serve --build-disk)",
		"build stopped at its disk limit of %s for source, layers and cache together", app.Size(limit))
}

func filesExceeded(limit int64) error {
	return app.Errorf(app.CodeLimitExceeded, "have the build write fewer files, or ask the operator for a higher limit",
		"build stopped at its limit of %d files and folders for source, layers and cache together", limit)
}

func diskFull(short string) error {
	return app.Errorf(app.CodeLimitExceeded, "ask the operator to make room on the server's disk, then push again",
		"build stopped: the server's disk is nearly full (%s)", short)
}

func (e *Engine) checkRoom() error {
	free, err := e.free(e.opts.Dir)
	if err != nil {
		return fmt.Errorf("disk space: %w", err)
	}
	if short := free.Short(e.minFree()); short != "" {
		return app.Errorf(app.CodeLimitExceeded, "ask the operator to make room on the server's disk, then push again",
			"build not started: the server's disk is nearly full (%s)", short)
	}
	return nil
}
