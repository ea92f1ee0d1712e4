package command

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/operation"
	"github.com/spf13/cobra"
)

func (c *session) run() *cobra.Command {
	var in operation.RunOf
	var tty, noTTY bool
	run := c.declare(operation.Run.Declaration, "APP [--release vN] [-e NAME=VALUE] … [--type T] [--timeout D] [--detach] [--tty | --no-tty] [--] CMD [ARG] …", nil)
	run.Long = run.Short + ".\n\nIt works from zero, and disturbs no instance of the app. A first word that is a process type of the app runs that, with the other words as its arguments.\n" +
		"Flags from the first word of the command on are the command's own.\n" +
		"The exit status is the command's; 128+N where the signal N ended it."
	run.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return fmt.Errorf("APP is missing: %s", cmd.UseLine())
		case len(args) == 1 && in.Type == "":
			return fmt.Errorf("the command is missing: %s", cmd.UseLine())
		}
		return nil
	}
	run.RunE = func(cmd *cobra.Command, args []string) error {
		in.App, in.Command = args[0], args[1:]
		if tty && noTTY {
			return app.Errorf(app.CodeInvalidInput, "leave one out", "--tty and --no-tty contradict one another")
		}
		if err := c.streams(&in, tty, noTTY); err != nil {
			return err
		}
		ran, err := operation.Run.Do(cmd.Context(), c.services, c.caller, in)
		switch {
		case err != nil:
			return err
		case in.Detach:
			fmt.Fprintf(cmd.OutOrStdout(), "Started %s. Its output: jobs logs %s %s --follow\n", ran.ID, app.Plain(args[0]), ran.ID)
			return nil
		case ran.OutOfMemory != "":
			fmt.Fprintf(cmd.ErrOrStderr(), "gitd: the command was killed at its memory limit of %s\n", ran.OutOfMemory)
		}
		if *ran.Status == noSuchCommand && wantsShell(in.Command) {
			fmt.Fprintf(cmd.ErrOrStderr(), "gitd: run starts a program, not a shell. What a shell does (cd, exit, &&, |, $NAME) takes one: run %s -- bash -c '…', over SSH in two pairs of quotes: \"'…'\"\n", app.Plain(args[0]))
		}
		if *ran.Status != 0 {
			return ExitStatus(*ran.Status)
		}
		return nil
	}
	f := run.Flags()
	f.Var((*versionValue)(&in.Version), "release", "the release that it runs; the live one where none is given")
	f.StringArrayVarP(&in.Env, "env", "e", nil, "a variable NAME=VALUE on top of the app's (repeatable)")
	f.StringVar(&in.Type, "type", "", "run this process type, with the command added to it")
	f.BoolVar(&in.Detach, "detach", false, "go on without the client, and keep the output")
	f.Var(spanValue{&in.Timeout, operation.MaxRun, "7 days, such as 168h"}, "timeout", "end it after this time, such as 30m; 24h where none is given")
	f.BoolVar(&tty, "tty", false, "with a terminal, or not at all")
	f.BoolVar(&noTTY, "no-tty", false, "without a terminal, also where the client has one")
	return run
}

// noSuchCommand is the exit status of a command that is not there, as a shell has it.
const noSuchCommand = 127

// shellWords are commands and operators that shells know, and no program does.
var shellWords = map[string]bool{"cd": true, "exit": true, "export": true, "source": true, ".": true, "ulimit": true, "umask": true, "unset": true, "set": true, "eval": true,
	"exec": true, "alias": true, "if": true, "for": true, "while": true, "&&": true, "||": true, "|": true, ";": true, ">": true, ">>": true, "<": true, "2>&1": true}

// wantsShell says whether a command is one for a shell, more or less.
func wantsShell(command []string) bool {
	for i, w := range strings.Fields(strings.Join(command, " ")) {
		if shellWords[w] && (i == 0 || strings.ContainsAny(w, "&|;<>")) || strings.HasSuffix(w, ";") || i == 0 && strings.HasPrefix(w, "$") {
			return true
		}
	}
	return false
}

// streams gives a run what its client has: a terminal, or three streams.
func (c *session) streams(in *operation.RunOf, tty, noTTY bool) error {
	has := c.client != nil && c.client.TTY
	switch {
	case tty && in.Detach:
		return app.Errorf(app.CodeInvalidInput, "leave one out", "a detached command has no terminal")
	case in.Detach:
		return nil
	case tty && !has:
		return app.Errorf(app.CodeInvalidInput, "connect with one: ssh -t HOST run …", "--tty needs a terminal, and the client has none")
	}
	in.In, in.Out, in.Err = c.in, c.tree.OutOrStdout(), c.tree.ErrOrStderr()
	if c.client == nil {
		return nil
	}
	in.Signals = c.client.Signals
	if has && !noTTY {
		in.In, in.Out = c.client.Raw()
		in.Err = io.Discard
		in.Terminal = &deploy.Terminal{Term: c.client.Term, Size: c.client.Size, Resized: c.client.Resized}
	}
	return nil
}

// jobTook is how long a job took, or has taken until now.
func jobTook(j operation.Job) string {
	if j.Ended != nil {
		return app.Elapsed(j.Ended.Sub(j.Started))
	}
	return app.Elapsed(time.Since(j.Started).Round(time.Second))
}
