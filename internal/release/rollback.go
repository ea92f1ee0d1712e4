package release

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/store"
)

// Rollback takes the image and the configuration of a release that was live before live again, as a new entry in the ledger. version 0 means
// the release that was live before the current one. It returns an *app.Error: CodeNotFound for a version that does not exist, CodeInvalidInput for
// one that was never live, CodeForbidden if by has no right to push the app.
func (m *Machine) Rollback(ctx context.Context, by app.Caller, name string, version int, log *app.Log) (app.Result, error) {
	return m.again(ctx, by, name, app.KindRollback, log, func(l store.Ledger) (app.Release, error) { return l.Restorable(ctx, version) })
}

// Promote takes a release live that is ready and was never live, as a new entry in the ledger. It returns an *app.Error as Rollback does:
// CodeInvalidInput for a version that is not ready, or was live already.
func (m *Machine) Promote(ctx context.Context, by app.Caller, name string, version int, log *app.Log) (app.Result, error) {
	return m.again(ctx, by, name, app.KindPromotion, log, func(l store.Ledger) (app.Release, error) { return l.Promotable(ctx, version) })
}

// again takes the release that find returns live, with the image that it has.
func (m *Machine) again(ctx context.Context, by app.Caller, name string, kind app.Kind, log *app.Log, find func(store.Ledger) (app.Release, error)) (app.Result, error) {
	d := &deployment{m: m, by: by, log: log, start: time.Now()}
	a, err := m.o.Store.Authorize(ctx, by, name, app.VerbChange)
	if err != nil {
		return app.Result{}, err
	}
	target, err := find(m.o.Store.Ledger(name))
	if err != nil {
		return app.Result{}, err
	}
	service, err := m.service(ctx, target)
	if err != nil {
		return app.Result{}, err
	}
	d.release = app.Release{App: name, AppID: a.ID, Kind: kind, Of: target.Version, Commit: target.Commit, Ref: target.Ref, Author: target.Author, Subject: target.Subject}
	err = d.run(ctx, func(ctx context.Context) error {
		deploy.SetAppID(service, d.release.AppID) // releases of an older gitd have none
		d.release.Repository, d.release.Digest, d.release.Processes = target.Repository, target.Digest, target.Processes
		what := "back to"
		if kind == app.KindPromotion {
			what = "promoting"
		}
		log.Step("Release v%d: %s v%d (%.7s), revision %s", d.release.Version, what, target.Version, target.Commit, service.Spec.Template.Name)
		if err := d.rollOut(ctx, launch{service: service}); err != nil {
			return err
		}
		return m.o.SetLive(name, target.Commit)
	})
	return d.result(), err
}
