package operation

import (
	"context"
	"io"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// waitEvery is how often the ledger is asked how a release stands: one row by its key.
const waitEvery = 100 * time.Millisecond

// MaxWait is how long a release can be waited for.
const MaxWait = 24 * time.Hour

// WaitFor asks to be told how a release ends.
type WaitFor struct {
	OfApp
	Version int           // 0 for the newest when the wait begins
	Timeout time.Duration // 0 for MaxWait
	Log     io.Writer     // is given the log of the release as it is written; nil for none
}

// Wait blocks until a release has ended. It returns the release, and the error with which it ended: nil where it is live or ready, or a dry run
// that went well.
var Wait = Operation[WaitFor, ReleaseDetail]{
	Declaration{Name: "wait", Args: "APP [vN]", Does: "Wait until a release has ended; the exit status is that of the deployment", Verb: app.VerbRead, Needs: NeedsStore, Streams: true},
	func(ctx context.Context, c call, in WaitFor) (ReleaseDetail, error) {
		ledger := c.Store.Ledger(c.app)
		if in.Version == 0 {
			newest, err := ledger.Newest(ctx)
			if err != nil {
				return ReleaseDetail{}, err
			}
			in.Version = newest.Version
		}
		if in.Timeout <= 0 || in.Timeout > MaxWait {
			in.Timeout = MaxWait
		}
		if err := c.untilEnd(ctx, in); err != nil {
			return ReleaseDetail{}, err
		}
		d, err := c.detail(ctx, in.Version)
		if err != nil {
			return d, err
		}
		return d, outcome(d)
	},
}

// untilEnd returns when the release has ended, or its time has.
func (c call) untilEnd(ctx context.Context, in WaitFor) error {
	name := app.VersionName(in.Version)
	ctx, cancel := context.WithTimeoutCause(ctx, in.Timeout, errWaited)
	defer cancel()
	if in.Log != nil {
		err := c.buildLog(ctx, BuildLogOf{OfApp: in.OfApp, Version: in.Version, Follow: true, Out: in.Log})
		if err != nil && ctx.Err() == nil && app.CodeOf(err) != app.CodeNotFound { // one that is not kept
			return err
		}
	}
	for {
		r, err := c.Store.Ledger(c.app).Find(context.WithoutCancel(ctx), in.Version)
		if err != nil || r.State.Final() {
			return err
		}
		if c.Machine == nil {
			return app.Errorf(app.CodeUnavailable, "start it, which ends the release: gitd serve", "%s of %s is %s, and no server runs that would go on with it", name, c.app, r.State)
		}
		select {
		case <-time.After(waitEvery):
		case <-ctx.Done():
			if context.Cause(ctx) == errWaited {
				return app.Errorf(app.CodeLimitExceeded, "it goes on; wait again, or see its log: gitd logs "+c.app+" --build "+name, "%s of %s is still %s after %s", name, c.app, r.State, app.Elapsed(in.Timeout))
			}
			return context.Cause(ctx)
		}
	}
}

// errWaited ends a wait whose time is over.
var errWaited = app.Errorf(app.CodeLimitExceeded, "wait again", "the time is over")

// outcome is the error with which a release ended.
func outcome(d ReleaseDetail) error {
	end := d.Events[len(d.Events)-1]
	code := end.Code
	switch {
	case d.State == app.StateLive || d.State == app.StateReady || code == app.CodeDryRun:
		return nil
	case code != "": // releases of an older gitd have none
	case d.State == app.StateSuperseded:
		code = app.CodeSuperseded
	case d.State == app.StateCancelled:
		code = app.CodeCancelled
	default:
		code = app.CodeReleaseFailed
	}
	return app.Errorf(code, "see its log: gitd logs "+d.App+" --build "+d.name(), "%s of %s %s: %s", d.name(), d.App, ended(d.State), end.Reason)
}

func ended(s app.State) string {
	switch s {
	case app.StateCancelled:
		return "was cancelled"
	case app.StateSuperseded:
		return "was superseded"
	}
	return string(s)
}
