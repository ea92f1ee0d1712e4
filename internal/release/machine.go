// Package release takes a push through its states, from received to live: it builds, starts, shifts traffic, and writes each
// step into the ledger. It knows builders and platforms by their interfaces only.
package release

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/store"
)

// Images is what the machine needs of the registry.
type Images interface {
	// Collect removes every image that nobody needs and that is older than since, and returns the bytes freed.
	Collect(ctx context.Context, needed registry.Needed, since time.Time) (freed int64, err error)
	// CollectRepository does that for one repository, of which these digests are needed, and leaves to Collect what may be shared with others.
	CollectRepository(ctx context.Context, repository string, digests []string, since time.Time) error
}

// Options configure a Machine.
type Options struct {
	Store    *store.Store
	Builder  build.Builder
	Queue    *build.Queue // of all apps' builds; nil: as many at a time as come
	Platform deploy.Platform
	Images   Images
	LogDir   string // build logs: LogDir/APP/vN.log
	Timings  string // file to append each release's timings to as JSON lines; "" for none
	Limits   build.Limits
	Caps     Caps
	MinFree  int64                   // bytes that the disk under LogDir must have free for a push to be taken
	URL      func(app string) string // where people reach an app
	// LiveRef returns the commit that git clone gives back; "" for none. nil: Recover sets all refs.
	LiveRef func(app string) (commit string, err error)
	// SetLive makes the commit the one that git clone gives back. Used for rollbacks and after a crash.
	SetLive func(app, commit string) error
	Log     func(format string, args ...any)
}

// kept is how many releases of an app that once were live stay for rollback, images included.
const kept = 10

// Machine runs releases, one an app at a time: the newest push wins.
type Machine struct {
	o    Options
	ctx  context.Context // ends when the server stops
	stop context.CancelCauseFunc
	runs sync.WaitGroup

	mu      sync.Mutex
	current map[string]*run
	closed  bool
	leases  map[*time.Time]time.Time // when each build under way began: what was put into the registry since then is no collection's

	sweepSoon chan struct{} // asks for a Sweep
}

// run is a release or the destruction of an app under way.
type run struct {
	destroys bool // nothing makes it give way
	cancel   context.CancelCauseFunc
	done     chan struct{}
}

// New returns a machine. Call Recover before the first push.
func New(o Options) *Machine {
	m := &Machine{o: o, current: map[string]*run{}, leases: map[*time.Time]time.Time{}, sweepSoon: make(chan struct{}, 1)}
	m.ctx, m.stop = context.WithCancelCause(context.Background())
	return m
}

// Close stops what is under way, tells it so, and waits for it.
func (m *Machine) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop(app.Errorf(app.CodeUnavailable, "push again in a moment", "the server is shutting down"))
	m.runs.Wait()
}

// Push is one push to take live.
type Push struct {
	App     string
	AppID   int64      // of the app that By was found to have the right to; 0 where there was none yet
	By      app.Caller // who pushes
	Ref     string
	Commit  string
	Message string // what the release is about; may be empty
	Signed  string // who signed it; "" where it was not signed
	Source  build.Source
	Log     *app.Log
	Start   time.Time         // when the push arrived
	Accept  func() error      // keeps the pushed objects for good; called once, right before traffic shifts
	Entered func(version int) // called with the release's number; may be nil
	Clear   bool              // build without the cache
	// NoTraffic ends the release when it is healthy, in the state app.StateReady: what serves goes on serving. Rollback to it takes it live.
	NoTraffic bool
	DryRun    bool // end after the build, with an error whose code is app.CodeDryRun. It waits for the release under way, and stops none
}

// Deploy builds the push and takes it live. It returns nil when it is live, and otherwise an error made for people; the
// app then serves what it served before.
func (m *Machine) Deploy(ctx context.Context, p Push) error {
	if err := m.enoughDisk(); err != nil {
		return err
	}
	r := app.Release{App: p.App, AppID: p.AppID, Commit: p.Commit, Ref: p.Ref, Message: p.Message, Signed: p.Signed}
	return m.run(ctx, p.By, r, p.DryRun, p.Log, p.Start, func(ctx context.Context, w *work) error {
		if p.Entered != nil {
			p.Entered(w.release.Version)
		}
		return m.deploy(ctx, w, p)
	})
}

