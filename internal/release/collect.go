package release

import (
	"context"
	"errors"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// Collect removes what no kept release needs any more: revisions of the named app (none for ""), and images of all apps. It gives way
// to builds: with one under way the images stay for the next time.
func (m *Machine) Collect(ctx context.Context, name string) {
	if name != "" {
		if err := m.collectRevisions(ctx, name); err != nil {
			m.o.Log("collect: revisions of %s: %v", name, err)
		}
	}
	if !m.images.TryLock() {
		return
	}
	defer m.images.Unlock()
	apps, err := m.o.Store.Apps(ctx)
	if err != nil {
		m.o.Log("collect: %v", err)
		return
	}
	keep := map[string][]string{}
	for _, a := range apps {
		ledger, err := m.o.Store.Releases(ctx, a.Name)
		if err != nil {
			m.o.Log("collect: %v", err)
			return
		}
		stay, _ := split(ledger)
		for _, r := range stay {
			keep[r.Repository] = append(keep[r.Repository], r.Digest)
		}
	}
	if freed, err := m.o.Images.Collect(ctx, keep); err != nil {
		m.o.Log("collect: %v", err)
	} else if freed > 0 {
		m.o.Log("collect: %d MB of images freed", freed>>20)
	}
}

// collectLimit bounds what the removal of an app's revisions may take.
const collectLimit = 2 * time.Minute

// collectRevisions removes an app's revisions that are needed no more, of those that the platform still has. Builds go on meanwhile.
func (m *Machine) collectRevisions(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, collectLimit)
	defer cancel()
	ledger, err := m.o.Store.Releases(ctx, name)
	if err != nil {
		return err
	}
	_, gone := split(ledger)
	if len(gone) == 0 {
		return nil
	}
	there, err := m.o.Platform.Describe(ctx, name)
	if errors.Is(err, deploy.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	for _, r := range there {
		if !gone[r.Name] {
			continue
		}
		if err := m.o.Platform.DeleteRevision(ctx, name, r.Name); err != nil && !errors.Is(err, deploy.ErrNotFound) {
			m.o.Log("collect: revision %s: %v", r.Name, err)
		}
	}
	return nil
}

// split divides a ledger into the releases whose images stay, and the revisions that are needed no more.
func split(ledger []app.Release) (stay []app.Release, gone map[string]bool) {
	gone = map[string]bool{}
	live := map[string]bool{}
	for i := len(ledger) - 1; i >= 0; i-- {
		r := ledger[i]
		switch {
		case r.Digest == "":
		case !r.State.Final():
			stay = append(stay, r)
			live[r.Revision] = true
		case (r.State == app.Live || r.State == app.Ready) && (live[r.Revision] || len(live) < kept):
			stay = append(stay, r)
			live[r.Revision] = true
		case r.Revision != "":
			gone[r.Revision] = true
		}
	}
	for r := range live {
		delete(gone, r)
	}
	return stay, gone
}
