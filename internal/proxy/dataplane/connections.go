package dataplane

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bound what clients may have open. What is zero has no bound.
type Limits struct {
	Connections int            // at once, of all clients; and requests at once
	PerAddress  int            // of one IPv4 address or IPv6 /64, the same
	Proxies     []netip.Prefix // proxies of many clients, without the bound of one address
	Seen        *Connections   // counts; nil: nothing is counted
	Stalled     time.Duration  // how long a client may take nothing of what is sent to it; 0 for five minutes
}

// front counts connections and requests by the address they come from.
type front struct {
	limits   Limits
	requests atomic.Int64

	mu sync.Mutex // mu guards the following

	count int
	peers map[netip.Addr]*peer
}

// peer is an address with connections.
type peer struct {
	address     netip.Addr
	proxy       bool
	requests    atomic.Int64
	connections map[*connection]struct{} // guarded by the front's mu
}

// connection is one that was let in.
type connection struct {
	*net.TCPConn
	front    *front
	peer     *peer
	requests atomic.Int64 // under way
	since    atomic.Int64 // Unix nanoseconds: it has none since
	once     sync.Once
	unread   unread                // what a session read, and leaves to net/http
	begun    atomic.Pointer[begun] // the first request of that, where a session has begun to serve it
}

// Read reads what a session has left, then from the connection.
func (c *connection) Read(b []byte) (int, error) {
	if len(c.unread) > 0 {
		return c.unread.take(b), nil
	}
	return c.TCPConn.Read(b)
}

// unread is what was read of a connection by another than its reader.
type unread []byte

// take is the Read of what there is.
func (u *unread) take(b []byte) int {
	n := copy(b, *u)
	if *u = (*u)[n:]; len(*u) == 0 {
		*u = nil
	}
	return n
}

// WriteTo is what io.Copy prefers to Read.
func (c *connection) WriteTo(w io.Writer) (n int64, err error) {
	if len(c.unread) > 0 {
		first, err := w.Write(c.unread)
		if c.unread = nil; err != nil {
			return int64(first), err
		}
		n = int64(first)
	}
	rest, err := c.TCPConn.WriteTo(w)
	return n + rest, err
}

// Close closes the connection and counts it out.
func (c *connection) Close() error {
	if b := c.begun.Swap(nil); b != nil {
		b.drop()
	}
	c.once.Do(func() {
		c.front.mu.Lock()
		defer c.front.mu.Unlock()
		c.front.forget(c)
	})
	return c.TCPConn.Close()
}

// batch is how many unused connections are closed at once: looking for them takes time.
const batch = 32

// listener lets connections in, within the limits.
type listener struct {
	net.Listener
	front *front
	tls   bool // clients speak TLS: one that is turned away is not told why
}

// Accept returns the next connection that is let in.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return c, nil
		}
		in, crowded, why := l.front.admit(tcp, time.Now())
		for _, old := range crowded {
			_ = old.Close()
		}
		if why == "" {
			endStalled(tcp, l.front.limits.stalled())
			return in, nil
		}
		l.front.limits.Seen.refuse()
		if l.tls {
			_ = tcp.Close()
			continue
		}
		_ = tcp.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = io.WriteString(tcp, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"+why+"\n")
		_ = tcp.Close()
	}
}

// Why a client is turned away.
const (
	tooManyHere = "too many connections or requests from your address, try again in a moment"
	tooMany     = "too many connections or requests, try again in a moment"
)

