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

// SetCommand sets what all commands do.
func (c *Commands) SetCommand(f Command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.f = f
}

// ReadsInput says whether a command reads its standard input.
func (*Commands) Loggable(args []string) string { return strings.Join(args, " ") }
func (*Commands) ReadsInput(args []string) bool { return args[0] == "cat" || args[0] == "echo" }

// Command runs a command.
func (c *Commands) Command(ctx context.Context, k app.Key, args []string, in io.Reader, out, errw io.Writer) int {
	c.mu.Lock()
	f := c.f
	c.mu.Unlock()
	if f != nil {
		return f(ctx, k, args, in, out, errw)
	}
	fmt.Fprintf(errw, "unknown command %q\n", args[0])
	return 127
}
