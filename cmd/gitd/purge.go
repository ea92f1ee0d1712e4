package main

import (
	"os"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/server"
	"github.com/spf13/cobra"
)

func purge() *cobra.Command {
	var data *string
	var yes bool
	c := &cobra.Command{
		Use: "purge", Short: "Stop every instance and remove all that a data directory has put on this machine, or on its cluster", Args: command.Takes(""),
		Long: "Stop every instance of a data directory's apps and remove their namespaces, interfaces, firewall table and control groups, then the directory itself. Apps on a cluster are removed from it. The server must not be running.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := dataDir(*data)
			if err != nil {
				return err
			}
			if !yes {
				return app.Errorf(app.CodeInvalidInput, "confirm with --yes", "purge removes all apps in %s for good", dir)
			}
			log := app.NewLog(os.Stdout)
			if err := server.Purge(cmd.Context(), dir, log); err != nil {
				return err
			}
			log.Step("Removed %s", dir)
			return nil
		},
	}
	data = dataFlag(c.Flags())
	c.Flags().BoolVar(&yes, "yes", false, "yes, remove it")
	return c
}
