package release

import (
	"context"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/store"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Rollback takes the image and the configuration of a release that was live before live again, as a new entry in the ledger. version 0 means
// the release that was live before the current one. Its configuration becomes the current one. It returns an *app.Error: CodeNotFound for a version that does not exist, CodeInvalidInput for
// one that was never live, CodeForbidden if by has no right to push the app.
func (m *Machine) Rollback(ctx context.Context, by app.Caller, name string, version int, log *app.Log) (app.Result, error) {
	return m.change(ctx, by, name, change{
		kind: app.KindRollback, says: "back to", current: true,
		find: func(l store.Ledger) (app.Release, error) { return l.Restorable(ctx, version) },
	}, log)
}

// Promote takes a release live that is ready and was never live, as a new entry in the ledger. It returns an *app.Error as Rollback does:
// CodeInvalidInput for a version that is not ready, or was live already.
func (m *Machine) Promote(ctx context.Context, by app.Caller, name string, version int, log *app.Log) (app.Result, error) {
	return m.change(ctx, by, name, change{
		kind: app.KindPromotion, says: "promoting",
		find: func(l store.Ledger) (app.Release, error) { return l.Promotable(ctx, version) },
	}, log)
}

// Redeploy starts the live release afresh, as a new entry in the ledger: the same image in a revision of its own, with the current configuration. It returns
// an *app.Error: CodeNotFound if nothing is live yet, CodeForbidden if by has no right to change the app, or why it did not go live.
func (m *Machine) Redeploy(ctx context.Context, by app.Caller, name string, log *app.Log) (app.Result, error) {
	return m.change(ctx, by, name, change{
		kind: app.KindRedeploy, says: "redeploying",
		find: func(l store.Ledger) (app.Release, error) { return l.Live(ctx) },
		edit: func(context.Context, *app.Release, *servingv1.Service) error { return nil },
	}, log)
}
