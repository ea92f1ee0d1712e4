package sshd

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
)

// Every connection has at least one line in the log with who it was, with which key, with which client, what for, what came of it and
// how long it took: one for each command, and one for a connection without commands. The form is
//
//	ssh ADDRESS:PORT key=NAME FINGERPRINT client="VERSION" WHAT: RESULT (status N, DURATION)
//
// with - for what is not known. Nothing in it that a client chose can break out of the line or reach a terminal.
//
// attributes are what a line has besides in JSON: slog.Attr.
func (c *connection) audit(key app.Key, who, what, result string, attributes ...any) {
	attributes = append(attributes, slog.String("part", "ssh"), slog.String("remote", c.RemoteAddr().String()), slog.String("key", key.Name), slog.String("identity", who),
		slog.String("client", c.clientVersion()), slog.String("command", what))
	c.server.opts.Log("%s", append([]any{c.auditLine(key, who, what, result)}, attributes...)...)
}

func (c *connection) auditLine(key app.Key, who, what, result string) string {
	return fmt.Sprintf("ssh %s key=%s %s client=%s %s: %s", c.RemoteAddr(), orDash(key.Name), orDash(who), c.clientVersion(), orDash(what), result)
}

// count counts a command that has ended.
func (s *Server) count(o Outcome) {
	command, result := "command", "ok"
	switch verb, _, _ := strings.Cut(o.What, " "); verb {
	case "push", "fetch":
		command = verb
	case "git-lfs-transfer", "lfs":
		command = "lfs"
	}
	if o.Status != 0 {
		result = "failed"
	}
	s.opts.Metrics.Commands.Inc(command, result)
}

// clientVersion is what the client calls itself, for the log.
func (c *connection) clientVersion() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.preAuth == nil { // nothing is known before keys are exchanged
		return "-"
	}
	return quoted(strings.TrimPrefix(string(c.preAuth.ClientVersion()), "SSH-2.0-"))
}

// quoted makes a word of what a client chose: within quotation marks, in printable ASCII, of bounded length.
func quoted(s string) string { return strconv.QuoteToASCII(app.Clip(s, 100)) }

// plain makes text of what a client may have chosen parts of: printable ASCII of at most n bytes and dots.
func plain(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, app.Clip(s, n))
	return s
}

// strangers writes the lines of connections that never authenticate. They cost their makers nothing, so the log takes only so many.
type strangers struct {
	mu     sync.Mutex
	bucket bucket
	missed int
}

const (
	strangersAtOnce    = 200
	strangersPerSecond = 5
)

func (s *strangers) log(now time.Time, log func(string, ...any), line string) {
	s.mu.Lock()
	ok := s.bucket.take(now, strangersAtOnce, strangersPerSecond)
	missed := s.missed
	if ok {
		s.missed = 0
	} else {
		s.missed++
	}
	s.mu.Unlock()
	if !ok {
		return
	}
	if missed > 0 {
		line += fmt.Sprintf("; %d more that did not authenticate are left out before this one", missed)
	}
	log("%s", line)
}
