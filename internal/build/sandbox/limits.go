package sandbox

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/disk"
)

// minFree is the room in bytes that a build needs on its file system to start; below half of it a running one is stopped.
const minFree = 512 << 20

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
		if size := disk.Size(ctx, dirs...); size > limits.Disk && ctx.Err() == nil {
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
