package release

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/project"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Rollback takes live the image and the configuration of a release that was live before, or that is ready, as a new entry of the ledger. version 0 means the release
// that was live before the current one. It returns an *app.Error: NotFound for a version that is not there, InvalidInput for one
// that never was live.
func (m *Machine) Rollback(ctx context.Context, name string, version int, key string, log *app.Log) error {
	start := time.Now()
	a, err := m.o.Store.App(ctx, name)
	if err != nil {
		return err
	}
	ledger, err := m.o.Store.Releases(ctx, name)
	if err != nil {
		return err
	}
	target, err := rollbackTarget(ledger, name, version)
	if err != nil {
		return err
	}
	r := app.Release{App: name, AppID: a.ID, Commit: target.Commit, Ref: target.Ref, Key: key, RollbackOf: target.Version}
	return m.run(ctx, r, false, log, start, func(ctx context.Context, w *work) error {
		var service servingv1.Service
		if err := json.Unmarshal(target.Service, &service); err != nil {
			return fmt.Errorf("service of v%d: %w", target.Version, err)
		}
		deploy.SetAppID(&service, w.release.AppID) // releases of an older gitd have none
		w.release.Repository, w.release.Digest, w.release.Processes = target.Repository, target.Digest, target.Processes
		way := "back to"
		if target.State == app.Ready {
			way = "traffic for"
		}
		log.Step("Release v%d: %s v%d (%.7s), revision %s", w.release.Version, way, target.Version, target.Commit, service.Spec.Template.Name)
		if err := m.rollOut(ctx, w, &service, project.Web{}, nil, false); err != nil {
			return err
		}
		return m.o.SetLive(name, target.Commit)
	})
}

func rollbackTarget(ledger []app.Release, name string, version int) (app.Release, error) {
	see := "see what there is: gitd releases " + name
	if version == 0 {
		live := ""
		for i := len(ledger) - 1; i >= 0; i-- {
			r := ledger[i]
			switch {
			case r.State != app.Live:
			case live == "":
				live = r.Revision
			case r.Revision != live:
				return r, nil
			}
		}
		return app.Release{}, app.Errorf(app.NotFound, see, "there is no earlier release of %s to go back to", name)
	}
	for _, r := range ledger {
		if r.Version != version {
			continue
		}
		if r.State != app.Live && r.State != app.Ready {
			return r, app.Errorf(app.InvalidInput, see, "v%d of %s was never live (%s): there is nothing to go back to", version, name, r.State)
		}
		return r, nil
	}
	return app.Release{}, app.Errorf(app.NotFound, see, "there is no release v%d of %s", version, name)
}
