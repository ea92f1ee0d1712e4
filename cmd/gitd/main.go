// Command gitd is a git-push deployment server: git push platform main, and the app is live.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/command"
	_ "github.com/gitd-io/gitd/internal/noprofile"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// exit ends the program with a status; the reason was told before.
type exit int

func (exit) Error() string { return "" }

func main() {
	noCore()
	args := hideSecrets(os.Args[1:])
	program := root(args)
	program.SetArgs(program.Separated(args))
	err := program.ExecuteContext(context.Background())
	var code exit
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	default:
		command.Fail(os.Stderr, err, true)
		os.Exit(app.ExitStatus(err))
	}
}

// dataFlag adds the flag that names the data directory to a command that needs nothing else of the configuration.
func dataFlag(f *pflag.FlagSet) *string {
	return f.String("data", "", "data directory of the server (default: what gitd serve takes: the configuration file, $GITD_DATA, else /var/lib/gitd)")
}

func root(args []string) *command.Tree {
	// What the server answers, and what is only of this machine, in one help text.
	r := command.New(nil, app.Caller{Local: true}, os.Stdin, os.Stdout, os.Stderr)
	for _, c := range r.Commands() {
		if c.Name() != "version" {
			forward(r, c)
		}
		if c.Name() == "config" && ofServer(args) {
			r.RemoveCommand(c)
			r.AddCommand(configCommand())
		}
	}
	r.AddCommand(serve(), stop(), builderCommand(), purge(), completion(r.Command))
	if c, _, err := r.Find([]string{"image"}); err == nil {
		imageCommand(c)
	}
	command.Usage(r.Command)
	r.PersistentPreRun = func(c *cobra.Command, _ []string) {
		if c.Name() != "version" { // it waits for nothing, and listening for signals takes two threads
			untilSignal(c)
		}
	}
	return r
}

// untilSignal gives a command a context that ends with the first signal to stop.
func untilSignal(c *cobra.Command) {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	c.SetContext(ctx)
	c.PostRun = func(*cobra.Command, []string) { stop() }
}
