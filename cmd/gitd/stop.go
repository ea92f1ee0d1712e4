package main

import (
	"os"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/server"
	"github.com/spf13/cobra"
)

func stop() *cobra.Command {
	var data *string
	c := &cobra.Command{
		Use: "stop", Short: "Stop the server and its proxy, which serves on otherwise for the next server", Args: command.Takes(""),
		Long: "Stop the server of a data directory, and the proxy that serves on for the next server after a restart. Requests under way are answered, for up to 30 seconds; WebSockets are cut. Apps go on running. As a service: systemctl stop gitd, which does the same.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := dataDir(*data)
			if err != nil {
				return err
			}
			return server.Stop(cmd.Context(), dir, app.NewLog(os.Stdout))
		},
	}
	data = dataFlag(c.Flags())
	return c
}
