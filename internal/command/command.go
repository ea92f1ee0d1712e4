// Package command is what a person can ask of gitd: apps, releases, logs, keys. The same commands are served over SSH and from the
// shell, with the server running or not. One file a command.
package command

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/release"
	"github.com/gitd-io/gitd/internal/store"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Services are the parts of gitd that commands act on.
type Services struct {
	Store    *store.Store
	Machine  *release.Machine
	Platform deploy.Platform
	URL      func(app string) string
	// Destroy removes an app: its Service, repository, cache, ledger.
	Destroy func(ctx context.Context, by app.Caller, app string) error
	// DeployKey returns the public part of the key that the app's submodules are fetched with, a new one where renew is set. ForgetHosts
	// forgets what the hosts of the submodules were known by.
	DeployKey   func(app string, renew bool) (string, error)
	ForgetHosts func(app string) error
	Database    string                           // file of the Store, for messages
	Log         func(format string, args ...any) // the server's log; may be nil
}

type session struct {
	*Services
	caller app.Caller
	in     io.Reader
}

// New returns the commands for one caller. An error of theirs that is no *app.Error is a defect.
func New(s *Services, caller app.Caller, in io.Reader, out, errOut io.Writer) *cobra.Command {
	c := &session{Services: s, caller: caller, in: in}
	root := &cobra.Command{
		Use: "gitd", Short: "git push, and the app is live",
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return app.Errorf(app.CodeInvalidInput, "see what there is: gitd help", "unknown command %q", args[0])
			}
			return nil
		},
		Run: func(c *cobra.Command, _ []string) { _ = c.Help() },
	}
	defer Usage(root)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	root.AddCommand(c.apps(), c.releases(), c.rollback(), c.promote(), c.deployKey(), c.logs(), c.version())
	if caller.Local || caller.Key.Admin {
		root.AddCommand(c.keys())
	}
	return root
}

// Run runs one command and returns its exit status: 0, or 1 with the error told on errOut. The cause of an internal error goes to the
// server's log; root on the machine is told it as well.
func Run(ctx context.Context, s *Services, caller app.Caller, args []string, in io.Reader, out, errOut io.Writer) int {
	root := New(s, caller, in, out, errOut)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil && app.CodeOf(err) == app.CodeInternal {
		err = app.Errorf(app.CodeCancelled, "run it again", "interrupted: %w", err)
	}
	if s.Database != "" {
		err = store.Explain(err, s.Database)
	}
	if app.CodeOf(err) == app.CodeInternal && s.Log != nil {
		s.Log("command %q by %s failed: %v", app.Clip(strings.Join(args, " "), 200), caller.Name(), err)
	}
	Fail(errOut, err, caller.Local)
	return 1
}

// Fail tells an error to a person. What was not made for people is an internal error, whose cause is told where cause is set.
func Fail(w io.Writer, err error, cause bool) {
	if cause && app.CodeOf(err) == app.CodeInternal {
		err = app.Errorf(app.CodeInternal, "this is a defect of gitd, or a fault of the machine: look for disks, memory and permissions first", "internal error: %w", err)
	}
	app.NewLog(w).Fail(err)
}

// Usage makes errors of the command line itself, which cobra finds, *app.Errors that say where to read on. All other errors that are
// none are defects. It is called when the tree of commands is complete.
func Usage(root *cobra.Command) {
	root.SetFlagErrorFunc(usageError)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if check := c.Args; check != nil {
			c.Args = func(c *cobra.Command, args []string) error { return usageError(c, check(c, args)) }
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

func usageError(c *cobra.Command, err error) error {
	var e *app.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, pflag.ErrHelp) {
		return err
	}
	how := "gitd help"
	if c.HasParent() {
		how = strings.Join(append([]string{"gitd", "help"}, strings.Fields(c.CommandPath())[1:]...), " ")
	}
	return app.Errorf(app.CodeInvalidInput, "see how: "+how, "%s", app.Plain(app.Clip(err.Error(), 300)))
}

// readsInput marks a command that reads its standard input. What is sent to any other is dropped.
const readsInput = "reads-input"

// ReadsInput says whether the command that args call reads its standard input.
func ReadsInput(args []string) bool {
	c, _, err := New(nil, app.Root, nil, io.Discard, io.Discard).Find(args)
	return err == nil && Reads(c)
}

// Reads says whether a command reads its standard input.
func Reads(c *cobra.Command) bool { return c.Annotations[readsInput] != "" }

// allow says whether the caller may do verb with the app, by the rights that its key has now, and returns the app's name.
func (c *session) allow(ctx context.Context, arg string, verb app.Verb) (string, error) {
	name, err := app.ParseName(arg)
	if err != nil {
		return "", err
	}
	a, err := c.Store.Authorize(ctx, c.caller, name, verb)
	if err == nil && a.ID == 0 && verb != app.VerbCreate {
		err = app.Errorf(app.CodeNotFound, "see what there is: gitd apps", "there is no app %q", name)
	}
	return name, err
}
