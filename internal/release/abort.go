package release

import (
	"context"

	"github.com/gitd-io/gitd/internal/app"
)

// Abort ends the deployment of an app that is under way, whatever its stage, and returns when it has been taken back: what was live has all the traffic
// again, as it was. It returns the release that it ended, or an *app.Error: CodeNotFound where nothing is under way, CodeSuperseded for one that went live
// before it could be ended, CodeForbidden if by has no right to change the app.
func (m *Machine) Abort(ctx context.Context, by app.Caller, name string) (app.Release, error) {
	if _, err := m.o.Store.Authorize(ctx, by, name, app.VerbChange); err != nil {
		return app.Release{}, err
	}
	t := m.turns.underWay(name)
	if t == nil || t.destroys {
		return app.Release{}, app.Errorf(app.CodeNotFound, "see the releases: gitd releases "+name+"; gitd rollback "+name+" brings back the one before", "nothing of %s is under way", name)
	}
	t.cancel(app.Errorf(app.CodeCancelled, "push again to deploy", "aborted by %s", by.Name()))
	select {
	case <-t.done:
	case <-ctx.Done():
		return app.Release{}, cause(ctx)
	}
	if t.version == 0 {
		return app.Release{App: name}, nil
	}
	r, err := m.o.Store.Ledger(name).Find(ctx, t.version)
	if err == nil && (r.State == app.StateLive || r.State == app.StateReady) {
		return r, app.Errorf(app.CodeSuperseded, "bring back the one before: gitd rollback "+name, "v%d of %s was %s before it could be aborted", r.Version, name, r.State)
	}
	return r, err
}
