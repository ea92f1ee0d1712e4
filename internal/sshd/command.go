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
	Drain  bool // read what the client still sends, so that it gets to reading our answer
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
	what := fmt.Sprintf("%q", app.Clip(ss.server.opts.Handler.Loggable(words), 200))
	if err := ss.Hold("", 0, app.VerbUse, ss.End); err != nil {
		ss.Tell(err)
		return Outcome{What: what, Result: app.OneLine(err), Status: 1}
	}
	var stdin io.Reader = ss.in
	var stdout, stderr io.Writer = ss.ch, ss.ch.Stderr()
	if !ss.server.opts.Handler.ReadsInput(words) {
		if !ss.pty { // a terminal's is read for Ctrl-C
			ss.DropInput()
		}
		stdin = strings.NewReader("")
	}
	if ss.pty {
		ss.window()
		in := ss.terminalInput()
		if ss.server.opts.Handler.ReadsInput(words) {
			stdin = in
		}
		stdout = &terminalWriter{w: ss.ch}
		stderr = stdout
	}
	status := ss.server.opts.Handler.Command(ss.ctx, ss.key, words, stdin, stdout, stderr)
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

// greet answers who asks for a shell.
func (ss *Session) greet() {
	var w io.Writer = ss.ch
	if ss.pty {
		w = &terminalWriter{w: w}
	}
	_, _ = io.WriteString(w, ss.server.opts.Greeting(ss.key))
}
