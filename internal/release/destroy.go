package release

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/disk"
)

// Destroy stops what is under way for an app and removes it: its Service, then what rest removes (repository, cache), its logs, its
// ledger and its images. A failure leaves the ledger, so that it can be done again.
func (m *Machine) Destroy(ctx context.Context, name string, rest func() error) error {
	m.mu.Lock()
	under := m.current[name]
	m.mu.Unlock()
	if under != nil {
		under.cancel(app.Errorf(app.Superseded, "", "the app was destroyed"))
		<-under.done
	}
	if err := m.o.Platform.Delete(ctx, name); err != nil && !errors.Is(err, deploy.ErrNotFound) {
		return err
	}
	if err := rest(); err != nil {
		return err
	}
	if err := disk.RemoveAll(filepath.Join(m.o.LogDir, name)); err != nil { // in no other app's way
		m.o.Log("destroy %s: %v", name, err)
	}
	if err := m.o.Store.DeleteApp(ctx, name); err != nil {
		return err
	}
	m.askSweep()
	return nil
}
