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
	"github.com/gitd-io/gitd/internal/reexec"
	"github.com/spf13/cobra"
)

// exit ends the program with a status, without a word: whoever returns it has told the reason.
type exit int

func (exit) Error() string { return "" }

func main() {
	reexec.Init()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := root().ExecuteContext(ctx)
	var code exit
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	default:
		command.Fail(os.Stderr, err, true)
		os.Exit(1)
	}
}

// defaultData is where gitd keeps everything, unless told otherwise.
const defaultData = "/var/lib/gitd"

func root() *cobra.Command {
	// What the server answers, and what is only of this machine, in one help text.
	r := command.New(nil, app.Caller{Local: true}, os.Stdin, os.Stdout, os.Stderr)
	for _, c := range r.Commands() {
		if c.Name() != "version" {
			forward(c)
		}
	}
	r.AddCommand(serve(), builderCommand(), imageCommand(), purge())
	command.Usage(r)
	return r
}
