package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
)

// detectAndBuild follows the container that runs the app's code.
func (b *running) detectAndBuild(ctx context.Context) error {
	b.Progress.Enter("start of detection")
	if _, err := b.watched.wait(ctx, started(wire.Build)); err != nil {
		return err
	}
	var group wire.Group
	out := b.Detect(func() (phase.Group, error) {
		if group.Error != "" || len(group.Buildpacks) == 0 {
			return phase.Group{}, errors.New(group.Error)
		}
		return group.Group, nil
	})
	end, err := b.readBuild(ctx, out, &group)
	stopped := b.Built(ctx)
	if end != nil { // as it was in the Pod: the log comes later, and in pieces
		b.Result.Times.Detect, b.Result.Times.Build = time.Duration(group.Milliseconds)*time.Millisecond, time.Duration(end.Milliseconds)*time.Millisecond
	}
	switch {
	case err != nil:
		return err
	case stopped != nil:
		return stopped
	case end != nil && end.Code == 0:
		return nil
	case end != nil && end.Limit == "disk":
		return diskExceeded(b.Limits)
	}
	return b.buildFailed(ctx, end)
}

// readBuild passes the container's output on to out. It fills in the group when the container tells it, and returns how the last phase ended;
// nil where the container did not say.
func (b *running) readBuild(ctx context.Context, out io.Writer, group *wire.Group) (end *wire.End, err error) {
	prefix := b.Marker + " "
	err = b.lines(ctx, wire.Build, func(l string) (last bool) {
		if rest, ok := strings.CutPrefix(l, prefix); ok {
			if g, ok := strings.CutPrefix(rest, wire.MarkGroup); ok {
				_ = json.Unmarshal([]byte(g), group)
				return false
			}
			if e, ok := strings.CutPrefix(rest, wire.MarkEnded); ok {
				end = &wire.End{}
				return json.Unmarshal([]byte(e), end) == nil
			}
		}
		_, _ = out.Write([]byte(l + "\n"))
		return false
	})
	return end, err
}

// buildFailed says why the container did not end well; end is what it said itself, nil for nothing.
func (b *running) buildFailed(ctx context.Context, end *wire.End) error {
	p, err := b.watched.wait(ctx, ended(wire.Build)) // only the node knows whether memory was at fault
	if err != nil {
		return err
	}
	s := state(p, wire.Build)
	if s == nil || s.State.Terminated == nil {
		return b.died(ctx, wire.Build, "build")
	}
	t := s.State.Terminated
	exit := lifecycle.Exit{Code: int(t.ExitCode), OutOfMemory: t.Reason == "OOMKilled"}
	if end != nil {
		exit.Signal = end.Signal
	} else if t.ExitCode == 0 {
		return nil
	} else if t.ExitCode > 128 {
		exit.Signal = fmt.Sprintf("signal %d", t.ExitCode-128)
	}
	return b.Failed(exit)
}
