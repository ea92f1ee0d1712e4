package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitd-io/gitd/internal/proxy/dataplane"
	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// listening is a listener that gitd has given, and what serves it now.
type listening struct {
	net.Listener
	stop func() // ends what serves it, and leaves its connections
}

func (l *listening) file() (*os.File, error) {
	switch l := l.Listener.(type) {
	case *net.TCPListener:
		return l.File()
	case *net.UnixListener:
		return l.File()
	}
	return nil, fmt.Errorf("a listener of %s has no descriptor", l.Addr().Network())
}

func (l *listening) close() {
	if l.stop != nil {
		l.stop()
	}
	_ = l.Listener.Close()
}

// listen takes listeners, in place of those that had their names.
func (p *Process) listen(m *wire.Listen, files []*os.File) error {
	if len(m.Names) != len(files) {
		return fmt.Errorf("%w: %d listeners and %d descriptors", wire.ErrDamaged, len(m.Names), len(files))
	}
	for i, name := range m.Names {
		l, err := net.FileListener(files[i])
		if err != nil {
			return fmt.Errorf("take the listener %s: %w", name, err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		if before := p.listeners[name]; before != nil {
			before.close()
		}
		p.listeners[name] = &listening{Listener: l}
	}
	p.serveAll()
	return nil
}

// serveAll begins to serve what is not served yet. HTTP and HTTPS share their limits, and begin together.
func (p *Process) serveAll() {
	if in := p.listeners[wire.Inside]; in != nil && in.stop == nil {
		s := &shared{Listener: in.Listener}
		p.start(p.inside, in, s, us{s})
	}
	plain, secure := p.listeners[wire.HTTP], p.listeners[wire.HTTPS]
	if p.setup.Secure == nil {
		secure = nil
	}
	if plain == nil || plain.stop != nil && (secure == nil || secure.stop != nil) {
		return
	}
	limits := dataplane.Limits{Connections: p.setup.Connections, PerAddress: p.setup.PerAddress, Proxies: p.setup.Proxies, Seen: &p.seen}
	if plain.stop != nil {
		plain.stop()
	}
	one := &shared{Listener: plain.Listener}
	if secure == nil {
		p.start(p.server, plain, one, dataplane.Bound(one, limits))
		return
	}
	if secure.stop != nil {
		secure.stop()
	}
	other := &shared{Listener: secure.Listener}
	a, b := dataplane.BoundBoth(one, other, limits)
	p.start(p.server, plain, one, a)
	p.start(p.server, secure, other, p.plane.Load().TLS(b))
}

// us is a listener that lets in processes of this user alone.
type us struct{ net.Listener }

// Accept returns the next connection.
func (l us) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if u, ok := c.(*net.UnixConn); ok && wire.PeerIsUs(u) == nil {
			return c, nil
		}
		_ = c.Close()
	}
}

// shared is a listener whose end leaves the socket open: it may be served again, with other limits.
type shared struct {
	net.Listener
	ended atomic.Bool
}

// Accept returns the next connection.
func (s *shared) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil && s.ended.Load() {
		return nil, net.ErrClosed
	}
	return c, err
}

// Close ends the Accept that waits, and those to come.
func (s *shared) Close() error {
	s.ended.Store(true)
	if d, ok := s.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		return d.SetDeadline(time.Unix(1, 0))
	}
	return nil
}

// start serves a listener, as l, until its stop is called.
func (p *Process) start(server interface{ Serve(net.Listener) error }, at *listening, s *shared, l net.Listener) {
	ended := make(chan struct{})
	at.stop = func() {
		at.stop = nil
		_ = s.Close()
		<-ended
		if d, ok := s.Listener.(interface{ SetDeadline(time.Time) error }); ok {
			_ = d.SetDeadline(time.Time{})
		}
	}
	go func() {
		defer close(ended)
		if err := server.Serve(l); !s.ended.Load() && !errors.Is(err, http.ErrServerClosed) {
			p.o.Log("proxy: %s is not served any more: %v", at.Addr(), err)
		}
	}()
}

// sameSetup says whether what a plane is made with is the same.
func sameSetup(a, b *wire.Setup) bool {
	x, y := *a, *b
	x.OwnAddress, y.OwnAddress = "", ""
	return reflect.DeepEqual(x, y)
}

