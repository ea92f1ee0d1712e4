package command

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/spf13/cobra"
)

func (c *session) logs() *cobra.Command {
	var follow, build bool
	var tail int
	logs := &cobra.Command{
		Use: "logs APP [-f] [-n LINES] | logs APP --build [vN]", Short: "Show what an app writes, or the log of a push", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := c.allow(cmd.Context(), args[0], app.VerbRead)
			if err != nil {
				return err
			}
			if build {
				return c.buildLog(cmd, name, args[1:], follow)
			}
			if len(args) == 2 {
				return app.Errorf(app.CodeInvalidInput, "for the log of a push: gitd logs "+name+" --build "+app.Plain(args[1]), "logs takes one app")
			}
			err = c.Platform.Logs(cmd.Context(), name, deploy.LogOptions{Follow: follow, Tail: tail}, cmd.OutOrStdout())
			if errors.Is(err, deploy.ErrNotFound) {
				return app.Errorf(app.CodeNotFound, "push it first; the log of a failed push: gitd logs "+name+" --build", "%s was never live: there are no logs", name)
			}
			if cmd.Context().Err() != nil {
				return nil
			}
			return err
		},
	}
	logs.Flags().BoolVarP(&follow, "follow", "f", false, "go on as new lines come")
	logs.Flags().BoolVar(&build, "build", false, "the log of a push: the newest, or the one named")
	logs.Flags().IntVarP(&tail, "lines", "n", 0, "only the last lines")
	return logs
}

func (c *session) buildLog(cmd *cobra.Command, name string, args []string, follow bool) error {
	newest, err := c.Store.Ledger(name).Newest(cmd.Context())
	if err != nil {
		return err
	}
	version := newest.Version
	if len(args) == 1 {
		if version, err = parseVersion(args[0]); err != nil {
			return err
		}
	}
	f, err := os.Open(c.Machine.BuildLog(name, version))
	if errors.Is(err, fs.ErrNotExist) {
		return c.noLog(cmd.Context(), name, version)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := io.Copy(cmd.OutOrStdout(), f); err != nil || !follow {
			return err
		}
		if done, err := c.ended(cmd.Context(), name, version); err != nil || done {
			_, _ = io.Copy(cmd.OutOrStdout(), f)
			return err
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// noLog says why there is no log of a release's push.
func (c *session) noLog(ctx context.Context, name string, version int) error {
	if _, err := c.Store.Ledger(name).Find(ctx, version); err != nil {
		return err
	}
	return app.Errorf(app.CodeNotFound, "see how each release ended: gitd releases "+name, "the log of v%d of %s is not kept any more", version, name)
}

func (c *session) ended(ctx context.Context, name string, version int) (bool, error) {
	r, err := c.Store.Ledger(name).Find(ctx, version)
	if app.CodeOf(err) == app.CodeNotFound { // the app was destroyed meanwhile
		return true, nil
	}
	return r.State.Final(), err
}
