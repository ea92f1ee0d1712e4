package release

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/secret"
	"github.com/gitd-io/gitd/internal/store"
	"github.com/gitd-io/gitd/internal/telemetry"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// deployment is one release under way. These are its stages; each state is in the ledger before it is acted on (states.go):
//
//  1. enter: the ledger takes the release; what was under way for the app before is cancelled and has ended (received)
//  2. settings: project.toml and the Procfile are read and checked against the operator's caps
//  3. queue: the build waits for its turn among those of all apps
//  4. build: the image goes into the registry (building, built); a dry run ends here
//  5. release command, if the image has one (releasing)
//  6. start: the new revision starts beside the old one and passes its check (starting); without traffic it ends here (ready)
//  7. shift: rights are checked again, the pushed objects are made permanent, and traffic moves (shifting)
//  8. live: workers are replaced (live)
//  9. collect: what is no longer needed is removed in the background
//
// A change of a release (change.go) has its image already and goes from 1 to 5 or 6.
type deployment struct {
	m       *Machine
	by      app.Caller
	release app.Release
	log     *app.Log
	start   time.Time // when it was requested
	waits   bool      // for the deployment under way, instead of cancelling it
	preview app.App   // where the push is one to a preview
	// production is what the release of a preview is promoted with; nil for any other.
	production *servingv1.Service
	// prepare completes release right before it enters the ledger, in the app's turn; may be nil.
	prepare   func(ctx context.Context) error
	maintains bool // maintenance is on for its release command
	timings   timings
	// configuration is the version of the app's configuration that becomes the current one when the release is live; nil for none.
	configuration *int
	buildSecrets  secret.Values   // what the build sees of the configuration
	url           string          // of the release, once it is live or ready
	span          *telemetry.Span // of all of it; nil where nothing is traced
	own           bool            // the span is of the release, and not of a push
	current       *liveRelease    // see live
}

func (d *deployment) result() app.Result {
	return app.Result{Version: d.release.Version, Revision: d.release.Revision, URL: d.url}
}

// liveRelease is a release that is live, with its Service, which is not to be changed.
type liveRelease struct {
	app.Release
	service *servingv1.Service
}

// live returns the release that this one follows; nil where nothing is live. It is read once: nothing else changes it while the deployment has its app's turn.
func (d *deployment) live(ctx context.Context) (*liveRelease, error) {
	if d.current == nil {
		var current liveRelease
		var err error
		if current.Release, err = d.m.o.Store.Ledger(d.release.App).Live(ctx); err == nil {
			current.service, err = d.m.service(ctx, current.Release)
		} else if app.CodeOf(err) == app.CodeNotFound {
			err = nil
		}
		if err != nil {
			return nil, err
		}
		d.current = &current
	}
	if d.current.service == nil {
		return nil, nil
	}
	return d.current, nil
}

// run adds the release to the ledger, cancels what is under way for its app, and calls do. do's error decides the state in which the
// release ends.
func (d *deployment) run(ctx context.Context, do func(context.Context) error) (err error) {
	m := d.m
	ctx, done := d.trace(ctx)
	defer func() { done(err) }()
	ctx, me, end, err := m.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	before, err := d.enter(ctx, me)
	if err != nil {
		return err
	}
	defer m.turns.leave(d.release.App, me)
	if before != nil {
		d.log.Step("Stopping the release of %s that is under way: this one is newer", d.release.App)
		before.cancel(app.Errorf(app.CodeSuperseded, "nothing to do: the newer one goes on", "superseded by v%d (%s)", d.release.Version, origin(d.release)))
		<-before.done // even if ctx has ended: the next one waits only for this one
	}
	if d.own && d.span.Sent() {
		d.log.Detail("trace %s", d.span.Trace())
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
	d.resume()
	if err != nil && ctx.Err() != nil && d.release.State != app.StateLive && d.release.State != app.StateReady {
		err = cause(ctx)
	}
	if err != nil {
		d.fail(err)
		app.NewLog(file).Fail(err) // the client gets it when everything is undone
	}
	return err
}

// enter adds the release to the ledger, with the rights that its caller has now, and makes me what is under way, in one step: the newest push
// has the highest version. It returns what was under way before; nil for a deployment that waits, since that has ended by then.
func (d *deployment) enter(ctx context.Context, me *turn) (before *turn, err error) {
	join := func() error {
		if d.prepare != nil {
			if err := d.prepare(ctx); err != nil {
				return err
			}
		}
		d.release.Trace = d.span.Trace()
		r, err := d.m.o.Store.Enter(ctx, d.by, d.release)
		if err == nil {
			d.release, me.version = r, r.Version
		}
		return err
	}
	if d.waits {
		return nil, d.m.turns.enterAlone(ctx, d.release.App, me, waiting(d.release.App, d.log), join)
	}
	return d.m.turns.enter(d.release.App, me, func(*turn) error { return join() })
}

// cause returns why a context has ended, as an *app.Error.
func cause(ctx context.Context) error {
	err := context.Cause(ctx)
	var e *app.Error
	if errors.As(err, &e) {
		return e
	}
	return app.Errorf(app.CodeCancelled, "push again to deploy", "cancelled: the client went away (%w)", err)
}

// allowed checks again, with the rights of this moment, whether the release may go live: its build may have taken long.
func (d *deployment) allowed(ctx context.Context) error {
	return d.m.o.Store.Confirm(ctx, d.by, d.release.App, d.release.AppID, app.VerbPush)
}

// fail ends the release in the ledger. It must succeed when the client is gone, which ends the context of the push.
func (d *deployment) fail(err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	message, _ := app.Explain(err)
	if app.CodeOf(err) == app.CodeInternal {
		d.m.o.Log("release %s v%d: %v", d.release.App, d.release.Version, err, d.logged())
	}
	if e := d.to(ctx, store.Event{State: ending(app.CodeOf(err)), Reason: message, Code: app.CodeOf(err), Times: d.timings.parts()}); e != nil {
		d.m.o.Log("release %s v%d: %v", d.release.App, d.release.Version, e, d.logged())
	}
}

// to moves the release to its next state, in the ledger first.
func (d *deployment) to(ctx context.Context, e store.Event) error {
	if !follows(d.release.State, e.State) {
		return fmt.Errorf("release: no transition from %s to %s", d.release.State, e.State)
	}
	if err := d.m.o.Store.AddEvent(ctx, d.release.App, d.release.Version, e); err != nil {
		return err
	}
	d.release.State = e.State
	d.count(e.State)
	if e.State == app.StateLive {
		d.m.setTriggers(ctx, d.release.App)
	}
	return nil
}
