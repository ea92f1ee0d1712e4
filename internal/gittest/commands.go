package gittest

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/gitd-io/gitd/internal/app"
)

// Command is what a command of a server does in a test; it returns the exit status.
type Command = func(ctx context.Context, key app.Key, args []string, in io.Reader, out, errw io.Writer) int

// Commands are the commands of a server as its handler runs them: all are one function, which a test sets.
type Commands struct {
	mu sync.Mutex
	f  Command // guarded by mu; nil: every command is unknown
}

type clientKey struct{}

// Client returns the client of the command "work", which works with it; nil for other commands.
func Client(ctx context.Context) *app.Client {
	c, _ := ctx.Value(clientKey{}).(*app.Client)
	return c
}

// SetCommand sets what all commands do.
func (c *Commands) SetCommand(f Command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.f = f
}

// Loggable is a command line for the log.
func (*Commands) Loggable(args []string) string { return strings.Join(args, " ") }

// Asks says what a command needs of its client.
func (*Commands) Asks(args []string) app.Asked {
	return app.Asked{Input: args[0] == "cat" || args[0] == "echo" || args[0] == "work", Interactive: args[0] == "work", Verb: app.VerbUse}
}

// Command runs a command.
func (c *Commands) Command(ctx context.Context, k app.Key, args []string, in io.Reader, out, errw io.Writer, client *app.Client) int {
	c.mu.Lock()
	f := c.f
	c.mu.Unlock()
	if f != nil {
		return f(context.WithValue(ctx, clientKey{}, client), k, args, in, out, errw)
	}
	fmt.Fprintf(errw, "unknown command %q\n", args[0])
	return 127
}
