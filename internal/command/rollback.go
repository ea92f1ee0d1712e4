package command

import (
	"fmt"

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
	var from string
	promote := &cobra.Command{Use: "promote APP vN | promote APP --from BRANCH", Short: "Take a release live that was pushed with -o no-traffic, or the image of a preview", Args: Takes("APP [vN]")}
	promote.Flags().StringVar(&from, "from", "", "branch or name of the preview whose image goes live, with the app's own configuration")
	take := c.take(operation.Promote)
	promote.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case from == "" && len(args) == 1:
			return usageError(cmd, fmt.Errorf("vN is missing, or --from BRANCH: %s", cmd.UseLine()))
		case from == "":
			return take(cmd, args)
		case len(args) == 2:
			return app.Errorf(app.CodeInvalidInput, "leave one of them out", "promote takes a release or a preview, not both")
		}
		_, err := operation.PromotePreview.Do(cmd.Context(), c.services, c.caller,
			operation.TakePreview{OfApp: operation.OfApp{App: args[0]}, Preview: from, Log: app.NewLog(cmd.OutOrStdout())})
		return err
	}
	c.asks(promote, func([]string) operation.Declaration {
		if from != "" {
			return operation.PromotePreview.Declaration
		}
		return operation.Promote.Declaration
	})
	return promote
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
