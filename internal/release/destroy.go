package release

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/event"
)

// Destroy cancels what is under way for an app and removes the app: its previews, its Service, what Options.Remove removes (repository, images, cache), its logs
// and its ledger. by must have the right to do so when it begins; from then on it continues without its caller, and no release of the app
// enters. If it fails, the ledger remains, so that it can be repeated.
func (m *Machine) Destroy(ctx context.Context, by app.Caller, name string) error {
	return m.destroy(ctx, by, name, nil)
}

// destroy is Destroy for an app that still meets a condition when its turn has come; nil for none.
func (m *Machine) destroy(ctx context.Context, by app.Caller, name string, still func() (bool, error)) error {
	if err := m.begin(); err != nil {
		return err
	}
	defer m.running.Done()
	me := &turn{destroys: true, cancel: func(error) {}, done: make(chan struct{})}
	defer close(me.done)
	var a app.App
	before, err := m.turns.enter(name, me, func(*turn) (err error) {
		if a, err = m.o.Store.Authorize(ctx, by, name, app.VerbDelete); err != nil || still == nil {
			return err
		}
		if holds, err := still(); err != nil || !holds {
			return cmp.Or(err, errKept)
		}
		return nil
	})
	if errors.Is(err, errKept) {
		return nil
	} else if err != nil {
		return err
	}
	defer m.turns.leave(name, me)
	if before != nil {
		before.cancel(app.Errorf(app.CodeSuperseded, "nothing to do: its app no longer exists", "the app %s was destroyed", name))
		<-before.done
	}
	return m.remove(context.WithoutCancel(ctx), a) // half-done, it would leave an app with nothing but its name
}

// errKept keeps a destruction from beginning.
var errKept = errors.New("it is kept")

// remove removes all that there is of an app, in its turn.
func (m *Machine) remove(ctx context.Context, a app.App) error {
	previews, err := m.o.Store.Previews(ctx, a.Name)
	if err != nil {
		return err
	}
	for _, p := range previews {
		if err := m.Destroy(ctx, app.Root, p.Name); err != nil && app.CodeOf(err) != app.CodeNotFound {
			return err
		}
	}
	if err := m.o.Platform.Delete(ctx, a.Name); err != nil && !errors.Is(err, deploy.ErrNotFound) {
		return err
	}
	if m.o.Triggers != nil {
		if err := m.o.Triggers.Forget(ctx, event.Owner{App: a.Name, ID: a.ID}); err != nil {
			return err
		}
	}
	if m.o.Remove != nil {
		if err := m.o.Remove(ctx, a); err != nil {
			return err
		}
	}
	if err := disk.RemoveAll(filepath.Join(m.o.LogDir, a.Name)); err != nil { // not worth failing for
		m.o.Log("destroy %s: %v", a.Name, err)
	}
	if err := m.o.Store.DeleteApp(ctx, a.ID); err != nil {
		return err
	}
	if m.o.Removed != nil {
		m.o.Removed(ctx)
	}
	m.askSweep()
	return nil
}
