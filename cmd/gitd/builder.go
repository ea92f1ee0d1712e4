package main

import (
	"context"
	"os"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/image"
	"github.com/spf13/cobra"
)

func builderCommand() *cobra.Command {
	c := &cobra.Command{Use: "builder", Short: "Make the builder image"}
	var o builder.Options
	var push pushFlags
	create := &cobra.Command{
		Use: "create", Short: "Make our own builder and run image, unless this machine has them", Args: command.Takes(""),
		Long: "Make our own builder and run image, unless this machine has them.\n\nWith --push registry.example.com/team/builder:1 both go into the registry: the run image as builder:1-run.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Log = app.NewLog(os.Stdout)
			if push.reference != "" {
				return pushBuilder(cmd.Context(), o, push)
			}
			b, err := builder.Ensure(cmd.Context(), o)
			if err != nil {
				return err
			}
			o.Log.Step("Builder image %s is ready", b.Digest)
			return nil
		},
	}
	create.Flags().BoolVar(&o.Force, "force", false, "make it again even if this machine has it")
	create.Flags().StringVar(&o.Base, "base", "", "base image to stand on: oci:DIR or a registry reference (default: Debian, bootstrapped from its packages)")
	push.add(create, "both")
	command.Group(c)
	c.AddCommand(create)
	return c
}

// pushBuilder puts the builder and the run image into a registry, each knowing of the other.
func pushBuilder(ctx context.Context, o builder.Options, push pushFlags) error {
	target, err := image.ParseTarget(ctx, push.reference, push.config, push.insecure)
	if err != nil {
		return err
	}
	img, run, err := builder.Images(ctx, o)
	if err != nil {
		return err
	}
	runTag := target.Tag + builder.RunSuffix
	if img, err = image.NameRunImage(img, target.Reference(runTag)); err != nil {
		return err
	}
	if _, err := target.Push(ctx, runTag, run, o.Log); err != nil {
		return err
	}
	if _, err := target.Push(ctx, target.Tag, img, o.Log); err != nil {
		return err
	}
	o.Log.Step("Builder image %s is ready", target.Reference(target.Tag))
	return nil
}
