package dataplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// session is a client's connection while one goroutine does all that there is to do on it: reads a request, sends it over a link, and passes the answer on. net/http's
// server takes two goroutines for that, and sets four deadlines. What is not plain is left to net/http: the connection with all that was read of it, for the rest of its life.
type session struct {
	server *Server
	conn   net.Conn // client, or a *tls.Conn over it
	client *connection
	secure *tls.ConnectionState // nil without TLS
	told   []byte               // the client's address, for the app
	state  atomic.Int32
	began  time.Time
	until  time.Time // the deadline of reads; zero for none

	buffer   []byte // what was read and not yet used is buffer[from:to]
	from, to int
	asks     request
	at       place
	x        exchange
	p        passage
	body     flow
	now      func() error // flush, and refill: made once
	more     func() error
	spare    *[]byte // the buffer of out
	out      []byte  // the request to the app, then what is to be written to the client
	answers  bool    // the answer has begun
	closes   bool    // it says that it is the connection's last one
}

// The states of a session.
const (
	fresh = iota // before the first request
	idle
	busy
	ended // closed by another goroutine
)

const (
	headTime  = 10 * time.Second // for a handshake, and for a head
	quietTime = 2 * time.Minute  // between requests
	quietMore = 30 * time.Second // that it may last longer: the deadline is not moved with each request
	bodyTime  = 10 * time.Millisecond
	lookTime  = 200 * time.Millisecond // how often a request under way looks for its client, at first;
	lookShare = 4                      // then, after this part of the time that it has taken,
	lookMost  = 5 * time.Second        // at most: thousands of streams without an event cost little
)

// errGone: the client went away.
var errGone = errors.New("the client went away")

func newSession(server *Server, conn net.Conn, client *connection) *session {
	s := &session{server: server, conn: conn, client: client, began: time.Now(), buffer: make([]byte, linkBuffer), told: []byte(address(client.RemoteAddr().String()))}
	s.p.client = s
	s.now, s.more = s.flush, s.refill
	return s
}

// serve serves the connection until it ends or is net/http's.
func (s *session) serve() {
	over := false // to net/http
	defer func() {
		if err := recover(); err != nil {
			log.Printf("panic serving %s: %v\n%s", s.told, err, debug.Stack())
			over = false
		}
		if s.server.forget(s); !over {
			_ = s.conn.Close()
		}
	}()
	if !s.handshake() {
		over = true
		s.leave(nil)
		return
	}
	for s.await() {
		switch b, err := s.request(); {
		case errors.Is(err, errNotPlain):
			over = true
			s.leave(b)
			return
		case err != nil:
			return
		}
	}
}

// handshake says whether the connection is one for HTTP/1.
func (s *session) handshake() bool {
	t, ok := s.conn.(*tls.Conn)
	if !ok {
		return true
	}
	_ = t.SetDeadline(time.Now().Add(s.server.patience))
	err := t.HandshakeContext(context.Background())
	_ = t.SetDeadline(time.Time{})
	if err != nil { // net/http knows what to say
		return false
	}
	state := t.ConnectionState()
	s.secure = &state
	return state.NegotiatedProtocol == "" || state.NegotiatedProtocol == "http/1.1"
}

// leave has net/http serve the connection.
func (s *session) leave(b *begun) {
	_ = s.conn.SetReadDeadline(time.Time{})
	unread := s.buffer[s.from:s.to:s.to]
	if b != nil {
		s.client.begun.Store(s.alike(b))
	}
	if len(unread) > 0 && s.conn != net.Conn(s.client) {
		s.server.handOver(&secureConn{s.conn.(*tls.Conn), unread})
		return
	}
	s.client.unread = unread
	s.server.handOver(s.conn)
}

// alike has an answer that net/http makes say what all others do: it goes past the Plane.
func (s *session) alike(b *begun) *begun {
	hsts, leaving := s.at.hsts, s.server.leaving
	return &begun{drop: b.drop, serve: func(w http.ResponseWriter, q *http.Request) {
		if hsts != "" {
			w.Header()["Strict-Transport-Security"] = []string{hsts}
		}
		if leaving() {
			w.Header().Set("Connection", "close")
		}
		b.serve(w, q)
	}}
}

// secureConn is a connection over TLS of which a session has read.
type secureConn struct {
	*tls.Conn
	unread unread
}

// Read reads what the session has left, then from the connection.
func (c *secureConn) Read(b []byte) (int, error) {
	if len(c.unread) > 0 {
		return c.unread.take(b), nil
	}
	return c.Conn.Read(b)
}

