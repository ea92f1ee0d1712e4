package receive

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/receive/pktline"
)

// Bounds on what one connection may ask for.
const (
	maxChannels = 16 // sessions at a time
	maxEnv      = 64 // environment variables of a session
)

// Why a session ended early.
var (
	errGone        = app.Errorf(app.CodeCancelled, "try again", "the client went away")
	errInterrupted = app.Errorf(app.CodeCancelled, "try again", "interrupted")
	errShutdown    = app.Errorf(app.CodeUnavailable, "push again in a moment", "the server is shutting down")
)

// gitProtocol is what GIT_PROTOCOL may hold (gitprotocol-v2); keys that come after the version are left out.
var gitProtocol = regexp.MustCompile(`^(?:[a-z0-9=._-]+:)*(version=[012])(?::[a-z0-9=._-]+)*$`)

// session is one channel of a connection: one command. It answers the requests itself, since that is how a closed channel
// of a shared connection is noticed at once.
type session struct {
	server   *Server
	ctx      context.Context // ends when the client, the channel or the server goes; its cause says why
	cancel   context.CancelCauseFunc
	ch       gossh.Channel
	raw      *serialReader // of ch
	in       *bufio.Reader // of raw
	conn     *connection
	remote   net.Addr
	id       identity
	key      app.Key
	asked    uint64 // how often rights were rechecked when the key was looked up
	release  func() // what hold returned
	window   func() // gives back what its unread input may take
	revoked  atomic.Bool
	protocol string
	pty      bool
	cause    string // of the failure, for the server's log

	causes sync.Mutex // guards cause while the command runs
	last   sync.Mutex // held while somebody else than the command speaks to the client
	over   bool       // the command has ended; guarded by last
}

// outcome is what a session came to.
type outcome struct {
	what   string // "push hello"
	result string
	status int
	drain  bool // read what the client still sends, so that it gets to reading our answer
}

