package release

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/disk"
)

// Destroy cancels what is under way for an app and removes the app: its Service, what rest removes (repository, images, cache), its logs and its
// ledger. by must have the right to do so when it begins; from then on it continues without its caller, and no release of the app
// enters. If it fails, the ledger remains, so that it can be repeated.
func (m *Machine) Destroy(ctx context.Context, by app.Caller, name string, rest func(context.Context) error) error {
	if err := m.begin(); err != nil {
		return err
	}
	defer m.running.Done()
	me := &turn{destroys: true, cancel: func(error) {}, done: make(chan struct{})}
	defer close(me.done)
	var a app.App
	before, err := m.turns.enter(name, me, func(*turn) (err error) {
		a, err = m.o.Store.Authorize(ctx, by, name, app.VerbDelete)
		return err
	})
	if err != nil {
		return err
	}
	defer m.turns.leave(name, me)
	if before != nil {
		before.cancel(app.Errorf(app.CodeSuperseded, "nothing to do: its app no longer exists", "the app %s was destroyed", name))
		<-before.done
	}
	ctx = context.WithoutCancel(ctx) // half-done, it would leave an app with nothing but its name
	if err := m.o.Platform.Delete(ctx, name); err != nil && !errors.Is(err, deploy.ErrNotFound) {
		return err
	}
	if err := rest(ctx); err != nil {
		return err
	}
	if err := disk.RemoveAll(filepath.Join(m.o.LogDir, name)); err != nil { // not worth failing for
		m.o.Log("destroy %s: %v", name, err)
	}
	if err := m.o.Store.DeleteApp(ctx, a.ID); err != nil {
		return err
	}
	m.askSweep()
	return nil
}
