package command

import (
	"fmt"

	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) deployKey() *cobra.Command {
	var in operation.RenewKey
	cmd := c.declare(operation.ShowDeployKey.Declaration, "APP [--new] [--forget-hosts]", func(cmd *cobra.Command, args []string) (err error) {
		in.App = args[0]
		var public string
		if in.Renew || in.Forget {
			public, err = operation.RenewDeployKey.Do(cmd.Context(), c.services, c.caller, in)
		} else {
			public, err = operation.ShowDeployKey.Do(cmd.Context(), c.services, c.caller, in.OfApp)
		}
		if err == nil {
			fmt.Fprintln(cmd.OutOrStdout(), public)
		}
		return err
	})
	cmd.Long = cmd.Short + " over SSH. Add it, with the right to read, where they are.\n\n" +
		"A host's own key is trusted when it is first seen, and must stay the same from then on."
	cmd.Flags().BoolVar(&in.Renew, "new", false, "make a new key; the old one is of no use from then on")
	cmd.Flags().BoolVar(&in.Forget, "forget-hosts", false, "forget the host keys that were seen")
	c.asks(cmd, func([]string) operation.Declaration {
		if in.Renew || in.Forget {
			return operation.RenewDeployKey.Declaration
		}
		return operation.ShowDeployKey.Declaration
	})
	return cmd
}
