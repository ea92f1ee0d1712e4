package release

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
)

// Rollback takes live the image and the configuration of a release that was live before, or that is ready, as a new entry of the ledger. version 0 means the release
// that was live before the current one. It returns an *app.Error: CodeNotFound for a version that is not there, CodeInvalidInput for one
// that never was live; CodeForbidden where by has no right to push the app.
func (m *Machine) Rollback(ctx context.Context, by app.Caller, name string, version int, log *app.Log) error {
	start := time.Now()
	a, err := m.o.Store.Authorize(ctx, by, name, app.VerbPush)
	if err == nil && a.ID == 0 {
		_, err = m.o.Store.App(ctx, name)
	}
	if err != nil {
		return err
	}
	target, err := m.rollbackTarget(ctx, name, version)
	if err != nil {
		return err
	}
	service, err := m.service(ctx, target)
	if err != nil {
		return err
	}
	r := app.Release{App: name, AppID: a.ID, Commit: target.Commit, Ref: target.Ref, RollbackOf: target.Version}
	return m.run(ctx, by, r, false, log, start, func(ctx context.Context, w *work) error {
		deploy.SetAppID(service, w.release.AppID) // releases of an older gitd have none
		w.release.Repository, w.release.Digest, w.release.Processes = target.Repository, target.Digest, target.Processes
		way := "back to"
		if target.State == app.StateReady {
			way = "traffic for"
		}
		log.Step("Release v%d: %s v%d (%.7s), revision %s", w.release.Version, way, target.Version, target.Commit, service.Spec.Template.Name)
		if err := m.rollOut(ctx, w, service, project.Web{}, nil, false); err != nil {
			return err
		}
		return m.o.SetLive(name, target.Commit)
	})
}

// rollbackTarget is the release that a rollback takes live; version 0 means the one before that which is.
func (m *Machine) rollbackTarget(ctx context.Context, name string, version int) (app.Release, error) {
	if version == 0 {
		return m.o.Store.Ledger(name).Previous(ctx)
	}
	r, err := m.o.Store.Ledger(name).Find(ctx, version)
	if err == nil && r.State != app.StateLive && r.State != app.StateReady {
		err = app.Errorf(app.CodeInvalidInput, "see what there is: gitd releases "+name, "v%d of %s was never live (%s): there is nothing to go back to", version, name, r.State)
	}
	return r, err
}