// await waits for the beginning of a request.
func (s *session) await() bool {
	if s.from == s.to {
		s.slim()
		s.state.CompareAndSwap(busy, idle)
		if s.state.Load() == fresh { // also while others are closed: its request may be on its way
			s.limit(s.began.Add(s.server.patience), 0)
		} else if s.server.closing.Load() {
			return false
		} else {
			s.limit(time.Now().Add(quietTime), quietMore)
		}
		if s.read() != nil {
			return false
		}
	}
	return s.state.CompareAndSwap(idle, busy) || s.state.CompareAndSwap(fresh, busy) || s.state.Load() == busy
}

// What a connection keeps between two requests, at most.
const (
	keptBuffer = 2 * linkBuffer
	keptFields = 64
)

// slim gives up what a request has needed that was larger than usual, and what belongs to its link.
func (s *session) slim() {
	s.from, s.to = 0, 0
	if s.state.Load() == fresh {
		return
	}
	clear(s.p.answer.fields)
	s.body, s.x.revision = flow{}, nil
	if len(s.buffer) > keptBuffer {
		s.buffer, s.asks = make([]byte, linkBuffer), request{}
	}
	if cap(s.asks.fields) > keptFields {
		s.asks = request{}
	}
	if cap(s.p.answer.fields) > keptFields {
		s.p.answer.fields = nil
	}
}

// limit has reads end at a time, or a little later.
func (s *session) limit(t time.Time, later time.Duration) {
	if s.until.Before(t) || s.until.After(t.Add(later)) {
		s.until = t.Add(later)
		_ = s.conn.SetReadDeadline(s.until)
	}
}

// read reads more of the client.
func (s *session) read() error {
	if s.to == len(s.buffer) {
		if s.from > 0 {
			s.to = copy(s.buffer, s.buffer[s.from:s.to])
			s.from = 0
		} else {
			s.buffer = append(s.buffer, make([]byte, len(s.buffer))...)
		}
	}
	n, err := s.conn.Read(s.buffer[s.to:])
	if s.to += n; n > 0 {
		return nil
	}
	return err
}

// head reads on until the head of a request is there, and returns its length; 0 where net/http is to look at what was read.
func (s *session) head() (int, error) {
	for looked := 0; ; {
		b := s.buffer[s.from:s.to]
		if n := end(b, looked); n > 0 {
			return n, nil
		}
		if len(b) >= mostHead || !isToken[b[0]] || bareLF(b, looked) || bytes.HasPrefix(b, []byte("PRI ")) {
			return 0, errNotPlain
		}
		if looked == 0 {
			s.limit(time.Now().Add(s.server.patience), 0)
		}
		looked = len(b)
		if err := s.read(); err != nil {
			return 0, err
		}
	}
}

// whole reads on until as much as that is there of a request, for a moment.
func (s *session) whole(n int) bool {
	if s.to-s.from >= n {
		return true
	}
	if n > mostHead {
		return false
	}
	for s.limit(time.Now().Add(bodyTime), 0); s.to-s.from < n; {
		if s.read() != nil {
			return false // net/http sees it too
		}
	}
	return true
}

// begin has reads of a link end now and then, to look for the client and the time.
func (s *session) begin(l *link) {
	now := s.x.began
	if left := l.until.Sub(now); left < lookTime/2 || left > lookTime || !s.x.deadline.IsZero() && l.until.After(s.x.deadline) {
		s.look(l, now)
	}
}

// look sets when to look the next time.
func (s *session) look(l *link, now time.Time) {
	t := now.Add(min(max(now.Sub(s.x.began)/lookShare, lookTime), lookMost))
	if d := s.x.deadline; !s.answers && !d.IsZero() && t.After(d) {
		t = d
	}
	l.limit(t)
	l.until = t
}

// fill reads more of an answer.
func (s *session) fill(l *link) error {
	for {
		err := l.fill()
		if err == nil || !isTimeout(err) {
			return err
		}
		if err := s.still(l, err); err != nil {
			return err
		}
	}
}

// still says why an answer is not waited for any longer, after a read that timed out.
func (s *session) still(l *link, err error) error {
	now := time.Now()
	if d := s.x.deadline; !s.answers && !d.IsZero() && !now.Before(d) {
		return err
	}
	if s.gone() {
		return errGone
	}
	s.look(l, now)
	return nil
}

// gone says whether the client has closed its side, as net/http's server would see it.
func (s *session) gone() (yes bool) {
	raw, err := s.client.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		look := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(look, 0)
		yes = err == nil && n > 0
	})
	return yes || err != nil
}

// context is for a dial: an instance that does not answer at once is left to net/http's way.
func (s *session) context() context.Context {
	c, cancel := context.WithTimeout(context.Background(), lookTime)
	context.AfterFunc(c, cancel)
	return c
}

func (s *session) watch(*link) {}

func (s *session) rest() error { return nil }
