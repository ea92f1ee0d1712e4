package operation

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/release"
)

// MaxTail is how many last lines of an app's log can be asked for.
const MaxTail = 1_000_000

// followEvery is how often a log that is being written is looked at.
const followEvery = 200 * time.Millisecond

// LogsOf asks for what an app writes.
type LogsOf struct {
	OfApp
	Follow bool // go on as new lines come, until the context ends
	Tail   int  // only the last lines; 0 for all
	Out    io.Writer
}

// Logs writes what an app writes.
var Logs = Operation[LogsOf, struct{}]{
	Declaration{Name: "logs", Args: "APP", Does: "Show what an app writes", Verb: app.VerbRead, Needs: NeedsServer, Streams: true},
	func(ctx context.Context, c call, in LogsOf) (struct{}, error) {
		err := c.Platform.Logs(ctx, c.app, deploy.LogOptions{Follow: in.Follow, Tail: in.Tail}, in.Out)
		switch {
		case errors.Is(err, deploy.ErrStopped):
			err = app.Errorf(app.CodeNotFound, "start it: ps start "+c.app+"; the cluster's own collection of logs has what it wrote", "%s is stopped: its pods have gone, with their logs", c.app)
		case errors.Is(err, deploy.ErrNotFound):
			err = app.Errorf(app.CodeNotFound, "push it first; the log of a failed push: gitd logs "+c.app+" --build", "%s was never live: there are no logs", c.app)
		case ctx.Err() != nil: // it was let go
			err = nil
		}
		return struct{}{}, err
	},
}

// BuildLogOf asks for the log of a push.
type BuildLogOf struct {
	OfApp
	Version int  // of its release; 0 for the newest
	Follow  bool // until the release ends
	Out     io.Writer
}

// BuildLog writes the log of a push.
var BuildLog = Operation[BuildLogOf, struct{}]{
	Declaration{Name: "logs", Args: "APP --build [vN]", Does: "Show the log of a push", Verb: app.VerbRead, Needs: NeedsStore, Streams: true},
	func(ctx context.Context, c call, in BuildLogOf) (struct{}, error) {
		if in.Version == 0 {
			newest, err := c.Store.Ledger(c.app).Newest(ctx)
			if err != nil {
				return struct{}{}, err
			}
			in.Version = newest.Version
		}
		return struct{}{}, c.buildLog(ctx, in)
	},
}

func (c call) buildLog(ctx context.Context, in BuildLogOf) error {
	f, err := c.openLog(ctx, in)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := io.Copy(in.Out, f); err != nil || !in.Follow {
			return err
		}
		if done, err := c.ended(ctx, in.Version); err != nil || done {
			_, _ = io.Copy(in.Out, f)
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}

// openLog opens the log of a release. One that is to be followed may not have begun: the release waits until the one before has stopped.
func (c call) openLog(ctx context.Context, in BuildLogOf) (*os.File, error) {
	for {
		over := true
		if in.Follow && c.Machine != nil {
			if done, err := c.ended(ctx, in.Version); err == nil {
				over = done
			}
		}
		f, err := os.Open(release.BuildLogFile(c.LogDir, c.app, in.Version))
		if over && errors.Is(err, fs.ErrNotExist) {
			return nil, c.noLog(ctx, in.Version)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(followEvery):
		}
	}
}

// noLog says why there is no log of a release's push.
func (c call) noLog(ctx context.Context, version int) error {
	if _, err := c.Store.Ledger(c.app).Find(ctx, version); err != nil {
		return err
	}
	return app.Errorf(app.CodeNotFound, "see how each release ended: gitd releases "+c.app, "the log of v%d of %s is not kept any more", version, c.app)
}

func (c call) ended(ctx context.Context, version int) (bool, error) {
	r, err := c.Store.Ledger(c.app).Find(ctx, version)
	if app.CodeOf(err) == app.CodeNotFound { // the app was destroyed meanwhile
		return true, nil
	}
	return r.State.Final(), err
}
