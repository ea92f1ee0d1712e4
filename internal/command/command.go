// Package command is the command line of gitd's operations, as it is served over SSH and from the shell, with the server running or not: it reads arguments and
// renders what the operations return, as tables or as JSON. One file a command.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/gitd-io/gitd/internal/store"
	"github.com/spf13/cobra"
)

// Tree is the commands for one caller.
type Tree struct {
	*cobra.Command
	asks map[*cobra.Command]func(args []string) operation.Declaration
}

// Asks returns what a command asks for with these arguments and the flags that were set. A command that is not an operation, such as help, needs nothing.
func (t *Tree) Asks(c *cobra.Command, args []string) operation.Declaration {
	if asks := t.asks[c]; asks != nil {
		return asks(args)
	}
	return operation.Declaration{Name: c.Name()}
}

// session is what the commands of one Tree work with.
type session struct {
	services *operation.Services
	caller   app.Caller
	in       io.Reader
	client   *app.Client // nil where the command does not work with its client
	tree     *Tree
}

// New returns the commands for one caller. Usage is called when the tree is complete.
func New(s *operation.Services, caller app.Caller, in io.Reader, out, errOut io.Writer) *Tree {
	return newTree(s, caller, in, out, errOut, nil)
}

func newTree(s *operation.Services, caller app.Caller, in io.Reader, out, errOut io.Writer, client *app.Client) *Tree {
	root := &cobra.Command{
		Use: "gitd", Short: "git push, and the app is live",
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	Group(root)
	t := &Tree{Command: root, asks: map[*cobra.Command]func([]string) operation.Declaration{}}
	c := &session{services: s, caller: caller, in: in, client: client, tree: t}
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	root.AddCommand(c.apps(), c.releases(), c.release(), c.wait(), c.rollback(), c.promote(), c.redeploy(), c.image(), c.rebase(), c.config(), c.previews(), c.traffic(), c.abort(), c.maintenance(), c.deployKey(), c.logs(), c.keys(), version())
	root.AddCommand(c.ps(), c.run(), c.jobs(), c.schedules(), c.domains(), c.ca())
	root.AddCommand(c.events(), c.triggers(), c.webhooks(), c.brokers(), c.functions())
	Usage(root)
	return t
}

// Declared returns what the command line args asks for. It fails where args is not a command line.
func Declared(args []string) (operation.Declaration, error) {
	d, _, err := Asked(args)
	return d, err
}

// Asked returns what the command line args asks for, and its arguments without flags. It fails where args is not a command line.
func Asked(args []string) (d operation.Declaration, rest []string, err error) {
	t := New(nil, app.Root, nil, io.Discard, io.Discard)
	c, rest, err := t.Find(t.Separated(args))
	if err != nil {
		return d, nil, err
	}
	if err := c.ParseFlags(rest); err != nil {
		return d, nil, err
	}
	return t.Asks(c, c.Flags().Args()), c.Flags().Args(), nil
}

// ExitStatus is the error of a command that has told all there is to say, and ends with this status.
type ExitStatus int

func (e ExitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Run runs one command and returns its exit status (see app.ExitStatus), with the error told on errOut. What people are not told goes to the
// server's log; root on the machine is told the cause of an internal error as well.
func Run(ctx context.Context, s *operation.Services, caller app.Caller, args []string, in io.Reader, out, errOut io.Writer, client *app.Client) int {
	root := newTree(s, caller, in, out, errOut, client)
	root.SetArgs(root.Separated(args))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return app.ExitOK
	}
	if status := ExitStatus(0); errors.As(err, &status) {
		return int(status)
	}
	if ctx.Err() != nil && app.CodeOf(err) == app.CodeInternal {
		err = app.Errorf(app.CodeCancelled, "run it again", "interrupted: %w", err)
	}
	if s.Database != "" {
		err = store.Explain(err, s.Database)
	}
	if cause := app.Cause(err); cause != "" && s.Log != nil {
		s.Log("command %q by %s: %s; cause: %s", app.Clip(Loggable(args), 200), caller.Name(), app.CodeOf(err), cause)
	}
	Fail(errOut, err, caller.Local)
	return app.ExitStatus(err)
}

// Fail tells an error to a person. What was not made for people is an internal error, whose cause is told where cause is set.
func Fail(w io.Writer, err error, cause bool) {
	if cause && app.CodeOf(err) == app.CodeInternal {
		err = app.Errorf(app.CodeInternal, "this is a defect of gitd, or a fault of the machine: look for disks, memory and permissions first", "internal error: %s", app.Plain(err.Error()))
	}
	app.NewLog(w).Fail(err)
}

// declare makes the command of an operation: its name, arguments and help come from the declaration. line is how its arguments and flags are
// written; "" for the declaration's own.
func (c *session) declare(d operation.Declaration, line string, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	if line == "" {
		line = d.Args
	}
	words := strings.Fields(d.Name)
	cmd := &cobra.Command{Use: strings.TrimSpace(words[len(words)-1] + " " + line), Short: d.Does, Args: Takes(d.Args), RunE: run}
	c.asks(cmd, func([]string) operation.Declaration { return d })
	return cmd
}

// asks notes what a command asks for where its arguments or flags decide.
func (c *session) asks(cmd *cobra.Command, asks func(args []string) operation.Declaration) {
	c.tree.asks[cmd] = asks
}
