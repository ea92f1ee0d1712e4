package release

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
)

// Collect removes what the kept releases of an app do not need: revisions, and images in its repository. It looks only at this app. What apps
// may share is left to Sweep.
func (m *Machine) Collect(ctx context.Context, name string) {
	if err := m.collectRevisions(ctx, name); err != nil {
		m.o.Log("collect: revisions of %s: %v", name, err)
	}
	if err := m.dropConfigurations(ctx, name); err != nil && ctx.Err() == nil {
		m.o.Log("collect: configuration of %s: %v", name, err)
	}
	since := m.leases.oldest() // before the ledger is read: an image that is not in there yet is younger
	digests, err := m.needed(ctx, name)
	if err == nil {
		err = m.o.Images.CollectRepository(ctx, name, digests, since)
	}
	if err != nil && ctx.Err() == nil {
		m.o.Log("collect: images of %s: %v", name, err)
	}
}

// Sweep removes what no release of any app needs: images, blobs, logs of pushes. Builds and pushes continue meanwhile.
func (m *Machine) Sweep(ctx context.Context) {
	since := m.leases.oldest()
	freed, err := m.o.Images.Collect(ctx, func(repository string) ([]string, error) { return m.needed(ctx, repository) }, since)
	if err != nil && ctx.Err() == nil {
		m.o.Log("collect: %v", err)
	} else if freed > 0 {
		m.o.Log("collect: %s of images freed", app.Size(freed))
	}
	m.sweepLogs(ctx)
}

// needed returns the digests of the images that an app needs: those of kept releases, of a split, and of releases under way.
func (m *Machine) needed(ctx context.Context, name string) ([]string, error) {
	releases, err := m.kept(ctx, name)
	if err != nil {
		return nil, err
	}
	var digests []string
	for _, r := range releases {
		digests = append(digests, r.Digest)
	}
	return digests, nil
}

// When the next Sweep is due.
const (
	sweepEvery = time.Hour
	sweepFirst = time.Minute     // after a start
	sweepAgain = 5 * time.Minute // after the last one, if one is requested: an app was destroyed, or the disk is nearly full
)

// askSweep requests that the next Sweep comes soon.
func (m *Machine) askSweep() {
	select {
	case m.sweepSoon <- struct{}{}:
	default: // it is requested already
	}
}

// sweepOften sweeps until the machine stops.
func (m *Machine) sweepOften() {
	last := time.Now()
	due := last.Add(sweepFirst)
	for {
		timer := time.NewTimer(time.Until(due))
		select {
		case <-m.ctx.Done():
			timer.Stop()
			return
		case <-m.sweepSoon:
			timer.Stop()
			if soon := last.Add(sweepAgain); soon.Before(due) {
				due = soon
			}
			continue
		case <-timer.C:
		}
		m.Sweep(m.ctx)
		last = time.Now()
		due = last.Add(sweepEvery)
	}
}

// collectLimit bounds what the removal of an app's revisions may take.
const collectLimit = 2 * time.Minute

// collectRevisions removes the revisions of an app that the platform still has and that are no longer needed. Builds continue meanwhile.
func (m *Machine) collectRevisions(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, collectLimit)
	defer cancel()
	there, err := m.o.Platform.Describe(ctx, name)
	if errors.Is(err, deploy.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	needed, err := m.kept(ctx, name) // after Describe: a revision of a release that began meanwhile is not in there
	if err != nil {
		return err
	}
	for _, r := range there {
		if slices.ContainsFunc(needed, func(k app.Release) bool { return k.Revision == r.Name }) {
			continue
		}
		if ours, err := m.o.Store.Ledger(name).Knows(ctx, r.Name); err != nil {
			return err
		} else if !ours {
			continue // not of a release: it was made by hand
		}
		if err := m.o.Platform.DeleteRevision(ctx, name, r.Name); err != nil && !errors.Is(err, deploy.ErrNotFound) {
			m.o.Log("collect: revision %s: %v", r.Name, err)
		}
	}
	return nil
}
