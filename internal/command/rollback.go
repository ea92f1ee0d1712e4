package command

import (
	"strconv"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/spf13/cobra"
)

func (c *session) rollback() *cobra.Command {
	return &cobra.Command{
		Use: "rollback APP [vN]", Short: "Bring back an earlier release: its image and its configuration", Args: cobra.RangeArgs(1, 2),
		Long: "Bring back an earlier release: its image and its configuration. Without a version, the one that was live before.",
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := c.allow(cmd.Context(), args[0], app.VerbPush)
			if err != nil {
				return err
			}
			version := 0
			if len(args) == 2 {
				if version, err = parseVersion(args[1]); err != nil {
					return err
				}
			}
			_, err = c.Machine.Rollback(cmd.Context(), c.caller, name, version, app.NewLog(cmd.OutOrStdout()))
			return err
		},
	}
}

func (c *session) promote() *cobra.Command {
	return &cobra.Command{
		Use: "promote APP vN", Short: "Take a release live that was pushed with -o no-traffic", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := c.allow(cmd.Context(), args[0], app.VerbPush)
			if err != nil {
				return err
			}
			version, err := parseVersion(args[1])
			if err != nil {
				return err
			}
			_, err = c.Machine.Promote(cmd.Context(), c.caller, name, version, app.NewLog(cmd.OutOrStdout()))
			return err
		},
	}
}

func parseVersion(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(s, "v"))
	if err != nil || n < 1 {
		return 0, app.Errorf(app.CodeInvalidInput, "give one such as v3; gitd releases APP lists them", "%q is not a release", s)
	}
	return n, nil
}
