package dataplane

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Dial opens a connection to the app in an instance.
type Dial func(ctx context.Context) (net.Conn, error)

// Instance is one running copy of a revision, as seen by the proxy.
type Instance struct {
	// ID names it; it is not interpreted.
	ID string

	dial     Dial
	h2c      bool // it speaks nothing else
	inflight atomic.Int64
	sockets  atomic.Int64
	idle     links // of ours
	http1    *http.Transport
	http2    func() *http.Transport // made when it is first needed
}

// NewInstance returns an instance that is reached by dial. With h2c it is spoken to in HTTP/2 with prior knowledge; without, in the
// protocol that its revision turns out to speak.
func NewInstance(id string, h2c bool, dial Dial) *Instance {
	i := &Instance{ID: id, h2c: h2c, dial: dial}
	i.http1 = i.transport(false)
	i.http2 = sync.OnceValue(func() *http.Transport { return i.transport(true) })
	return i
}

func (i *Instance) transport(h2c bool) *http.Transport {
	t := &http.Transport{
		DisableCompression:  true, // the client and the app negotiate that
		MaxIdleConnsPerHost: 1024,
		// Shorter than the keep-alive of common app servers (2 s and more), so that we do not write a request into a
		// connection that the app is just closing. A new one costs some 60 µs.
		IdleConnTimeout:       1500 * time.Millisecond,
		ExpectContinueTimeout: time.Second,
		// An app may not make us buffer headers without end.
		MaxResponseHeaderBytes: 256 << 10,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := i.dial(ctx)
			if err != nil {
				return nil, &dialError{err}
			}
			return c, nil
		},
		Protocols: new(http.Protocols),
	}
	t.Protocols.SetHTTP1(!h2c)
	t.Protocols.SetUnencryptedHTTP2(h2c)
	return t
}

// InFlight is how many requests and upgraded connections the instance has.
func (i *Instance) InFlight() int64 { return i.inflight.Load() + i.sockets.Load() }

// Sockets is how many upgraded connections (WebSockets) the instance has.
func (i *Instance) Sockets() int64 { return i.sockets.Load() }

// Close closes the idle connections.
func (i *Instance) Close() {
	i.idle.closeAll()
	i.http1.CloseIdleConnections()
	i.http2().CloseIdleConnections()
}

// lessBusy reports whether the instance has fewer requests than another one. Upgraded connections are mostly idle: they decide between equals.
func (i *Instance) lessBusy(than *Instance) bool {
	a, b := i.inflight.Load(), than.inflight.Load()
	return a < b || a == b && i.sockets.Load() < than.sockets.Load()
}

// dialError marks an error after which nothing of the request can have reached the app.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }
