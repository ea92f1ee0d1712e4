package command

import (
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) logs() *cobra.Command {
	var follow, build bool
	var tail int
	logs := &cobra.Command{
		Use: "logs APP [-f] [-n LINES] | logs APP --build [vN]", Short: "Show what an app writes, or the log of a push", Args: Takes("APP [vN]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			of, out := operation.OfApp{App: args[0]}, cmd.OutOrStdout()
			if !build {
				if len(args) == 2 {
					return app.Errorf(app.CodeInvalidInput, "for the log of a push: gitd logs "+app.Plain(args[0])+" --build "+app.Plain(args[1]), "logs takes one app")
				}
				_, err := operation.Logs.Do(cmd.Context(), c.services, c.caller, operation.LogsOf{OfApp: of, Follow: follow, Tail: tail, Out: out})
				return err
			}
			in := operation.BuildLogOf{OfApp: of, Follow: follow, Out: out}
			if len(args) == 2 {
				var err error
				if in.Version, err = parseVersion(args[1]); err != nil {
					return err
				}
			}
			_, err := operation.BuildLog.Do(cmd.Context(), c.services, c.caller, in)
			return err
		},
	}
	logs.Flags().BoolVarP(&follow, "follow", "f", false, "go on as new lines come")
	logs.Flags().BoolVar(&build, "build", false, "the log of a push: the newest, or the one named")
	logs.Flags().VarP(linesValue{&tail, operation.MaxTail}, "lines", "n", "only the last lines")
	c.asks(logs, func([]string) operation.Declaration {
		if build {
			return operation.BuildLog.Declaration
		}
		return operation.Logs.Declaration
	})
	return logs
}
