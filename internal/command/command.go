// Package command is what a person can ask of gitd: apps, releases, logs, keys. The same commands are served over SSH and from the
// shell, with the server running or not. One file a command.
package command

import (
	"context"
	"errors"
	"io"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/release"
	"github.com/gitd-io/gitd/internal/store"
	"github.com/spf13/cobra"
)

// Services are the parts of gitd that commands act on.
type Services struct {
	Store    *store.Store
	Machine  *release.Machine
	Platform deploy.Platform
	URL      func(app string) string
	// Destroy removes an app: its Service, repository, cache, ledger.
	Destroy func(ctx context.Context, app string) error
	// DeployKey returns the public part of the key that the app's submodules are fetched with, a new one where renew is set. ForgetHosts
	// forgets what the hosts of the submodules were known by.
	DeployKey   func(app string, renew bool) (string, error)
	ForgetHosts func(app string) error
}

// Caller is who asks.
type Caller struct {
	Key   app.Key
	Local bool // root on the machine itself: may do everything
}

type session struct {
	*Services
	caller Caller
	in     io.Reader
}

// New returns the commands for one caller. Its RunE functions fail with *app.Error where a person is to blame.
func New(s *Services, caller Caller, in io.Reader, out, errOut io.Writer) *cobra.Command {
	c := &session{Services: s, caller: caller, in: in}
	root := &cobra.Command{
		Use: "gitd", Short: "git push, and the app is live",
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return app.Errorf(app.InvalidInput, "see what there is: gitd help", "unknown command %q", args[0])
			}
			return nil
		},
		Run: func(c *cobra.Command, _ []string) { _ = c.Help() },
	}
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	root.AddCommand(c.apps(), c.releases(), c.rollback(), c.deployKey(), c.logs(), c.version())
	if caller.Local || caller.Key.Admin {
		root.AddCommand(c.keys())
	}
	return root
}

// Run runs one command and returns its exit status: 0, or 1 with the error told on errOut.
func Run(ctx context.Context, s *Services, caller Caller, args []string, in io.Reader, out, errOut io.Writer) int {
	root := New(s, caller, in, out, errOut)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	Fail(errOut, err)
	return 1
}

// Fail tells an error to a person. Errors of the command line itself, which cobra makes, are told as they are.
func Fail(w io.Writer, err error) {
	var e *app.Error
	if !errors.As(err, &e) {
		var d defect
		if errors.As(err, &d) {
			err = d.error
		} else {
			err = app.Errorf(app.InvalidInput, "see how: gitd help", "%s", app.Printable(err.Error()))
		}
	}
	app.NewLog(w).Fail(err)
}

// defect marks an error as ours, not the command line's.
type defect struct{ error }

func (d defect) Unwrap() error { return d.error }

func ours(err error) error {
	if err == nil {
		return nil
	}
	return defect{err}
}

// allow says whether the caller may do verb with the app, and returns it.
func (c *session) allow(ctx context.Context, arg string, verb app.Verb) (string, error) {
	name, err := app.ParseName(arg)
	if err != nil {
		return "", err
	}
	a, err := c.Store.App(ctx, name)
	var there *app.App
	switch {
	case err == nil:
		there = &a
	case app.CodeOf(err) != app.NotFound:
		return "", ours(err)
	}
	key := c.caller.Key
	key.Admin = key.Admin || c.caller.Local
	if err := app.Allow(key, name, there, verb); err != nil {
		return "", err
	}
	if there == nil && verb != app.Create {
		return "", app.Errorf(app.NotFound, "see what there is: gitd apps", "there is no app %q", name)
	}
	return name, nil
}