// mostPlanes is how many planes are told of changes: a request that waits in one that was replaced goes on by its table.
const mostPlanes = 4

// newPlane makes a plane for a setup. It takes no requests before it has its table.
func (p *Process) newPlane(m *wire.Setup) *dataplane.Plane {
	plane := dataplane.New(m.Trusted)
	for _, host := range m.Own {
		plane.Own(host, p.forwarder(host))
	}
	if s := m.Secure; s != nil {
		secure := dataplane.Secure{Port: s.Port, Stay: s.Stay, HSTS: s.HSTS}
		if s.Wanted {
			secure.Wanted = p.wanted
		}
		plane.ServeTLS(secure)
	}
	return plane
}

// replacePlane has another plane take the requests, which has its table and certificates.
func (p *Process) replacePlane(plane *dataplane.Plane) {
	for name, n := range p.plane.Load().Refused() {
		p.refused[name] += n
	}
	p.plane.Store(plane)
	for _, name := range []string{wire.HTTP, wire.HTTPS} {
		if l := p.listeners[name]; l != nil && l.stop != nil {
			l.stop()
		}
	}
	p.serveAll()
}

// forwarder passes the requests for one of gitd's own hosts on to it.
func (p *Process) forwarder(host string) http.Handler {
	answer := func(w http.ResponseWriter) {
		h := w.Header()
		h.Set("Retry-After", "5")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "the platform is being restarted: try again in a moment\n")
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "unix", *p.own.Load())
			if err != nil {
				return nil, err
			}
			if err := wire.PeerIsUs(c.(*net.UnixConn)); err != nil {
				_ = c.Close()
				return nil, err
			}
			return c, nil
		},
		DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second,
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "gitd"
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			r.Out.Host = r.In.Host
			r.Out.Header.Set(wire.HostHeader, host)
		},
		Transport: transport, ErrorLog: log.New(io.Discard, "", 0),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				p.o.Log("proxy: gitd does not answer for %s: %v", r.Host, err)
			}
			answer(w)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.led.pass(ownWait, r.Context().Done()) {
			answer(w)
			return
		}
		forward.ServeHTTP(w, r)
	})
}

// ownWait is how long a request for one of gitd's own hosts waits for the next gitd: those who call by webhooks give up after 10 seconds.
const ownWait = 8 * time.Second

// serveInside answers requests of gitd's own: they need not come by HTTPS, and what they say of a client is not passed on.
func (p *Process) serveInside(w http.ResponseWriter, r *http.Request) {
	split := r.Header.Get(wire.SplitHeader)
	r.Header.Del(wire.SplitHeader)
	ctx := r.Context()
	if split != "" {
		ctx = dataplane.WithSplit(ctx, split)
	} else {
		ctx = dataplane.WithMark(ctx)
	}
	r = r.WithContext(ctx)
	r.RemoteAddr = "127.0.0.1:0"
	w.Header()["Date"] = nil // the app's, or none
	p.plane.Load().ServeHTTP(w, r)
}

// asks are the questions to gitd that are not answered yet.
type asks struct {
	mu sync.Mutex // mu guards the following

	last    uint64
	waiting map[uint64]chan bool
}

// Bounds of questions for certificates.
const (
	mostAsked  = 256
	answerTime = 2 * time.Second
)

// wanted asks gitd whether a certificate may come soon. While there is no gitd, it may: the handshake waits, as for one that is being obtained.
func (p *Process) wanted(name string) bool {
	p.mu.Lock()
	l := p.link
	p.mu.Unlock()
	if l == nil {
		return true
	}
	a := &p.asks
	a.mu.Lock()
	if len(a.waiting) >= mostAsked {
		a.mu.Unlock()
		return false
	}
	a.last++
	number, c := a.last, make(chan bool, 1)
	a.waiting[number] = c
	a.mu.Unlock()
	l.Tell(wire.KindWanted, wire.Wanted{Number: number, Name: name})
	timer := time.NewTimer(answerTime)
	defer timer.Stop()
	select {
	case yes := <-c:
		return yes
	case <-timer.C:
		a.answer(number, false)
		return true
	}
}

func (a *asks) answer(number uint64, yes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.waiting[number]; c != nil {
		c <- yes
		delete(a.waiting, number)
	}
}

// end answers all: the link has ended.
func (a *asks) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.waiting {
		c <- true
	}
	clear(a.waiting)
}
