package sshd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
)

type contextKey string

// connKey is where gliderlabs/ssh's context of a connection holds our *connection.
const connKey contextKey = "gitd-connection"

// connection is one TCP connection. What is called of it, in this order:
//
//  1. Server.accept: it is counted, or refused; from here on watch looks after it
//  2. Server.config: which algorithms are agreed to
//  3. keysExchanged: from here on a banner can be shown
//  4. Server.offered: for each key that the client offers. It decides nothing: the client may not hold the key
//  5. Server.verified: for a key that the client has proven to hold. It calls authenticated, which is where the connection gets its identity
//  6. authLog: after each try to authenticate, good or not
//  7. Server.serveSession: for each channel, in a goroutine of its own; Session.run is its command. refuseChannel and refuseRequest answer all else
//  8. revoke: when the key has lost its rights
//  9. Close: it is counted out
//  10. Server.handshakeFailed, which writes the line of a connection that never authenticated; logEnd of any other
type connection struct {
	net.Conn
	server  *Server
	address netip.Addr // what it is counted by
	began   time.Time
	heard   atomic.Int64 // when the client said something last, in Unix nanoseconds
	used    atomic.Int64 // when it last was of use, in Unix nanoseconds: it came, authenticated, or a command ended

	channels  atomic.Int32 // open now
	commands  atomic.Int32 // running now
	sessions  atomic.Int32 // commands ever
	rejecting atomic.Int32 // channels that are being refused

	identified atomic.Bool // changes under the server's mu
	promising  atomic.Bool // has offered a key that would do
	tried      atomic.Bool // to authenticate
	cutOff     atomic.Bool
	waitOnce   sync.Once
	once       sync.Once

	// mu guards the following.
	mu       sync.Mutex
	preAuth  gossh.ServerPreAuthConn // nil until keys are exchanged
	unknown  []string                // keys that were offered and are of no use
	id       Identity                // zero until verified
	key      app.Key
	reason   string // why it ended, where it was us or a failed handshake
	requests bucket
}

// Bounds on what one connection may ask for, whatever it is: channels, commands, environment, window sizes, keep-alives.
const (
	requestsAtOnce    = 1000
	requestsPerSecond = 100
	proofTimes        = 5  // times HandshakeTimeout more for the proof of a registered key: people type passphrases and touch security keys
	maxRejecting      = 64 // channels that are being refused to a client that does not read the answers
)

// cut ends a connection, and keeps why.
func (c *connection) cut(reason string) {
	c.explain(reason)
	if !c.cutOff.Swap(true) && c.sessions.Load() > 0 { // the lines of its commands do not say it
		c.server.opts.Log("ssh %s: cut off: %s", c.RemoteAddr(), reason)
	}
	_ = c.Close()
}

// explain keeps why the connection ends; the first reason counts.
func (c *connection) explain(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason == "" {
		c.reason = reason
	}
}

// asked counts a request of the client, of whatever kind. It returns false, and the connection is over, when there are too many.
func (c *connection) asked() bool {
	c.mu.Lock()
	ok := c.requests.take(time.Now(), requestsAtOnce, requestsPerSecond)
	c.mu.Unlock()
	if !ok {
		c.cut("too many requests")
	}
	return ok
}

// reject refuses a channel. The answers to a client that does not read them must not pile up.
func (c *connection) reject(offered gossh.NewChannel, why gossh.RejectionReason, message string) {
	if c.rejecting.Add(1) > maxRejecting {
		c.cut("too many channels")
	}
	_ = offered.Reject(why, message)
	c.rejecting.Add(-1)
}

// handshakeFailed is gliderlabs/ssh's ConnectionFailedCallback: it writes the line of a connection that never authenticated. Only here
// is it known why; the connection itself is closed before.
func (s *Server) handshakeFailed(failed net.Conn, err error) {
	remote := failed.RemoteAddr()
	s.mu.Lock()
	c := s.unproven[remote]
	delete(s.unproven, remote)
	s.mu.Unlock()
	if c == nil {
		return
	}
	var tries *gossh.ServerAuthError // which keys those were is in the line anyway
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.As(err, &tries) {
		c.explain(plain(strings.Join(strings.Fields(err.Error()), " "), 300))
	}
	result := "not authenticated"
	if reason := c.why(); reason != "" {
		result += ": " + reason
	}
	line := c.auditLine(app.Key{}, strings.Join(c.unknownKeys(), ","), "", fmt.Sprintf("%s (%v)", result, c.lasted()))
	s.strangers.log(s.opts.now(), s.opts.Log, line)
}

