package sshd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/awake"
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
	server  *Server
	ctx     context.Context // ends when the client, the channel or the server goes; its cause says why
	cancel  context.CancelCauseFunc
	ch      gossh.Channel
	raw     *serialReader // of ch
	in      *bufio.Reader // of raw
	conn    *connection
	remote  net.Addr
	id      Identity
	key     app.Key
	asked   uint64 // how often rights were rechecked when the key was looked up
	release func() // what hold returned
	window  func() // gives back what its unread input may take
	revoked atomic.Bool
	env     map[string]string
	pty     bool
	cause   string // of the failure, for the server's log

	causes sync.Mutex // guards cause while the command runs
	last   sync.Mutex // held while somebody else than the command speaks to the client
	over   bool       // the command has ended; guarded by last
}

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
	ss := &Session{server: s, ch: ch, raw: raw, in: bufio.NewReaderSize(raw, 64<<10), conn: c, remote: conn.RemoteAddr(), id: id, release: func() {}, window: release}
	ss.ctx, ss.cancel = context.WithCancelCause(context.WithoutCancel(ctx)) // so that the cause is ours
	defer context.AfterFunc(ctx, func() { ss.cancel(ErrGone) })()
	defer ss.cancel(ErrGone)
	defer func() { go gossh.DiscardRequests(requests) }() // those that nobody takes would hold up the connection's end
	env, started := 0, false
	idle := time.AfterFunc(s.opts.HandshakeTimeout, func() { _ = ch.Close() }) // what is sent before a command lies unread
	defer idle.Stop()
	for r := range requests {
		ok := false
		if !c.asked() {
			return
		}
		switch r.Type {
		case "env":
			if env++; env > maxEnv {
				_ = ch.Close()
				return
			}
			var kv struct{ Key, Value string }
			if gossh.Unmarshal(r.Payload, &kv) == nil && !started {
				ok = ss.setEnv(kv.Key, kv.Value)
			}
		case "pty-req":
			if !started {
				ss.pty, ok = true, true
			}
		case "window-change":
			ok = ss.pty
		case "eow@openssh.com": // "end of write": nobody reads what ssh passes on, as when git was killed and its ssh was not
			ss.cancel(ErrGone)
			ok = true
		case "signal":
			ss.cancel(errInterrupted)
			ok = true
		case "shell", "exec":
			var line struct{ Value string }
			if started || r.Type == "exec" && gossh.Unmarshal(r.Payload, &line) != nil {
				break
			}
			if !s.enter() {
				break
			}
			idle.Stop()
			started, ok = true, true
			c.sessions.Add(1)
			c.commands.Add(1)
			_ = r.Reply(true, nil) // before anything that the command says
			go func() {
				defer s.leave()
				defer c.commandEnded()
				ss.run(line.Value)
			}()
			continue
		}
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
	}
}

// run serves one command from beginning to end.
func (ss *Session) run(line string) {
	started := time.Now()
	stop := context.AfterFunc(ss.server.base, func() { ss.cancel(ErrShutdown) })
	defer stop()
	o := ss.dispatch(line)
	ss.release()
	ss.last.Lock() // from here on nobody else speaks
	ss.over = true
	ss.last.Unlock()
	if ss.revoked.Load() {
		ss.Tell(context.Cause(ss.ctx))
		o.Status = max(o.Status, 1)
	}
	if ss.cause != "" {
		o.Result += "; cause: " + ss.cause
	}
	ss.conn.audit(ss.key, ss.id.String(), o.What, fmt.Sprintf("%s (status %d, %v)", app.Plain(o.Result), o.Status, time.Since(started).Round(time.Millisecond)))
	// The status comes before the end of the output (RFC 4254, 6.10): a client that sees the end first reports 0.
	_, _ = ss.ch.SendRequest("exit-status", false, gossh.Marshal(struct{ Status uint32 }{uint32(o.Status)}))
	_ = ss.ch.CloseWrite()
	if o.Drain {
		ss.drain()
	}
	_ = ss.ch.Close()
	ss.cancel(ErrGone)
}

