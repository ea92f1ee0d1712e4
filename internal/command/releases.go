package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/spf13/cobra"
)

func (c *session) releases() *cobra.Command {
	return &cobra.Command{
		Use: "releases APP", Short: "List the releases of an app, newest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := c.allow(cmd.Context(), args[0], app.Read)
			if err != nil {
				return err
			}
			ledger, err := c.Store.Releases(cmd.Context(), name)
			if err != nil {
				return ours(err)
			}
			serving := 0
			for _, r := range ledger {
				if r.State == app.Live {
					serving = r.Version
				}
			}
			w := table(cmd.OutOrStdout(), "RELEASE", "STATE", "COMMIT", "BY", "WHEN", "WHAT")
			for i := len(ledger) - 1; i >= 0; i-- {
				r := ledger[i]
				state := string(r.State)
				if r.State == app.Live && r.Version != serving {
					state = "was live"
				}
				what := r.Reason
				if r.Message != "" {
					what = strings.TrimSpace(fmt.Sprintf("%q %s", r.Message, r.Reason))
				}
				if r.RollbackOf != 0 {
					what = fmt.Sprintf("rollback to v%d %s", r.RollbackOf, what)
				}
				row(w, fmt.Sprintf("v%d", r.Version), state, fmt.Sprintf("%.7s", r.Commit), r.Key, r.Created.UTC().Format(time.DateTime), what)
			}
			return w.Flush()
		},
	}
}
