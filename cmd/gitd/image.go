package main

import (
	"os"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/image"
	"github.com/spf13/cobra"
)

// pushFlags are where an image goes in a registry.
type pushFlags struct {
	reference, config string
	insecure          bool
}

func (p *pushFlags) add(c *cobra.Command, what string) {
	c.Flags().StringVar(&p.reference, "push", "", "put "+what+" into a registry, as registry.example.com/team/NAME:TAG")
	c.Flags().StringVar(&p.config, "registry-config", "", "docker config.json with credentials for it (default: ~/.docker/config.json)")
	c.Flags().BoolVar(&p.insecure, "insecure", false, "the registry speaks plain HTTP")
}

// imageCommand adds what is only of this machine to the commands of images.
func imageCommand(c *cobra.Command) {
	var o image.Options
	var push pushFlags
	var output string
	create := &cobra.Command{
		Use: "create", Short: "Make the image with this gitd in it, and put it into a registry or a folder", Args: command.Takes(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			o.Log, o.Version = app.NewLog(os.Stdout), command.Version
			dir, isLayout := strings.CutPrefix(output, "oci:")
			switch {
			case push.reference == "" && output == "":
				return app.Errorf(app.CodeInvalidInput, "give --push registry.example.com/team/gitd:1, or --output oci:DIR", "no destination for the image was given")
			case output != "" && (!isLayout || dir == ""):
				return app.Errorf(app.CodeInvalidInput, "give one such as --output oci:gitd-image", "--output: %q is not an OCI layout (oci:DIR)", output)
			}
			var target *image.Target
			if push.reference != "" { // check the registry before minutes of work
				var err error
				if target, err = image.ParseTarget(ctx, push.reference, push.config, push.insecure); err != nil {
					return err
				}
			}
			o.Log.Step("Making the image of gitd %s", o.Version)
			img, err := image.Make(ctx, o)
			if err != nil {
				return err
			}
			digest, err := img.Digest()
			if err != nil {
				return err
			}
			if output != "" {
				if err := image.Layout(dir, "gitd", img); err != nil {
					return err
				}
				o.Log.Detail("Written to %s", dir)
			}
			if target != nil {
				if _, err := target.Push(ctx, target.Tag, img, o.Log); err != nil {
					return err
				}
			}
			o.Log.Step("Image %s is ready", digest)
			return nil
		},
	}
	push.add(create, "it")
	f := create.Flags()
	f.StringVar(&output, "output", "", "write it to a folder: oci:DIR")
	f.StringVar(&o.Base, "base", "", "base image to stand on, with git: oci:DIR or a registry reference (default: Debian, bootstrapped from its packages)")
	f.StringVar(&o.Binary, "binary", "", "gitd to put in, statically linked (default: this program)")
	f.StringVar(&o.Parts, "parts", "", "folder of the programs beside it (default: where this program has them)")
	f.BoolVar(&o.Force, "force", false, "bootstrap Debian again, for its updates")
	c.AddCommand(create)
}
