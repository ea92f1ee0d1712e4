// Package announce tells apps what becomes of apps and releases, as CloudEvents in the vocabulary of CDEvents: it takes what the ledger has entered to be told, and
// gives it to the broker. Nothing waits for it.
package announce

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/event"
	"github.com/gitd-io/gitd/internal/store"
)

// Events is the part of event.Platform that is used.
type Events interface {
	Announce(ctx context.Context, e event.Event, from event.Sender) (event.Receipt, error)
	Owners(ctx context.Context) (map[string]event.Owner, error)
}

// Options configure an Announcer.
type Options struct {
	Store  *store.Store
	Events Events // nil: nothing is told
	Log    func(format string, args ...any)
}

// Announcer tells what the ledger has entered to be told.
type Announcer struct{ o Options }

// New returns an Announcer.
func New(o Options) *Announcer { return &Announcer{o} }

const (
	group = 100              // entries that are told at a time
	look  = 10 * time.Second // how often it looks for entries of other processes
	again = 5 * time.Second  // how long it waits after a failure
	// setTime is how long it waits for the triggers of a release that has gone live: an app that subscribes is told of that release already.
	setTime = 5 * time.Second
)

// Run tells what there is to tell, in order, until ctx ends. What it could not tell then, the next process tells.
func (a *Announcer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		more, err := a.tell(ctx)
		wait := look
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.o.Log("events: what became of apps and releases is told later: %v", err)
			wait = again
		case more:
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-a.o.Store.Changes():
			if err != nil { // it is as likely to fail again
				<-t.C
			}
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// tell tells one group of entries. It reports whether there may be more.
func (a *Announcer) tell(ctx context.Context) (more bool, err error) {
	all, err := a.o.Store.Untold(ctx, group)
	if err != nil || len(all) == 0 {
		return false, err
	}
	var told int64
	for i := range all {
		if err = a.one(ctx, &all[i]); err != nil {
			break
		}
		told = all[i].Number
	}
	if told > 0 { // where this is lost, the broker knows the events
		if e := a.o.Store.Told(context.WithoutCancel(ctx), told); e != nil {
			return false, e
		}
	}
	return err == nil && len(all) == group, err
}

// one tells one entry to those who listen and may hear it. One that cannot be an event is reported and left out.
func (a *Announcer) one(ctx context.Context, u *store.Untold) error {
	if a.o.Events == nil {
		return nil
	}
	listens, err := a.listens(ctx, u)
	if err != nil || !listens {
		return err
	}
	all, err := eventsOf(u)
	if err != nil {
		return err
	}
	for _, e := range all {
		_, err := a.o.Events.Announce(ctx, e, event.Sender{Kind: event.FromSource, Name: "gitd", ID: u.App.ID})
		switch app.CodeOf(err) {
		case app.CodeInvalidInput, app.CodeLimitExceeded:
			a.o.Log("events: %s of %s is not told: %v", e.Type, u.App.Name, err)
		default:
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// listens says whether any app gets events. Of a release that has gone live, it waits until its triggers are set.
func (a *Announcer) listens(ctx context.Context, u *store.Untold) (bool, error) {
	pause := 5 * time.Millisecond
	for end := time.Now().Add(setTime); ; pause = min(2*pause, 200*time.Millisecond) {
		all, err := a.o.Events.Owners(ctx)
		if err != nil {
			return false, err
		}
		of := all[u.App.Name]
		if u.What != string(app.StateLive) || !u.GetsEvents || of.ID == u.App.ID && of.Release >= u.Version || time.Now().After(end) {
			return len(all) > 0, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}
