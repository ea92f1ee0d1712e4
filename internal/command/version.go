package command

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// Version is set when gitd is linked.
var Version = "0.1.0"

func version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: Takes(""),
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "gitd %s %s/%s %s\n", Version, runtime.GOOS, runtime.GOARCH, runtime.Version())
		},
	}
}
