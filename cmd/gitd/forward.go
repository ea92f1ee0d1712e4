package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/config"
	"github.com/gitd-io/gitd/internal/control"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/gitd-io/gitd/internal/server"
	"github.com/spf13/cobra"
)

// maxStdin bounds what a command takes on standard input. A command that takes less says so itself.
const maxStdin = operation.MaxConfigInput + 1

// forward makes a command of the server available in the shell: it runs in the server of the data directory, or here where none runs.
func forward(t *command.Tree, c *cobra.Command) {
	data := dataFlag(c.PersistentFlags())
	for _, leaf := range leaves(c) {
		if t.Asks(leaf, nil).Needs == operation.NeedsNothing {
			continue
		}
		completesApps(leaf, data)
		leaf.RunE = func(cmd *cobra.Command, args []string) error {
			line := commandLine(cmd, args)
			if t.Asks(cmd, args).Interactive {
				return interact(*data, line, t.Asks(cmd, args))
			}
			var stdin []byte
			if t.Asks(cmd, args).Stdin {
				b, err := io.ReadAll(io.LimitReader(os.Stdin, maxStdin))
				if err != nil {
					return err
				}
				stdin = b
			}
			code, err := run(cmd.Context(), *data, line, stdin)
			if err != nil {
				return err
			}
			if code != app.ExitOK {
				return exit(code)
			}
			return nil
		}
	}
}

func leaves(c *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	if c.RunE != nil {
		all = append(all, c)
	}
	for _, sub := range c.Commands() {
		all = append(all, leaves(sub)...)
	}
	return all
}

// commandLine is what the server is asked: the command's path, the flags that were set (not our own --data), the arguments.
func commandLine(cmd *cobra.Command, args []string) []string {
	var line []string
	for c := cmd; c.HasParent(); c = c.Parent() {
		line = append([]string{c.Name()}, line...)
	}
	return append(append(line, setFlags(cmd)...), append([]string{"--"}, args...)...)
}

// dataDir is the data directory as an absolute path; "" is the configured one.
func dataDir(flag string) (string, error) {
	dir, err := config.DataDir(flag)
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

// run has the running server run a command; if none runs, it runs here.
func run(ctx context.Context, data string, line []string, stdin []byte) (int, error) {
	data, err := dataDir(data)
	if err != nil {
		return 1, err
	}
	deadline := time.Now().Add(10 * time.Second) // a server that is just starting has the directory, and no socket yet
	for {
		code, err := control.Call(ctx, filepath.Join(data, server.Socket), line, stdin, os.Stdout, os.Stderr)
		if !errors.Is(err, control.ErrNoServer) {
			if ctx.Err() != nil {
				return app.ExitCancelled, nil
			}
			return code, err
		}
		if errors.Is(err, os.ErrPermission) {
			return 1, app.Errorf(app.CodeUnavailable, "run the command as root: sudo gitd …", "not allowed to ask the server of %s", data)
		}
		code, err = server.RunOffline(ctx, data, line, bytes.NewReader(stdin), os.Stdout, os.Stderr)
		if !errors.Is(err, server.ErrLocked) {
			return code, err
		}
		if time.Now().After(deadline) {
			return code, app.Wrap(err, app.CodeUnavailable, "try again in a moment; if it stays so, see what it does: systemctl status gitd",
				"another gitd has %s, and takes no commands: it is starting or stopping", data)
		}
		select {
		case <-ctx.Done():
			return app.ExitCancelled, nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}
