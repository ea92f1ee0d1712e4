package command

import (
	"fmt"
	"io"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) rebase() *cobra.Command {
	var all, dryRun bool
	rebase := &cobra.Command{Use: "rebase APP|--all [--dry-run]", Short: "Put what is live on the newest run image, without a build", Args: Takes("[APP]")}
	inJSON := asJSON(rebase)
	rebase.Flags().BoolVar(&all, "all", false, "all apps that you may change")
	rebase.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done, and do nothing")
	rebase.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) == 1) {
			return app.Errorf(app.CodeInvalidInput, "give one of them: gitd rebase APP, or gitd rebase --all", "rebase takes an app, or --all")
		}
		out := cmd.OutOrStdout()
		log := app.NewLog(out)
		if *inJSON {
			log = app.NewLog(io.Discard)
		}
		if !all {
			r, err := operation.Rebase.Do(cmd.Context(), c.services, c.caller, operation.RebaseOf{OfApp: operation.OfApp{App: args[0]}, DryRun: dryRun, Log: log})
			if err != nil {
				return err
			}
			return printRebased(out, []operation.Rebased{r}, *inJSON)
		}
		list, err := operation.RebaseAll.Do(cmd.Context(), c.services, c.caller, operation.RebaseAllOf{DryRun: dryRun, Log: log})
		if list != nil {
			if e := printRebased(out, list, *inJSON); e != nil {
				return e
			}
		}
		return err
	}
	c.asks(rebase, func(args []string) operation.Declaration {
		if all {
			return operation.RebaseAll.Declaration
		}
		return operation.Rebase.Declaration
	})
	return rebase
}

// outcomes are what became of an app, in words.
var outcomes = map[string]string{"due": "would be rebased", "newest": "is on the newest run image: nothing to do", "none": "nothing live that was built here", "failed": "failed"}

func printRebased(out io.Writer, list []operation.Rebased, inJSON bool) error {
	if inJSON {
		return printJSON(out, list)
	}
	w := table(out, "APP", "OUTCOME", "FROM", "TO", "REASON")
	for _, r := range list {
		outcome := outcomes[r.Outcome]
		if r.Outcome == "rebased" {
			outcome = fmt.Sprintf("rebased: v%d", r.Version)
		}
		row(w, r.App, outcome, fmt.Sprintf("%.19s", r.From), fmt.Sprintf("%.19s", r.To), r.Reason)
	}
	return w.Flush()
}
