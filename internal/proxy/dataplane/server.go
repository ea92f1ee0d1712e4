package dataplane

import (
	"bytes"
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves clients for a Plane: plain requests in HTTP/1.1 itself (session), the others by net/http.
type Server struct {
	http    *http.Server
	plane   func() *Plane
	leaving func() bool
	handed  chan net.Conn // to net/http
	over    chan struct{} // closed when net/http takes no more
	once    sync.Once
	closing atomic.Bool // each session ends with its request

	patience time.Duration // headTime, but in tests

	mu       sync.Mutex // mu guards the following
	sessions map[*session]struct{}
}

// Serving returns a Server for what plane returns, which may change. While leaving returns true, the answer to a request is the last of its connection.
func Serving(plane func() *Plane, leaving func() bool) *Server {
	s := &Server{plane: plane, leaving: leaving, handed: make(chan net.Conn), over: make(chan struct{}), patience: headTime, sessions: map[*session]struct{}{}}
	s.http = NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r, ok := extended(w, r)
		if !ok {
			return
		}
		if leaving() && r.Header.Get("Upgrade") == "" {
			w.Header().Set("Connection", "close") // the client comes back to the next proxy; over HTTP/2 it is a GOAWAY
		}
		plane().ServeHTTP(w, r)
	}))
	go func() { _ = s.http.Serve((*handedOver)(s)) }()
	return s
}

// handedOver is the listener from which net/http gets what sessions leave to it.
type handedOver Server

// Accept returns the next connection.
func (h *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.handed:
		return c, nil
	case <-h.over:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (h *handedOver) Close() error {
	h.once.Do(func() { close(h.over) })
	return nil
}

// Addr is not used.
func (h *handedOver) Addr() net.Addr { return &net.TCPAddr{} }

func (s *Server) handOver(c net.Conn) {
	select {
	case s.handed <- c:
	case <-s.over:
		_ = c.Close()
	}
}

// Serve serves the connections of a listener that Bound or Plane.TLS has returned, until that is closed. They are served on then.
func (s *Server) Serve(l net.Listener) error {
	var wait time.Duration
	for {
		c, err := l.Accept()
		if err != nil {
			if e, ok := err.(interface{ Temporary() bool }); ok && e.Temporary() && !errors.Is(err, net.ErrClosed) { // no descriptor is left, for a moment
				wait = min(max(2*wait, 5*time.Millisecond), time.Second)
				time.Sleep(wait)
				continue
			}
			return err
		}
		wait = 0
		client, ok := remote(c)
		if !ok {
			s.handOver(c)
			continue
		}
		one := newSession(s, c, client)
		s.mu.Lock()
		s.sessions[one] = struct{}{}
		s.mu.Unlock()
		go one.serve()
	}
}

func (s *Server) forget(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, one)
}

// CloseIdle has each connection end with the answer to the request that it has, and at once where it has none.
func (s *Server) CloseIdle() {
	s.http.SetKeepAlivesEnabled(false)
	s.closing.Store(true)
	s.closeIdle()
}

// newTime is how long a connection may wait for its first request while others are closed.
const newTime = 5 * time.Second

// closeIdle closes the sessions without a request, and returns how many are left.
func (s *Server) closeIdle() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.sessions {
		if one.state.CompareAndSwap(idle, ended) || time.Since(one.began) > newTime && one.state.CompareAndSwap(fresh, ended) {
			_ = one.client.Close()
		}
	}
	return len(s.sessions)
}

// Shutdown takes nothing more, and returns when what is under way was answered.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closing.Store(true)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.closeIdle() > 0 && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return s.http.Shutdown(ctx)
}

// Close closes all connections.
func (s *Server) Close() error {
	s.closing.Store(true)
	err := s.http.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.sessions {
		_ = one.client.Close()
	}
	return err
}

// Bound returns a listener that lets clients in within the limits. It is for a server of NewServer.
func Bound(l net.Listener, limits Limits) net.Listener {
	plain, _ := BoundBoth(l, nil, limits)
	return plain
}

// BoundBoth is Bound for two listeners that share the limits. Clients of the second speak TLS; it may be nil.
func BoundBoth(plain, secure net.Listener, limits Limits) (net.Listener, net.Listener) {
	f := &front{limits: limits, peers: map[netip.Addr]*peer{}}
	if secure != nil {
		secure = &listener{secure, f, true}
	}
	return &listener{plain, f, false}, secure
}

// NewServer returns a server for handler that speaks HTTP/1.1 and HTTP/2, over TLS where its listener does, and holds out against clients that
// send slowly or never: a handshake and headers within 10 seconds each and at most 64 KiB of them, idle connections closed after two minutes.
// Bodies have no deadline, since an upload or a stream may take its time; a revision's timeoutSeconds bounds the rest.
func NewServer(handler http.Handler) *http.Server {
	s := &http.Server{
		ErrorLog:                     log.New(quietHandshakes{}, "", 0),
		Handler:                      counted{handler},
		ConnContext:                  note,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is for the app
		ReadHeaderTimeout:            10 * time.Second,
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               64 << 10,
		Protocols:                    new(http.Protocols),
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: 250, SendPingTimeout: 30 * time.Second},
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true) // over TLS
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// quietHandshakes is the log without what any client can fill it with.
type quietHandshakes struct{}

func (quietHandshakes) Write(b []byte) (int, error) {
	if !bytes.Contains(b, []byte("TLS handshake error")) {
		log.Print(string(bytes.TrimSuffix(b, []byte("\n"))))
	}
	return len(b), nil
}
