package sshd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/telemetry"
)

// Bounds on what one connection may ask for.
const (
	maxChannels = 16 // sessions at a time
	maxEnv      = 64 // environment variables of a session
	maxEnvValue = 256
)

// Why a session ended early.
var (
	ErrGone        = app.Errorf(app.CodeCancelled, "try again", "the client went away")
	errInterrupted = app.Errorf(app.CodeCancelled, "try again", "interrupted")
	ErrShutdown    = app.Errorf(app.CodeUnavailable, "push again in a moment", "the server is shutting down")
)

// Session is one channel of a connection: one command. It answers the requests itself, since that is how a closed channel
// of a shared connection is noticed at once.
type Session struct {
	server *Server
	conn   *connection
	remote net.Addr
	id     Identity
	ctx    context.Context // ends when the client, the channel or the server goes; its cause says why
	cancel context.CancelCauseFunc
	ch     gossh.Channel
	raw    *serialReader // of ch
	in     *bufio.Reader // of raw
	window func()        // gives back what its unread input may take

	// What the client asks before its command. The goroutine that answers requests sets it.
	started bool
	env     map[string]string
	pty     bool
	far     far // changes while the command runs

	// Of the command, which sets it.
	key     app.Key
	asked   uint64      // how often rights were rechecked when the key was looked up
	release func()      // what Lease returned to Hold
	revoked atomic.Bool // the key has lost its rights

	causes sync.Mutex
	cause  string // of the failure, for the server's log; guarded by causes

	last sync.Mutex // held while something else than the command speaks to the client
	over bool       // the command has ended; guarded by last
}

// serveSession is gliderlabs/ssh's handler of session channels.
func (s *Server) serveSession(_ *ssh.Server, conn *gossh.ServerConn, offered gossh.NewChannel, ctx ssh.Context) {
	c, _ := ctx.Value(connKey).(*connection)
	id := verifiedIdentity(conn.Permissions)
	if c == nil || id.fingerprint == "" {
		_ = offered.Reject(gossh.Prohibited, "not authenticated")
		return
	}
	if !c.asked() {
		return
	}
	if c.channels.Add(1) > maxChannels {
		c.channels.Add(-1)
		c.reject(offered, gossh.ResourceShortage, "too many sessions on this connection")
		return
	}
	defer c.channels.Add(-1)
	c.waitOnce.Do(func() { go c.logEnd(conn) })
	release, ok := s.windows.take(c.address)
	if !ok {
		c.reject(offered, gossh.ResourceShortage, "too many sessions, try again in a moment")
		return
	}
	defer release()
	ch, requests, err := offered.Accept()
	if err != nil {
		return
	}
	raw := &serialReader{r: ch}
	ss := &Session{server: s, ch: ch, raw: raw, in: bufio.NewReaderSize(raw, 64<<10), conn: c, remote: conn.RemoteAddr(), id: id, release: func() {}, window: release, env: map[string]string{}, far: newFar()}
	ss.ctx, ss.cancel = context.WithCancelCause(context.WithoutCancel(ctx)) // so that the cause is ours
	defer context.AfterFunc(ctx, func() { ss.cancel(ErrGone) })()
	defer ss.cancel(ErrGone)
	defer func() { go gossh.DiscardRequests(requests) }() // unread ones would hold up the connection's end
	ss.serve(requests)
}

// serve answers what the client asks on the channel, until it is closed.
func (ss *Session) serve(requests <-chan *gossh.Request) {
	idle := time.AfterFunc(ss.server.opts.HandshakeTimeout, func() { _ = ss.ch.Close() }) // what is sent before a command lies unread
	defer idle.Stop()
	set := 0 // environment variables
	for r := range requests {
		if !ss.conn.asked() {
			return
		}
		ok := false
		switch r.Type {
		case "env":
			if set++; set > maxEnv {
				_ = ss.ch.Close()
				return
			}
			ok = !ss.started && ss.setEnv(r.Payload)
		case "pty-req":
			if !ss.started {
				ss.pty, ok = true, true
				ss.far.open(r.Payload)
			}
		case "window-change":
			ok = ss.pty
			ss.far.resize(r.Payload)
		case "eow@openssh.com": // "end of write": what ssh passes on is read no more, as when git was killed and its ssh was not
			if ok = true; !ss.far.stopReading() {
				ss.cancel(ErrGone)
			}
		case "signal":
			if ok = true; !ss.far.signal(r.Payload) {
				ss.cancel(errInterrupted)
			}
		case "shell", "exec":
			if ss.start(r) {
				idle.Stop()
				continue
			}
		}
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
	}
}

// start begins the command that a request asks for, unless there was one, or the server is shutting down. The request is answered where it returns true.
func (ss *Session) start(r *gossh.Request) bool {
	var line struct{ Value string }
	if ss.started || r.Type == "exec" && gossh.Unmarshal(r.Payload, &line) != nil || !ss.server.enter() {
		return false
	}
	ss.started = true
	ss.conn.sessions.Add(1)
	ss.conn.commands.Add(1)
	_ = r.Reply(true, nil) // before anything that the command says
	go func() {
		defer ss.server.leave()
		defer ss.conn.commandEnded()
		ss.run(line.Value)
	}()
	return true
}