// serialReader lets one reader in at a time. The indexer may still be waiting for input when the rest of it is drained, and
// the end of a channel wakes only one of those who wait for it. It also watches that who waits does not wait for too long.
type serialReader struct {
	mu      sync.Mutex
	r       io.Reader
	waiting atomic.Pointer[waitLimit]
}

// waitLimit is how long to wait for input, and what to do then. late is called once at most.
type waitLimit struct {
	limit time.Duration
	late  func()
	once  sync.Once
}

// wait sets how long every read from now on may take; 0 is for ever. It returns what takes that back.
func (s *serialReader) wait(limit time.Duration, late func()) (done func()) {
	p := &waitLimit{limit: limit, late: late}
	s.waiting.Store(p)
	return func() { s.waiting.CompareAndSwap(p, nil) }
}

func (s *serialReader) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.waiting.Load(); p != nil {
		t := awake.AfterFunc(p.limit, func() {
			if s.waiting.Load() == p { // else it is not waited for any more
				p.once.Do(p.late)
			}
		})
		defer t.Stop()
	}
	return s.r.Read(b)
}

// drainTime is how long a refused client may go on sending, and drainSilence how long it may send nothing: some wait for the end of the channel
// before they close theirs.
const (
	drainTime    = 10 * time.Second
	drainSilence = 2 * time.Second
)

// drain reads what the client still sends.
func (ss *Session) drain() {
	end := func() { _ = ss.ch.Close() }
	defer time.AfterFunc(drainTime, end).Stop()
	silence := time.AfterFunc(drainSilence, end)
	defer silence.Stop()
	buf := make([]byte, 32<<10)
	for {
		if _, err := ss.raw.Read(buf); err != nil {
			return
		}
		silence.Reset(drainSilence)
	}
}

func (ss *Session) dispatch(line string) (o Outcome) {
	defer func() {
		if p := recover(); p != nil {
			ss.server.opts.Log("ssh %s: panic in %q: %v\n%s", ss.remote, app.Clip(line, 200), p, debug.Stack())
			o = Outcome{What: o.What, Result: "internal error", Status: 1}
		}
	}()
	ss.asked = ss.server.rechecks()
	key, err := ss.server.identify(ss.ctx, ss.id, ss.remote) // anew: a removed key, and a certificate out of its time, end with the next command
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

// command hands a command over to the rest of gitd.
func (ss *Session) command(words []string) Outcome {
	what := fmt.Sprintf("%q", app.Clip(strings.Join(words, " "), 200))
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

// terminalInput passes on what a terminal sends, and ends the session at Ctrl-C, which arrives as a byte there.
func (ss *Session) terminalInput() io.Reader {
	r, w := io.Pipe()
	keys := make(chan []byte, 64)
	go func() {
		defer close(keys)
		buf := make([]byte, 1024)
		for {
			n, err := ss.in.Read(buf)
			if err != nil {
				return
			}
			for _, c := range buf[:n] {
				if c == 3 {
					ss.cancel(errInterrupted)
				}
			}
			select {
			case keys <- append([]byte(nil), buf[:n]...):
			default: // nobody reads: typing ahead has its limits
			}
		}
	}()
	go func() {
		for k := range keys {
			if _, err := w.Write(k); err != nil {
				return
			}
		}
		_ = w.Close()
	}()
	context.AfterFunc(ss.ctx, func() { _ = r.CloseWithError(io.EOF) })
	return r
}

// terminalWriter ends lines as terminals want it.
type terminalWriter struct{ w io.Writer }

func (t *terminalWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(t.w, strings.ReplaceAll(string(p), "\n", "\r\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// setEnv takes an environment variable that the client sets, where it is one that verbs read.
func (ss *Session) setEnv(name, value string) bool {
	check := ss.server.opts.Env[name]
	if check == nil || len(value) > maxEnvValue {
		return false
	}
	checked, ok := check(value)
	if !ok {
		return false
	}
	if ss.env == nil {
		ss.env = map[string]string{}
	}
	ss.env[name] = checked
	return true
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
