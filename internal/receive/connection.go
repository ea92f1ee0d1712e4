package receive

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

type contextKey string

// connKey is where gliderlabs/ssh's context of a connection holds our *connection.
const connKey contextKey = "gitd-connection"

// connection is one TCP connection.
type connection struct {
	net.Conn
	server   *Server
	heard    atomic.Int64 // when the client said something last, in Unix nanoseconds
	channels atomic.Int32 // open now
	sessions atomic.Int32 // commands ever
	preAuth  gossh.ServerPreAuthConn

	mu      sync.Mutex
	unknown []string // fingerprints that were offered and are not registered

	once       sync.Once
	waitOnce   sync.Once
	authOnce   sync.Once
	identified atomic.Bool
}

// accept is gliderlabs/ssh's ConnCallback: it counts the connection, and starts to watch it.
func (s *Server) accept(ctx ssh.Context, raw net.Conn) net.Conn {
	c := &connection{Conn: raw, server: s}
	c.heard.Store(time.Now().UnixNano())
	s.mu.Lock()
	full := len(s.connections) >= s.opts.MaxConnections || s.handshaking >= max(1, s.opts.MaxConnections/2)
	if !full && !s.draining {
		s.connections[c] = struct{}{}
		s.handshaking++
	}
	draining := s.draining
	s.mu.Unlock()
	if full || draining {
		if full {
			s.opts.Log("ssh %s key=- - -: refused: too many connections", raw.RemoteAddr())
			_ = raw.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = io.WriteString(raw, "gitd: too many connections, try again in a moment\r\n") // RFC 4253, 4.2 allows lines before the version
		}
		return nil
	}
	ctx.SetValue(connKey, c)
	go c.watch(ctx)
	return c
}

// watch closes a connection that does not authenticate in time, and one whose client says nothing, not even an answer to the
// question whether it is there, for IdleTimeout.
func (c *connection) watch(ctx ssh.Context) {
	o := c.server.opts
	t := time.NewTimer(o.HandshakeTimeout)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return
	case <-t.C:
	}
	conn, _ := ctx.Value(ssh.ContextKeyConn).(*gossh.ServerConn)
	if conn == nil || !c.identified.Load() {
		_ = c.Close()
		return
	}
	asking := make(chan struct{})
	ask := time.NewTicker(o.KeepAlive)
	defer ask.Stop()
	go func() { // a question may wait long for its answer, and for room in the client's buffers
		for range asking {
			if _, _, err := conn.SendRequest("keepalive@openssh.com", true, nil); err != nil {
				_ = c.Close()
			}
		}
	}()
	defer close(asking)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ask.C:
		}
		if time.Since(time.Unix(0, c.heard.Load())) > o.IdleTimeout {
			o.Log("ssh %s: the client does not answer any more", c.RemoteAddr())
			_ = c.Close()
			return
		}
		select {
		case asking <- struct{}{}:
		default: // the last question is not answered yet
		}
	}
}

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

// authenticated is called when the client has proven who it is.
func (c *connection) authenticated() {
	c.authOnce.Do(func() {
		c.identified.Store(true)
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		c.server.handshaking--
	})
}

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Store(time.Now().UnixNano())
	}
	if !c.identified.Load() {
		c.acknowledge()
	}
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
		waiting := false
		c.authOnce.Do(func() { waiting = true }) // it never authenticated: its place is given back here
		c.server.mu.Lock()
		if waiting {
			c.server.handshaking--
		}
		delete(c.server.connections, c)
		c.server.mu.Unlock()
		switch { // a connection with commands has a line for each of them
		case waiting:
			c.server.opts.Log("ssh %s key=- %s -: not authenticated", c.RemoteAddr(), orDash(strings.Join(c.unknownKeys(), ",")))
		case c.sessions.Load() == 0:
			c.server.opts.Log("ssh %s key=- - -: authenticated, and asked for nothing", c.RemoteAddr())
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
