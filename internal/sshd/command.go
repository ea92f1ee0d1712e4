package sshd

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
)

// Outcome is what a session came to.
type Outcome struct {
	What   string // "push hello"
	Result string
	Status int
	Drain  bool   // read what the client still sends, so that it gets to reading our answer
	Trace  string // ID of the trace that it has; "" for none
}

// And completes o with what came after it.
func (o Outcome) And(next Outcome) Outcome {
	if next.What == "" {
		next.What = o.What
	}
	return next
}

func (ss *Session) dispatch(line string) (o Outcome) {
	defer func() {
		if p := recover(); p != nil {
			ss.server.opts.Log("ssh %s: panic in %s: %v\n%s", ss.remote, orDash(o.What), p, debug.Stack())
			o = Outcome{What: o.What, Result: "internal error", Status: 1}
		}
	}()
	ss.asked = ss.server.rechecks()
	key, err := ss.server.identify(ss.ctx, ss.id, ss.remote) // once more: a key that was removed, or a certificate that has expired, ends with the next command
	if err != nil {
		ss.Tell(err)
		return Outcome{Result: app.OneLine(err), Status: 1}
	}
	ss.key = key
	words, err := split(line)
	if err != nil {
		ss.Tell(app.Errorf(app.CodeInvalidInput, "quote its words as for a POSIX shell", "%v", err))
		return Outcome{Result: err.Error(), Status: 2}
	}
	if len(words) == 0 {
		ss.greet()
		return Outcome{What: "shell", Result: "greeted"}
	}
	if len(words) > 1 {
		if v := ss.server.opts.Verbs[words[0]+" "+words[1]]; v != nil {
			return v(ss, words[2:])
		}
	}
	if v := ss.server.opts.Verbs[words[0]]; v != nil {
		return v(ss, words[1:])
	}
	return ss.command(words)
}

// command hands a command over to the rest of gitd.
func (ss *Session) command(words []string) Outcome {
	asked := ss.server.opts.Handler.Asks(words)
	what := fmt.Sprintf("%q", app.Clip(ss.server.opts.Handler.Loggable(words), 200))
	verb := app.VerbUse
	if asked.Interactive {
		verb = asked.Verb
	}
	if err := ss.Hold(asked.App, 0, verb, ss.End); err != nil {
		ss.Tell(err)
		return Outcome{What: what, Result: app.OneLine(err), Status: 1}
	}
	stdin, stdout, stderr, client := ss.streams(asked)
	status := ss.server.opts.Handler.Command(ss.ctx, ss.key, words, stdin, stdout, stderr, client)
	result := "ok"
	if status != 0 {
		result = "failed"
	}
	if e := context.Cause(ss.ctx); e != nil {
		result = "ended: " + e.Error()
	}
	if status < 0 || status > 255 {
		status = 255
	}
	return Outcome{What: what, Result: result, Status: status}
}

// streams are those of a command, which a terminal shows as they should be. An interactive command gets its client as well.
func (ss *Session) streams(asked app.Asked) (stdin io.Reader, stdout, stderr io.Writer, client *app.Client) {
	if asked.Interactive {
		client = ss.client()
	}
	switch {
	case ss.pty && client != nil:
		stdin = &lazy{open: ss.terminalInput}
		stdout = &terminalWriter{w: ss.ch}
		return stdin, stdout, stdout, client
	case ss.pty: // a terminal's input is read for Ctrl-C
		ss.window()
		if in := ss.terminalInput(); asked.Input {
			stdin = in
		} else {
			stdin = strings.NewReader("")
		}
		stdout = &terminalWriter{w: ss.ch}
		return stdin, stdout, stdout, nil
	case asked.Input:
		return ss.in, ss.output(client), ss.ch.Stderr(), client
	}
	ss.DropInput()
	return strings.NewReader(""), ss.output(client), ss.ch.Stderr(), client
}

func (ss *Session) output(client *app.Client) io.Writer {
	if client == nil {
		return ss.ch
	}
	return &ss.far.out
}

// greet answers who asks for a shell.
func (ss *Session) greet() {
	var w io.Writer = ss.ch
	if ss.pty {
		w = &terminalWriter{w: w}
	}
	_, _ = io.WriteString(w, ss.server.opts.Greeting(ss.key))
}
