package command

import (
	"fmt"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/spf13/cobra"
)

func (c *session) deployKey() *cobra.Command {
	var renew, forget bool
	cmd := &cobra.Command{
		Use: "deploy-key APP [--new] [--forget-hosts]", Short: "Show the public key that the app's private submodules are fetched with", Args: cobra.ExactArgs(1),
		Long: "Show the public key that the app's private submodules are fetched with over SSH. Add it, with the right to read, where they are.\n\n" +
			"A host's own key is believed when it is first seen, and must stay the same from then on.",
		RunE: func(cmd *cobra.Command, args []string) error {
			verb := app.VerbPush
			if renew || forget { // it ends what others rely on, and has a host believed anew: that is the owner's
				verb = app.VerbDelete
			}
			name, err := c.allow(cmd.Context(), args[0], verb)
			if app.CodeOf(err) == app.CodeNotFound { // a key that nobody owns would be whoever's comes first
				return app.Errorf(app.CodeNotFound, "create it first: gitd apps create NAME", "there is no app %q", app.Plain(args[0]))
			}
			if err != nil {
				return err
			}
			if c.DeployKey == nil {
				return app.Errorf(app.CodeUnavailable, "start it, or ask it over SSH: ssh -p PORT git@HOST deploy-key "+name, "the server does not run")
			}
			var public string
			err = c.Store.WhileAllowed(cmd.Context(), c.caller, name, verb, func() (err error) {
				if forget {
					if err := c.ForgetHosts(name); err != nil {
						return err
					}
				}
				public, err = c.DeployKey(name, renew)
				return err
			})
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), public)
			return nil
		},
	}
	cmd.Flags().BoolVar(&renew, "new", false, "make a new key; the old one is of no use from then on")
	cmd.Flags().BoolVar(&forget, "forget-hosts", false, "forget the host keys that were seen")
	return cmd
}
