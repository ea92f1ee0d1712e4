package operation

import (
	"context"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/store"
)

// Git is what git's own verbs ask. Pushes and fetches run in internal/receive, by the protocol of git; their rights are asked here, like those of all operations.
type Git struct{ Store *store.Store }

// Authorize says whether by may do verb with the app, with the rights that it has now, and returns the app. A push may go to an app that does not exist yet: its
// ID is 0.
func (g Git) Authorize(ctx context.Context, by app.Caller, name string, verb app.Verb) (app.App, error) {
	return g.Store.Authorize(ctx, by, name, verb)
}

// Confirm is Authorize for an action under way with the app that has this ID.
func (g Git) Confirm(ctx context.Context, by app.Caller, name string, id int64, verb app.Verb) error {
	return g.Store.Confirm(ctx, by, name, id, verb)
}

// Create creates the app of a first push. Of two first pushes of one key at a time both get the app.
func (g Git) Create(ctx context.Context, by app.Caller, name string) (app.App, error) {
	a, err := g.Store.CreateAppAs(ctx, by, name)
	if app.CodeOf(err) == app.CodeExists {
		return g.Authorize(ctx, by, name, app.VerbPush)
	}
	return a, err
}
