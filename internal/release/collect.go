package release

import (
	"context"
	"errors"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// Collect removes what no kept release needs any more: revisions of the named app (none for ""), and images of all apps. It gives way
// to builds: with one under way the images stay for the next time.
func (m *Machine) Collect(ctx context.Context, name string) {
	apps, err := m.o.Store.Apps(ctx)
	if err != nil {
		m.o.Log("collect: %v", err)
		return
	}
	if !m.images.TryLock() {
		return
	}
	defer m.images.Unlock()
	keep := map[string][]string{}
	for _, a := range apps {
		ledger, err := m.o.Store.Releases(ctx, a.Name)
		if err != nil {
			m.o.Log("collect: %v", err)
			return
		}
		stay, go_ := split(ledger)
		for _, r := range stay {
			keep[r.Repository] = append(keep[r.Repository], r.Digest)
		}
		if a.Name != name {
			continue
		}
		for revision := range go_ {
			if err := m.o.Platform.DeleteRevision(ctx, name, revision); err != nil && !errors.Is(err, deploy.ErrNotFound) {
				m.o.Log("collect: revision %s: %v", revision, err)
			}
		}
	}
	if freed, err := m.o.Images.Collect(ctx, keep); err != nil {
		m.o.Log("collect: %v", err)
	} else if freed > 0 {
		m.o.Log("collect: %d MB of images freed", freed>>20)
	}
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
