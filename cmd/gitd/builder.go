package main

import (
	"os"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/spf13/cobra"
)

func builderCommand() *cobra.Command {
	c := &cobra.Command{Use: "builder", Short: "Make the builder image"}
	var o builder.Options
	create := &cobra.Command{
		Use: "create", Short: "Make our own builder and run image, unless this machine has them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Log = app.NewLog(os.Stdout)
			b, err := builder.Ensure(cmd.Context(), o)
			if err != nil {
				return err
			}
			o.Log.Step("Builder image %s is ready", b.Digest)
			return nil
		},
	}
	create.Flags().BoolVar(&o.Force, "force", false, "make it anew")
	create.Flags().StringVar(&o.Base, "base", "", "base image to stand on: oci:DIR or a registry reference (default: Debian, bootstrapped from its packages)")
	c.AddCommand(create)
	return c
}