// admit counts a connection in, or says why not. Where a bound is reached, unused connections (between requests, or before a first one)
// are closed for it: the oldest of its own address, or, where all places are taken, of the address that has the most, if that has
// more than its own. So an address that fills the server with idle connections displaces its own.
func (f *front) admit(tcp *net.TCPConn, now time.Time) (c *connection, crowded []*connection, why string) {
	address := origins(tcp.RemoteAddr())
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.peers[address]
	if p == nil {
		p = &peer{address: address, proxy: Within(f.limits.Proxies, address), connections: map[*connection]struct{}{}}
	}
	if max := f.limits.PerAddress; max > 0 && !p.proxy && len(p.connections) >= max {
		if crowded = f.unused(p); len(crowded) == 0 {
			return nil, nil, tooManyHere
		}
	} else if max := f.limits.Connections; max > 0 && f.count >= max {
		if crowded = f.most(p); len(crowded) == 0 {
			return nil, nil, tooMany
		}
	}
	f.peers[address] = p
	c = &connection{TCPConn: tcp, front: f, peer: p}
	c.since.Store(now.UnixNano())
	p.connections[c] = struct{}{}
	f.count++
	f.limits.Seen.add(1)
	return c, crowded, ""
}

// unused takes the longest unused connections of a peer out. It is called with mu held.
func (f *front) unused(p *peer) []*connection {
	var found []*connection
	for c := range p.connections {
		if c.requests.Load() == 0 {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b *connection) int { return cmp.Compare(a.since.Load(), b.since.Load()) })
	found = found[:min(len(found), batch, max(1, len(p.connections)/4))]
	for _, c := range found {
		f.forget(c)
	}
	return found
}

// most takes unused connections of the peer with the most connections out, where it has more than p. It is called with mu held.
func (f *front) most(p *peer) []*connection {
	var crowd []*peer
	for _, other := range f.peers {
		if !other.proxy && (len(other.connections) > len(p.connections)+1 || other == p) {
			crowd = append(crowd, other)
		}
	}
	slices.SortFunc(crowd, func(a, b *peer) int { return cmp.Compare(len(b.connections), len(a.connections)) })
	for _, other := range crowd[:min(len(crowd), batch)] {
		if found := f.unused(other); len(found) > 0 {
			return found
		}
	}
	return nil
}

// forget counts a connection out. It is called with mu held.
func (f *front) forget(c *connection) {
	if _, ok := c.peer.connections[c]; !ok {
		return
	}
	delete(c.peer.connections, c)
	f.count--
	f.limits.Seen.add(-1)
	if len(c.peer.connections) == 0 {
		delete(f.peers, c.peer.address)
	}
}

// origins is what counts as one address: an IPv4 address, or an IPv6 /64.
func origins(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	address := tcp.AddrPort().Addr().Unmap().WithZone("")
	if address.Is6() && !address.IsLoopback() {
		p, _ := address.Prefix(64)
		return p.Addr()
	}
	return address
}

type connectionKey struct{}

// note lets a request find its connection.
func note(ctx context.Context, c net.Conn) context.Context {
	if c, ok := remote(c); ok {
		return context.WithValue(ctx, connectionKey{}, c)
	}
	return ctx
}

// counted is a handler that counts the requests of connections: over HTTP/2 one connection has many. What is over the bounds is refused.
type counted struct{ http.Handler }

// ServeHTTP passes a request on.
func (h counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok {
		h.Handler.ServeHTTP(w, r)
		return
	}
	if r.ProtoMajor == 2 {
		w = &unstalled{ResponseWriter: w, after: c.front.limits.stalled()}
	}
	c.requests.Add(1)
	here, all := c.peer.requests.Add(1), c.front.requests.Add(1)
	defer func() { // also when ReverseProxy panics, to break off a response
		c.since.Store(time.Now().UnixNano())
		c.requests.Add(-1)
		c.peer.requests.Add(-1)
		c.front.requests.Add(-1)
	}()
	l := &c.front.limits
	if b := c.begun.Swap(nil); b != nil {
		b.serve(w, r)
		return
	}
	switch {
	case l.PerAddress > 0 && !c.peer.proxy && here > int64(l.PerAddress):
		l.Seen.refuse()
		turnAway(w, r, tooManyHere)
	case l.Connections > 0 && all > int64(l.Connections):
		l.Seen.refuse()
		turnAway(w, r, tooMany)
	default:
		h.Handler.ServeHTTP(w, r)
	}
}

func turnAway(w http.ResponseWriter, q *http.Request, why string) {
	w.Header().Set("Retry-After", "1")
	refuse(w, q, http.StatusServiceUnavailable, why)
}
