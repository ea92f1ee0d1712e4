package command

import (
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) rollback() *cobra.Command {
	cmd := c.declare(operation.Rollback.Declaration, "", c.take(operation.Rollback))
	cmd.Long = cmd.Short + ". Without a version, the one that was live before."
	return cmd
}

func (c *session) promote() *cobra.Command {
	return c.declare(operation.Promote.Declaration, "", c.take(operation.Promote))
}

func (c *session) redeploy() *cobra.Command {
	return c.declare(operation.Redeploy.Declaration, "", c.take(operation.Redeploy))
}

// take runs an operation that takes a release live: APP [vN].
func (c *session) take(o operation.Operation[operation.Take, app.Result]) func(cmd *cobra.Command, args []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		in := operation.Take{OfApp: operation.OfApp{App: args[0]}, Log: app.NewLog(cmd.OutOrStdout())}
		if len(args) == 2 {
			if in.Version, err = parseVersion(args[1]); err != nil {
				return err
			}
		}
		_, err = o.Do(cmd.Context(), c.services, c.caller, in)
		return err
	}
}
