package command

import (
	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) image() *cobra.Command {
	image := &cobra.Command{Use: "image", Short: "Take an image live that was built elsewhere"}
	Group(image)
	var in operation.ReadyImage
	deploy := c.declare(operation.DeployImage.Declaration, "APP REF [--username NAME < PASSWORD] [--port N]", func(cmd *cobra.Command, args []string) error {
		in.App, in.Reference, in.Password, in.Log = args[0], args[1], c.in, app.NewLog(cmd.OutOrStdout())
		_, err := operation.DeployImage.Do(cmd.Context(), c.services, c.caller, in)
		return err
	})
	deploy.Long = deploy.Short + ".\n\nREF is what docker pull takes. With --username, the password comes on standard input. The image runs with the settings of the release\n" +
		"that is live, and never as root. Its port: --port, or the one that it exposes, or $PORT."
	deploy.Flags().StringVar(&in.Username, "username", "", "user of the registry; its password is read from standard input")
	deploy.Flags().IntVar(&in.Port, "port", 0, "port that the app listens on")
	c.asks(deploy, func([]string) operation.Declaration {
		d := operation.DeployImage.Declaration
		d.Stdin = in.Username != ""
		return d
	})
	image.AddCommand(deploy)
	return image
}