// run serves one command from beginning to end.
func (ss *Session) run(line string) {
	started := time.Now()
	stop := context.AfterFunc(ss.server.base, func() { ss.cancel(ErrShutdown) })
	defer stop()
	o := ss.dispatch(line)
	ss.server.count(o)
	ss.release()
	ss.last.Lock() // from here on only this goroutine speaks
	ss.over = true
	ss.last.Unlock()
	if ss.revoked.Load() {
		ss.Tell(context.Cause(ss.ctx))
		o.Status = max(o.Status, 1)
	}
	if ss.cause != "" {
		o.Result += "; cause: " + ss.cause
	}
	ss.conn.audit(ss.key, ss.id.String(), o.What, fmt.Sprintf("%s (status %d, %v)", app.Plain(o.Result), o.Status, time.Since(started).Round(time.Millisecond)),
		slog.Int("status", o.Status), telemetry.Took(time.Since(started)), slog.String(telemetry.LogTrace, o.Trace))
	// The status comes before the end of the output (RFC 4254, 6.10): a client that sees the end first reports 0.
	_, _ = ss.ch.SendRequest("exit-status", false, gossh.Marshal(struct{ Status uint32 }{uint32(o.Status)}))
	_ = ss.ch.CloseWrite()
	if o.Drain {
		ss.drain()
	}
	_ = ss.ch.Close()
	ss.cancel(ErrGone)
}

// Hold has end called when the key has lost its right: app.VerbUse where no app is concerned.
func (ss *Session) Hold(name string, id int64, verb app.Verb, end func(error)) error {
	release, err := ss.Lease(ss.ctx, name, id, verb, end)
	ss.release = release
	return err
}

// Release lets go of what Hold holds: what comes now has a lifetime of its own.
func (ss *Session) Release() { ss.release() }

// Lease has end called when the key has lost its right to do verb with the app, until release is called. It may outlive the session.
func (ss *Session) Lease(ctx context.Context, name string, id int64, verb app.Verb, end func(error)) (release func(), err error) {
	return ss.server.hold(ctx, ss.asked, &lease{key: ss.key, name: name, id: id, verb: verb, end: end})
}

// End has the command end, and its client told why; the channel goes where that takes long.
func (ss *Session) End(err error) {
	ss.revoked.Store(true)
	ss.cancel(err)
	time.AfterFunc(lastWords, func() { _ = ss.ch.Close() })
}

// Tell explains err to a person at the other end of a command.
func (ss *Session) Tell(err error) {
	message, next := app.Explain(err)
	if next != "" {
		next = "gitd: " + next + "\n"
	}
	fmt.Fprintf(ss.ch.Stderr(), "gitd: %s\n%s", message, next)
	ss.KeepCause(err)
}

// KeepCause keeps for the operator's line of the log what is not for the client's eyes.
func (ss *Session) KeepCause(err error) {
	cause := app.Cause(err)
	if cause == "" {
		return
	}
	ss.causes.Lock()
	defer ss.causes.Unlock()
	ss.cause = app.Clip(strings.Join(strings.Fields(cause), " "), maxCause)
}

// maxCause is how many bytes of a cause are logged.
const maxCause = 2000

// Gone is called when a write to the client fails.
func (ss *Session) Gone(error) {
	ss.cancel(ErrGone)
	go ss.ch.Close() // frees a writer that hangs; may hang itself until the connection's keepalive ends it
}

// GiveUp ends a session whose client is waited for in vain, and says so.
func (ss *Session) GiveUp(err error) {
	end := func() {
		ss.cancel(err)
		_ = ss.ch.Close()
	}
	t := time.AfterFunc(lastWords, end) // it may not read what it is told
	ss.last.Lock()
	if !ss.over {
		ss.Tell(err)
	}
	ss.last.Unlock()
	t.Stop()
	end()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// setEnv takes an environment variable that the client sets, where it is one that verbs read.
func (ss *Session) setEnv(payload []byte) bool {
	var kv struct{ Name, Value string }
	if gossh.Unmarshal(payload, &kv) != nil || len(kv.Value) > maxEnvValue {
		return false
	}
	check := ss.server.opts.Env[kv.Name]
	if check == nil {
		return false
	}
	checked, ok := check(kv.Value)
	if ok {
		ss.env[kv.Name] = checked
	}
	return ok
}

// Env returns an environment variable that the client has set; "" where it has not.
func (ss *Session) Env(name string) string { return ss.env[name] }

// Context ends when the client, the channel or the server goes; its cause says why.
func (ss *Session) Context() context.Context { return ss.ctx }

// ServerContext ends when the server does.
func (ss *Session) ServerContext() context.Context { return ss.server.base }

// Key is the client's.
func (ss *Session) Key() app.Key { return ss.key }

// Remote is the client's address.
func (ss *Session) Remote() net.Addr { return ss.remote }

// Input is what the client sends.
func (ss *Session) Input() *bufio.Reader { return ss.in }

// LimitWait has late called once when a read of Input takes longer than limit; 0 is for ever. done takes that back.
func (ss *Session) LimitWait(limit time.Duration, late func()) (done func()) {
	return ss.raw.wait(limit, late)
}

// Write writes to the client's standard output.
func (ss *Session) Write(p []byte) (int, error) { return ss.ch.Write(p) }

// Stderr is the client's.
func (ss *Session) Stderr() io.Writer { return ss.ch.Stderr() }

// Close closes the channel: readers and writers are freed.
func (ss *Session) Close() error { return ss.ch.Close() }

// Identify returns the registered key that an identity stands for, or an *app.Error.
func (ss *Session) Identify(ctx context.Context, id Identity) (app.Key, error) {
	return ss.server.identify(ctx, id, ss.remote)
}
