package release

import (
	"context"
	"errors"
	"slices"
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
		needed, err := m.o.Store.Kept(ctx, a.Name, kept)
		if err != nil {
			m.o.Log("collect: %v", err)
			return
		}
		for _, r := range needed {
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
	there, err := m.o.Platform.Describe(ctx, name)
	if errors.Is(err, deploy.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	needed, err := m.o.Store.Kept(ctx, name, kept) // after Describe: a revision of a release that began meanwhile is not in there
	if err != nil {
		return err
	}
	for _, r := range there {
		if slices.ContainsFunc(needed, func(k app.Release) bool { return k.Revision == r.Name }) {
			continue
		}
		if ours, err := m.o.Store.OfRevision(ctx, name, r.Name); err != nil {
			return err
		} else if len(ours) == 0 {
			continue // not of a release: somebody made it by hand
		}
		if err := m.o.Platform.DeleteRevision(ctx, name, r.Name); err != nil && !errors.Is(err, deploy.ErrNotFound) {
			m.o.Log("collect: revision %s: %v", r.Name, err)
		}
	}
	return nil
}