// work is one release under way.
type work struct {
	m       *Machine
	by      app.Caller
	release app.Release
	log     *app.Log
	start   time.Time
	timings timings
}

// run adds r to the ledger for by, makes every older release of the app give way, and calls do. The release ends in the state that
// do's error stands for. A patient one waits for the older release instead.
func (m *Machine) run(ctx context.Context, by app.Caller, r app.Release, patient bool, log *app.Log, start time.Time, do func(context.Context, *work) error) (err error) {
	if err := m.begin(); err != nil {
		return err
	}
	defer m.runs.Done()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(m.ctx, func() { cancel(context.Cause(m.ctx)) })()

	me := &run{cancel: cancel, done: make(chan struct{})}
	defer close(me.done)
	r, before, err := m.enter(ctx, by, r, me, patient, log)
	if err != nil {
		return err
	}
	defer m.leave(r.App, me)
	w := &work{m: m, by: by, release: r, log: log, start: start}
	if before != nil {
		log.Step("Stopping the release of %s that is under way: this one is newer", r.App)
		before.cancel(app.Errorf(app.CodeSuperseded, "nothing to do: the newer one goes on", "superseded by v%d (%.7s)", r.Version, r.Commit))
		<-before.done // also when ctx has ended: whoever comes after us waits for us alone
	}
	file, err := m.openLog(r)
	if err != nil {
		m.fail(w, err)
		return err
	}
	defer file.Close()
	log.Copy(file)

	if err = ctx.Err(); err == nil {
		err = do(ctx, w)
	}
	if err != nil && ctx.Err() != nil && w.release.State != app.StateLive && w.release.State != app.StateReady {
		err = cause(ctx)
	}
	if err != nil {
		m.fail(w, err)
		app.NewLog(file).Fail(err) // the client hears it when all is undone
	}
	return err
}

// begin counts in what Close waits for, unless the machine is closed.
func (m *Machine) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return app.Errorf(app.CodeUnavailable, "push again in a moment", "the server is shutting down")
	}
	m.runs.Add(1)
	return nil
}

// leave takes me out of what is under way for an app.
func (m *Machine) leave(name string, me *run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current[name] == me {
		delete(m.current, name)
	}
}

// enter adds r to the ledger, by the rights that its caller has now, and makes me what is under way, in one go: the newest push is the
// one with the highest version. It returns what was under way before, which is nothing for a patient one: that lets it end first. Where the
// app is being destroyed it fails.
func (m *Machine) enter(ctx context.Context, by app.Caller, r app.Release, me *run, patient bool, log *app.Log) (app.Release, *run, error) {
	for told := false; ; told = true {
		m.mu.Lock()
		before := m.current[r.App]
		if before != nil && before.destroys {
			m.mu.Unlock()
			return r, nil, beingDestroyed(r.App)
		}
		if before == nil || !patient {
			defer m.mu.Unlock()
			r, err := m.o.Store.Enter(ctx, by, r)
			if err == nil {
				m.current[r.App] = me
			}
			return r, before, err
		}
		m.mu.Unlock()
		if !told {
			log.Step("Waiting for the release of %s that is under way", r.App)
		}
		select {
		case <-before.done:
		case <-ctx.Done():
			return r, nil, cause(ctx)
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

// fail ends a release in the ledger. It must succeed with the client gone: the context of the push has ended by then.
func (m *Machine) fail(w *work, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	message, _ := app.Explain(err)
	if app.CodeOf(err) == app.CodeInternal {
		m.o.Log("release %s v%d: %v", w.release.App, w.release.Version, err)
	}
	if e := w.to(ctx, store.Event{State: ending(app.CodeOf(err)), Reason: message}); e != nil {
		m.o.Log("release %s v%d: %v", w.release.App, w.release.Version, e)
	}
}

// to moves the release on, in the ledger first.
func (w *work) to(ctx context.Context, e store.Event) error {
	if !follows(w.release.State, e.State) {
		return fmt.Errorf("release: no way from %s to %s", w.release.State, e.State)
	}
	if err := w.m.o.Store.AddEvent(ctx, w.release.App, w.release.Version, e); err != nil {
		return err
	}
	w.release.State = e.State
	return nil
}
