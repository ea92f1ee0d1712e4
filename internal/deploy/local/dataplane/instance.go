package dataplane

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Dial opens a connection to the app in an instance.
type Dial func(ctx context.Context) (net.Conn, error)

// Instance is one running copy of a revision, as seen by the proxy.
type Instance struct {
	// ID names it; it is not interpreted.
	ID        string
	inflight  atomic.Int64
	transport *http.Transport
}

// NewInstance returns an instance that is reached by dial. With h2c it is spoken to in HTTP/2 with prior knowledge.
func NewInstance(id string, h2c bool, dial Dial) *Instance {
	t := &http.Transport{
		DisableCompression:  true, // the client and the app settle that between them
		MaxIdleConnsPerHost: 1024,
		// Shorter than the keep-alive of common app servers (2 s and more), so that we do not write a request into a
		// connection that the app is just closing. A new one costs some 60 µs.
		IdleConnTimeout:       1500 * time.Millisecond,
		ExpectContinueTimeout: time.Second,
		// An app may not make us buffer headers without end.
		MaxResponseHeaderBytes: 256 << 10,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := dial(ctx)
			if err != nil {
				return nil, &dialError{err}
			}
			return c, nil
		},
		Protocols: new(http.Protocols),
	}
	t.Protocols.SetHTTP1(!h2c)
	t.Protocols.SetUnencryptedHTTP2(h2c)
	return &Instance{ID: id, transport: t}
}

// InFlight is how many requests the instance is working on.
func (i *Instance) InFlight() int64 { return i.inflight.Load() }

// Close closes the idle connections.
func (i *Instance) Close() { i.transport.CloseIdleConnections() }

// dialError marks an error after which nothing of the request can have reached the app.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }
