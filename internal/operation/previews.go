package operation

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Preview is what runs of a branch of an app.
type Preview struct {
	Name     string    `json:"name"` // of the app that it is, for all other commands
	Branch   string    `json:"branch"`
	URL      string    `json:"url,omitempty"`      // "" for one that runs workers alone
	Live     int       `json:"live,omitempty"`     // version that serves; 0 for none
	Commit   string    `json:"commit,omitempty"`   // that serves
	UnderWay int       `json:"underWay,omitempty"` // version of the release under way; 0 for none
	State    app.State `json:"state,omitempty"`    // of the newest release
	Pushed   time.Time `json:"pushed"`             // the last time
	Expires  time.Time `json:"expires"`            // it is removed then, unless it is pushed again
}

// Previews lists the previews of an app, the one that was pushed last first.
var Previews = Operation[OfApp, []Preview]{
	Declaration{Name: "previews", Args: "APP", Does: "List the previews of an app's branches", Verb: app.VerbRead, Needs: NeedsStore},
	func(ctx context.Context, c call, _ OfApp) ([]Preview, error) {
		all, err := c.Store.Previews(ctx, c.app)
		if err != nil {
			return nil, err
		}
		list := []Preview{}
		for _, p := range all {
			shown := Preview{Name: p.Name, Branch: p.Branch, URL: c.URL(p.Name), Pushed: p.Pushed, Expires: p.Expires}
			ledger := c.Store.Ledger(p.Name)
			newest, err := ledger.Newest(ctx)
			if err == nil {
				if shown.State = newest.State; !newest.State.Final() {
					shown.UnderWay = newest.Version
				}
			} else if app.CodeOf(err) != app.CodeNotFound {
				return nil, err
			}
			live, err := ledger.Live(ctx)
			if err == nil {
				shown.Live, shown.Commit = live.Version, live.Commit
			} else if app.CodeOf(err) != app.CodeNotFound {
				return nil, err
			}
			list = append(list, shown)
		}
		return list, nil
	},
}