// why returns the reason that explain has kept.
func (c *connection) why() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

func (c *connection) lasted() time.Duration { return time.Since(c.began).Round(time.Millisecond) }

// disconnectByUser is how x/crypto words SSH_DISCONNECT_BY_APPLICATION (RFC 4253, 11.1).
const disconnectByUser = "ssh: disconnect, reason 11:"

// logEnd notes a connection that ended in another way than by the client closing it.
func (c *connection) logEnd(conn *gossh.ServerConn) {
	err := conn.Wait()
	if err != nil && strings.HasPrefix(err.Error(), disconnectByUser) {
		return // how OpenSSH says goodbye
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		c.server.opts.Log("ssh %s: the connection broke: %v", c.RemoteAddr(), err)
	}
}

// keysExchanged is x/crypto's PreAuthConnCallback.
func (c *connection) keysExchanged(p gossh.ServerPreAuthConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.preAuth = p
}

// authLog is x/crypto's AuthLogCallback. Clients ask with "none" what there is; all else is a try.
func (c *connection) authLog(_ gossh.ConnMetadata, method string, _ error) {
	if method != "none" {
		c.tried.Store(true)
	}
}

// refuseChannel answers all but sessions: nothing is forwarded.
func (s *Server) refuseChannel(_ *ssh.Server, _ *gossh.ServerConn, offered gossh.NewChannel, ctx ssh.Context) {
	if c, _ := ctx.Value(connKey).(*connection); c != nil && c.asked() {
		c.reject(offered, gossh.UnknownChannelType, "unsupported channel type")
	}
}

// refuseRequest answers requests that concern no channel, such as for forwarding and keep-alives.
func (s *Server) refuseRequest(ctx ssh.Context, _ *ssh.Server, _ *gossh.Request) (ok bool, payload []byte) {
	if c, _ := ctx.Value(connKey).(*connection); c != nil {
		c.asked()
	}
	return false, nil
}

// authenticated is called when the client has proven who it is. It returns false for a connection that is over already.
func (c *connection) authenticated(id Identity, key app.Key) bool {
	c.used.Store(time.Now().UnixNano())
	c.mu.Lock()
	c.id, c.key = id, key
	c.mu.Unlock()
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if _, ok := c.server.connections[c]; !ok {
		return false
	}
	if !c.identified.Swap(true) {
		c.server.handshaking--
		delete(c.server.unproven, c.RemoteAddr())
	}
	return true
}

// commandEnded counts a command out.
func (c *connection) commandEnded() {
	c.used.Store(time.Now().UnixNano())
	c.commands.Add(-1)
}

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Store(time.Now().UnixNano())
		c.server.received.Add(int64(n))
	}
	if !c.identified.Load() {
		c.acknowledge()
	}
	return n, err
}

func (c *connection) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.server.sent.Add(int64(n))
	return n, err
}

// acknowledge has the kernel acknowledge at once what has arrived; left alone, it waits 40 ms. OpenSSH's client sends the small messages of
// key exchange and authentication with Nagle's algorithm on, so that every second one waits for that.
func (c *connection) acknowledge() {
	t, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := t.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
	}
}

func (c *connection) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		s := c.server
		s.mu.Lock()
		s.forget(c)
		closing := s.draining
		s.mu.Unlock()
		switch { // a connection with commands has a line for each of them
		case !c.identified.Load():
			if !closing {
				weight, result := failedProbe, "probe"
				if c.tried.Load() {
					weight, result = failedLogin, "failed"
				}
				s.opts.Metrics.Authentications.Inc(result)
				s.backoff.failed(c.address, weight, s.opts.now())
			}
		case c.sessions.Load() == 0:
			result := "authenticated, and asked for nothing"
			if reason := c.why(); reason != "" {
				result += ": " + reason
			}
			c.mu.Lock()
			id, key := c.id, c.key
			c.mu.Unlock()
			c.audit(key, id.String(), "", fmt.Sprintf("%s (%v)", result, c.lasted()))
		}
	})
	return err
}

// addUnknown notes a key that is not registered; it returns false for one that was offered before.
func (c *connection) addUnknown(fingerprint string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.unknown, fingerprint) {
		return false
	}
	c.unknown = append(c.unknown, fingerprint)
	return true
}

func (c *connection) unknownKeys() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.unknown)
}
