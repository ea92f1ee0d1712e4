package operation

import (
	"context"

	"github.com/gitd-io/gitd/internal/app"
)

// ShowDeployKey returns the public key that an app's private submodules are fetched with.
var ShowDeployKey = Operation[OfApp, string]{
	Declaration{Name: "deploy-key", Args: "APP", Does: "Show the public key that the app's private submodules are fetched with", Verb: app.VerbChange, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) (string, error) {
		return c.deployKey(ctx, app.VerbChange, false, false)
	},
}

// RenewKey asks for changes of an app's deploy key.
type RenewKey struct {
	OfApp
	Renew  bool // make a new key
	Forget bool // forget the host keys that were seen
}

// RenewDeployKey makes a new deploy key for an app, or forgets the hosts that it was used with, and returns its public part. Only the owner may: it ends what
// others rely on, and has the next key of a host trusted.
var RenewDeployKey = Operation[RenewKey, string]{
	Declaration{Name: "deploy-key", Args: "APP [--new] [--forget-hosts]", Does: "Renew the app's deploy key", Verb: app.VerbDelete, Needs: NeedsServer},
	func(ctx context.Context, c call, in RenewKey) (string, error) {
		return c.deployKey(ctx, app.VerbDelete, in.Renew, in.Forget)
	},
}

func (c call) deployKey(ctx context.Context, verb app.Verb, renew, forget bool) (public string, err error) {
	of, err := c.Store.App(ctx, c.app)
	if err != nil {
		return "", err
	}
	if of.Parent != "" {
		return "", app.Errorf(app.CodeInvalidInput, "see that of the app: gitd deploy-key "+of.Parent, "%s is a preview: its submodules are fetched with the key of %s", c.app, of.Parent)
	}
	err = c.Store.WhileAllowed(ctx, c.by, c.app, verb, func() error {
		if forget {
			if err := c.ForgetHosts(c.app); err != nil {
				return err
			}
		}
		public, err = c.DeployKey(c.app, renew)
		return err
	})
	return public, err
}
