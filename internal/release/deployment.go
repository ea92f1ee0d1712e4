package release

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/store"
)

// deployment is one release under way. Its stages, each in the ledger before it is acted on (states.go):
//
//  1. enter: the ledger takes the release; what was under way for the app before is cancelled and has ended (received)
//  2. settings: project.toml and the Procfile are read, and held against the operator's caps
//  3. queue: it waits for its turn among the builds of all apps
//  4. build: the image is in the registry (building, built); a dry run ends here
//  5. release command, where the image has one (releasing)
//  6. start: the new revision runs beside the old one and passes its check (starting); without traffic it ends here (ready)
//  7. shift: rights are asked once more, the pushed objects are kept for good, and the traffic moves (shifting)
//  8. live: workers follow, and the ledger says so (live)
//  9. collect: what is needed no more goes, behind it
//
// A rollback and a promotion have their image: they go from 1 to 6.
type deployment struct {
	m       *Machine
	by      app.Caller
	release app.Release
	log     *app.Log
	start   time.Time // when it was asked for
	waits   bool      // for the deployment that is under way, instead of cancelling it
	timings timings
	url     string // where people reach it, when it is live or ready
}

func (d *deployment) result() app.Result {
	return app.Result{Version: d.release.Version, Revision: d.release.Revision, URL: d.url}
}

// run adds the release to the ledger, cancels what is under way for its app, and calls do. The release ends in the state that do's error
// stands for.
func (d *deployment) run(ctx context.Context, do func(context.Context) error) error {
	m := d.m
	if err := m.begin(); err != nil {
		return err
	}
	defer m.running.Done()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(m.ctx, func() { cancel(context.Cause(m.ctx)) })()

	me := &turn{cancel: cancel, done: make(chan struct{})}
	defer close(me.done)
	before, err := d.enter(ctx, me)
	if err != nil {
		return err
	}
	defer m.turns.leave(d.release.App, me)
	if before != nil {
		d.log.Step("Stopping the release of %s that is under way: this one is newer", d.release.App)
		before.cancel(app.Errorf(app.CodeSuperseded, "nothing to do: the newer one goes on", "superseded by v%d (%.7s)", d.release.Version, d.release.Commit))
		<-before.done // also when ctx has ended: who comes after us waits for us alone
	}
	file, err := m.openLog(d.release)
	if err != nil {
		d.fail(err)
		return err
	}
	defer file.Close()
	d.log.Copy(file)

	if err = ctx.Err(); err == nil {
		err = do(ctx)
	}
	if err != nil && ctx.Err() != nil && d.release.State != app.StateLive && d.release.State != app.StateReady {
		err = cause(ctx)
	}
	if err != nil {
		d.fail(err)
		app.NewLog(file).Fail(err) // the client hears it when all is undone
	}
	return err
}

// errUnderWay is why one that waits does not enter yet.
var errUnderWay = errors.New("another deployment of the app is under way")

// enter adds the release to the ledger, by the rights that its caller has now, and makes me what is under way, in one go: the newest push is the
// one with the highest version. It returns what was under way before, which is nil for one that waits: that has ended by then.
func (d *deployment) enter(ctx context.Context, me *turn) (before *turn, err error) {
	for told := false; ; told = true {
		before, err = d.m.turns.enter(d.release.App, me, func(before *turn) error {
			if before != nil && d.waits {
				return errUnderWay
			}
			r, err := d.m.o.Store.Enter(ctx, d.by, d.release)
			if err == nil {
				d.release = r
			}
			return err
		})
		if !errors.Is(err, errUnderWay) {
			return before, err
		}
		if !told {
			d.log.Step("Waiting for the release of %s that is under way", d.release.App)
		}
		select {
		case <-before.done:
		case <-ctx.Done():
			return nil, cause(ctx)
		}
	}
}

// cause turns the end of a context into words.
func cause(ctx context.Context) error {
	err := context.Cause(ctx)
	var e *app.Error
	if errors.As(err, &e) {
		return e
	}
	return app.Errorf(app.CodeCancelled, "push again to deploy", "cancelled: the client went away (%w)", err)
}

// allowed asks again, by the rights of this moment, whether the release may go live: its build may have taken long.
func (d *deployment) allowed(ctx context.Context) error {
	return d.m.o.Store.Confirm(ctx, d.by, d.release.App, d.release.AppID, app.VerbPush)
}

// fail ends the release in the ledger. It must succeed with the client gone: the context of the push has ended by then.
func (d *deployment) fail(err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	message, _ := app.Explain(err)
	if app.CodeOf(err) == app.CodeInternal {
		d.m.o.Log("release %s v%d: %v", d.release.App, d.release.Version, err)
	}
	if e := d.to(ctx, store.Event{State: ending(app.CodeOf(err)), Reason: message}); e != nil {
		d.m.o.Log("release %s v%d: %v", d.release.App, d.release.Version, e)
	}
}

// to moves the release on, in the ledger first.
func (d *deployment) to(ctx context.Context, e store.Event) error {
	if !follows(d.release.State, e.State) {
		return fmt.Errorf("release: no way from %s to %s", d.release.State, e.State)
	}
	if err := d.m.o.Store.AddEvent(ctx, d.release.App, d.release.Version, e); err != nil {
		return err
	}
	d.release.State = e.State
	return nil
}