// and completes o with what came after it.
func (o outcome) and(next outcome) outcome {
	if next.what == "" {
		next.what = o.what
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
	ss := &session{server: s, ch: ch, raw: raw, in: bufio.NewReaderSize(raw, 64<<10), conn: c, remote: conn.RemoteAddr(), id: id, release: func() {}, window: release}
	ss.ctx, ss.cancel = context.WithCancelCause(context.WithoutCancel(ctx)) // so that the cause is ours
	defer context.AfterFunc(ctx, func() { ss.cancel(errGone) })()
	defer ss.cancel(errGone)
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
			if gossh.Unmarshal(r.Payload, &kv) == nil && kv.Key == "GIT_PROTOCOL" && len(kv.Value) <= 256 && !started {
				if m := gitProtocol.FindStringSubmatch(kv.Value); m != nil {
					ss.protocol, ok = m[1], true
				}
			}
		case "pty-req":
			if !started {
				ss.pty, ok = true, true
			}
		case "window-change":
			ok = ss.pty
		case "eow@openssh.com": // "end of write": nobody reads what ssh passes on, as when git was killed and its ssh was not
			ss.cancel(errGone)
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
func (ss *session) run(line string) {
	started := time.Now()
	stop := context.AfterFunc(ss.server.base, func() { ss.cancel(errShutdown) })
	defer stop()
	o := ss.dispatch(line)
	ss.release()
	ss.last.Lock() // from here on nobody else speaks
	ss.over = true
	ss.last.Unlock()
	if ss.revoked.Load() {
		ss.tell(context.Cause(ss.ctx))
		o.status = max(o.status, 1)
	}
	if ss.cause != "" {
		o.result += "; cause: " + ss.cause
	}
	ss.conn.audit(ss.key, ss.id.String(), o.what, fmt.Sprintf("%s (status %d, %v)", app.Plain(o.result), o.status, time.Since(started).Round(time.Millisecond)))
	// The status comes before the end of the output (RFC 4254, 6.10): a client that sees the end first reports 0.
	_, _ = ss.ch.SendRequest("exit-status", false, gossh.Marshal(struct{ Status uint32 }{uint32(o.status)}))
	_ = ss.ch.CloseWrite()
	if o.drain {
		ss.drain()
	}
	_ = ss.ch.Close()
	ss.cancel(errGone)
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
		t := afterAwake(p.limit, func() {
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
func (ss *session) drain() {
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

func (ss *session) dispatch(line string) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			ss.server.opts.Log("ssh %s: panic in %q: %v\n%s", ss.remote, app.Clip(line, 200), p, debug.Stack())
			o = outcome{what: o.what, result: "internal error", status: 1}
		}
	}()
	ss.asked = ss.server.rechecks()
	key, err := ss.server.identify(ss.ctx, ss.id, ss.remote) // anew: a removed key, and a certificate out of its time, end with the next command
	if err != nil {
		ss.tell(err)
		return outcome{result: oneLine(err), status: 1}
	}
	ss.key = key
	words, err := split(line)
	if err != nil {
		ss.tell(app.Errorf(app.CodeInvalidInput, "quote its words as for a POSIX shell", "%v", err))
		return outcome{result: err.Error(), status: 2}
	}
	if len(words) == 0 {
		ss.greet()
		return outcome{what: "shell", result: "greeted"}
	}
	if len(words) > 1 && words[0] == "git" { // "git receive-pack" is how some libraries call it
		switch words[1] {
		case "receive-pack", "upload-pack", "upload-archive":
			words = append([]string{"git-" + words[1]}, words[2:]...)
		}
	}
	switch words[0] {
	case "git-receive-pack", "git-upload-pack":
		if len(words) != 2 {
			return ss.refuse(app.Errorf(app.CodeInvalidInput, "name one app: ssh://git@HOST:PORT/my-app", "%s takes the name of an app", words[0]))
		}
		if words[0] == "git-receive-pack" {
			return ss.server.receivePack(ss, words[1])
		}
		return ss.server.uploadPack(ss, words[1])
	case "git-lfs-transfer":
		return ss.server.largeFiles(ss, words[1:])
	case "git-lfs-authenticate": // what Git LFS asks where the transfer over SSH has failed, and before 3.0 at once
		ss.tell(app.Errorf(app.CodeInvalidInput, "install Git LFS 3.0 or newer, which transfers over SSH; where it is there: git config lfs.ssh.autoMultiplex false", "Git LFS works over SSH only"))
		return outcome{what: words[0], result: "refused", status: 1}
	case "git-upload-archive":
		ss.tell(app.Errorf(app.CodeInvalidInput, "use: git clone", "git archive is not served"))
		return outcome{what: words[0], result: "refused", status: 1}
	}
	return ss.command(words)
}

// hold has end called when the key has lost its right: app.VerbUse where no app is concerned.
func (ss *session) hold(name string, id int64, verb app.Verb, end func(error)) error {
	release, err := ss.server.hold(ss.ctx, ss.asked, &lease{key: ss.key, name: name, id: id, verb: verb, end: end})
	ss.release = release
	return err
}

// end has the command end, and its client told why; the channel goes where that takes long.
func (ss *session) end(err error) {
	ss.revoked.Store(true)
	ss.cancel(err)
	time.AfterFunc(lastWords, func() { _ = ss.ch.Close() })
}

// command hands a command over to the rest of gitd.
func (ss *session) command(words []string) outcome {
	what := fmt.Sprintf("%q", app.Clip(strings.Join(words, " "), 200))
	if err := ss.hold("", 0, app.VerbUse, ss.end); err != nil {
		ss.tell(err)
		return outcome{what: what, result: oneLine(err), status: 1}
	}
	var stdin io.Reader = ss.in
	var stdout, stderr io.Writer = ss.ch, ss.ch.Stderr()
	if !ss.server.opts.Handler.ReadsInput(words) {
		if !ss.pty { // a terminal's is read for Ctrl-C
			ss.dropInput()
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
	return outcome{what: what, result: result, status: status}
}

// greet answers who asks for a shell.
func (ss *session) greet() {
	var w io.Writer = ss.ch
	if ss.pty {
		w = &terminalWriter{w: w}
	}
	fmt.Fprintf(w, "Hello %s, this is gitd. There is no shell here.\n\n"+
		"  deploy:    git remote add platform ssh://git@HOST:PORT/my-app\n"+
		"             git push platform main\n"+
		"  commands:  ssh -p PORT git@HOST help\n", ss.key.Name)
}

// refuse tells a git client, before the advertisement, why it is turned away: "fatal: remote error: …".
func (ss *session) refuse(err error) outcome {
	message, next := app.Explain(err)
	if next != "" {
		message += "\n" + next
	}
	_, _ = ss.ch.Write(pktline.Append(nil, "ERR "+message))
	ss.keepCause(err)
	return outcome{what: "git", result: "refused: " + oneLine(err), status: 128}
}

// tell explains err to a person at the other end of a command.
func (ss *session) tell(err error) {
	message, next := app.Explain(err)
	if next != "" {
		next = "gitd: " + next + "\n"
	}
	fmt.Fprintf(ss.ch.Stderr(), "gitd: %s\n%s", message, next)
	ss.keepCause(err)
}

// keepCause keeps for the operator's line of the log what is not for the client's eyes. What the client is told is in it anyway.
func (ss *session) keepCause(err error) {
	cause := app.Cause(err)
	if cause == "" || cause == ErrIncomplete.Error() {
		return
	}
	ss.causes.Lock()
	defer ss.causes.Unlock()
	ss.cause = app.Clip(strings.Join(strings.Fields(cause), " "), maxCause)
}

// maxCause is how many bytes of a cause are logged.
const maxCause = 2000

// gone is called when a write to the client fails.
func (ss *session) gone(error) {
	ss.cancel(errGone)
	go ss.ch.Close() // frees a writer that hangs; may hang itself until the connection's keepalive ends it
}

// giveUp ends a session whose client is waited for in vain, and says so.
func (ss *session) giveUp(err error) {
	end := func() {
		ss.cancel(err)
		_ = ss.ch.Close()
	}
	t := time.AfterFunc(lastWords, end) // it may not read what it is told
	ss.last.Lock()
	if !ss.over {
		ss.tell(err)
	}
	ss.last.Unlock()
	t.Stop()
	end()
}

// terminalInput passes on what a terminal sends, and ends the session at Ctrl-C, which arrives as a byte there.
func (ss *session) terminalInput() io.Reader {
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
