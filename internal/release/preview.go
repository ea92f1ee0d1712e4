package release

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
	"github.com/gitd-io/gitd/internal/store"
)

// A preview is an app of its own in the ledger and on the platform, whose rights, source and configuration come from its parent (app.App).

// The variables that tell an instance that it is one of a preview, and of which branch.
const (
	environmentVariable = "GITD_ENVIRONMENT"
	branchVariable      = "GITD_BRANCH"
)

// enterPreview makes a push of a branch one to the preview of that branch, which is created if need be.
func (m *Machine) enterPreview(ctx context.Context, p app.Push) (_ app.Push, of app.App, err error) {
	settings, err := project.Read(p.Source.ReadFile, app.FilesOf(p.Source), p.App)
	if err != nil {
		return p, of, err
	}
	s := settings.Previews
	limit := m.o.Caps.Previews
	if s.Limit > 0 {
		limit = min(limit, int(s.Limit))
	}
	live := "; to take it live: git push platform " + app.Plain(p.Branch) + ":main"
	switch {
	case !s.Makes(p.Branch):
		return p, of, app.Errorf(app.CodeInvalidInput, "add it to branches under [io.gitd.previews] in project.toml"+live, "by project.toml, the branch %s has no preview", app.Plain(p.Branch))
	case m.o.Caps.Previews <= 0:
		return p, of, app.Errorf(app.CodeLimitExceeded, "ask the operator (gitd serve --max-previews)"+live, "there are no previews on this server")
	}
	for {
		var a app.App
		var made bool
		err := m.turns.unlessDestroyed(p.App, func() (err error) {
			a, made, err = m.o.Store.EnterPreview(ctx, p.By, p.App, p.AppID, p.Branch, s.TTL, limit)
			return err
		})
		if errors.Is(err, store.ErrPreviewsFull) {
			if err := m.makeRoom(ctx, p.App, limit, p.Log); err != nil {
				return p, of, err
			}
			continue
		}
		if err != nil {
			return p, of, err
		}
		m.tellPreview(p, a, made, s.TTL)
		if made && !p.ClearCache {
			m.lendImage(ctx, p.App, a.Name)
		}
		p.App, p.AppID = a.Name, a.ID
		return p, a, nil
	}
}

// lendImage has the first build of a preview begin with the image that is live in its app, whose layers it then takes over as far as they are the same.
func (m *Machine) lendImage(ctx context.Context, name, preview string) {
	live, err := m.o.Store.Ledger(name).Live(ctx)
	if err == nil && live.Digest != "" && m.o.Shelf != nil {
		defer m.leases.take()()
		err = m.copyImage(ctx, live, name, preview, app.VersionName(0))
	}
	if err != nil && ctx.Err() == nil { // the build takes longer
		m.o.Log("preview %s: its first build cannot begin with the image of %s: %v", preview, name, err)
	}
}

// lentCache returns the app whose build cache the first build of its preview may begin with; none where builds of the app have ever had a secret that its previews do not
// have: a buildpack may have written it there.
func (d *deployment) lentCache(ctx context.Context) (of app.App) {
	if d.preview.Parent == "" || d.release.Version != 1 {
		return of
	}
	parent, err := d.m.o.Store.App(ctx, d.preview.Parent)
	kept := false
	if err == nil {
		kept, err = d.m.o.Store.KeptFromPreviews(ctx, parent.ID)
	}
	if err != nil {
		d.m.o.Log("preview %s: its first build begins without the cache of %s: %v", d.release.App, d.preview.Parent, err)
	}
	if err != nil || kept {
		return of
	}
	return parent
}

// tellPreview says what a push of a branch leads to.
func (m *Machine) tellPreview(p app.Push, a app.App, made bool, ttl time.Duration) {
	p.Log.Step("Preview of %s: %s", app.Plain(p.Branch), a.Name)
	if made && a.Name == app.PreviewName(p.App, p.Branch, true) && a.Name != app.PreviewName(p.App, p.Branch, false) {
		p.Log.Detail("%s is taken: the name ends in a hash of the branch", app.PreviewName(p.App, p.Branch, false))
	}
	p.Log.Detail("it is removed %s after the last push, or by: git push platform --delete %s", inDays(ttl), app.Plain(p.Branch))
}

// inDays formats a time in days where it is a number of them.
func inDays(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day == 0 {
		return app.Count(int(d/day), "day")
	}
	return d.String()
}

// makeRoom removes a preview of an app that has as many as it may: of those with nothing under way the one that was pushed the longest time ago, and of these
// rather one that is at zero. It returns an *app.Error with code CodeLimitExceeded if there is none.
func (m *Machine) makeRoom(ctx context.Context, parent string, limit int, log *app.Log) error {
	all, err := m.o.Store.Previews(ctx, parent)
	if err != nil {
		return err
	}
	goes := -1
	for i, p := range all { // the oldest comes last
		if m.turns.underWay(p.Name) != nil {
			continue
		}
		if goes < 0 || m.atZero(ctx, p.Name) || !m.atZero(ctx, all[goes].Name) {
			goes = i
		}
	}
	if goes < 0 {
		return app.Errorf(app.CodeLimitExceeded, "remove one that is not needed: git push platform --delete BRANCH; see them: gitd previews "+parent,
			"%s has %d previews, as many as it may, and all of them are being deployed", parent, len(all))
	}
	p := all[goes]
	log.Step("Removing the preview of %s: %s has %d, as many as it may", app.Plain(p.Branch), parent, limit)
	return m.Destroy(ctx, app.Root, p.Name)
}

// atZero reports whether no instance of an app runs.
func (m *Machine) atZero(ctx context.Context, name string) bool {
	revisions, err := m.o.Platform.Describe(ctx, name)
	if err != nil {
		return errors.Is(err, deploy.ErrNotFound)
	}
	for _, r := range revisions {
		if r.Instances > 0 {
			return false
		}
	}
	return true
}

// expireEvery is how often previews are looked at.
const expireEvery = 10 * time.Minute

// removeExpiredOften removes previews until the machine stops.
func (m *Machine) removeExpiredOften() {
	for {
		m.removeExpired(m.ctx)
		select {
		case <-m.ctx.Done():
			return
		case <-time.After(expireEvery):
		}
	}
}

// removeExpired removes the previews that were not pushed for as long as they stay.
func (m *Machine) removeExpired(ctx context.Context) {
	expired, err := m.o.Store.ExpiredPreviews(ctx)
	if err != nil {
		m.o.Log("previews: %v", err)
	}
	for _, p := range expired {
		if ctx.Err() != nil {
			return
		}
		err := m.destroy(ctx, app.Root, p.Name, func() (bool, error) {
			now, err := m.o.Store.PreviewOf(ctx, p.Parent, p.Branch)
			return now.Expires.Equal(p.Expires), err
		})
		if err != nil && app.CodeOf(err) != app.CodeNotFound {
			m.o.Log("preview %s, last pushed at %s: %v", p.Name, p.Pushed.UTC().Format(time.DateTime), err)
		} else if err == nil {
			m.o.Log("preview %s is removed: it was last pushed at %s", p.Name, p.Pushed.UTC().Format(time.DateTime))
		}
	}
}

// asPreview changes what a descriptor says of production into what holds for a preview of a branch.
func asPreview(d project.Descriptor, branch string) project.Descriptor {
	d.Web.MinScale = 0
	d.Rollout.Strategy = app.AtOnce
	d.Web.Env = maps.Clone(d.Web.Env)
	maps.Copy(d.Web.Env, d.Previews.Env)
	d.Web.Env[environmentVariable], d.Web.Env[branchVariable] = "preview", branch
	return d
}
