package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// listenUnix returns a listener at an address that the kernel chooses and no file stands for, so that it needs no room on a disk. Who connects is asked for by the kernel's word.
func listenUnix() (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: ""})
	if err != nil {
		return nil, fmt.Errorf("open a socket for the proxy: %w", err)
	}
	return l, nil
}

// own answers the requests for gitd's own hosts, which the proxy forwards.
type own struct {
	handlers map[string]http.Handler
	listener *net.UnixListener
	server   *http.Server
}

// newOwn makes what answers for these hosts.
func newOwn(handlers map[string]http.Handler) (*own, error) {
	l, err := listenUnix()
	if err != nil {
		return nil, err
	}
	o := &own{handlers: maps.Clone(handlers), listener: l}
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: 10 * time.Second, DisableGeneralOptionsHandler: true}
	go func() { _ = o.server.Serve(ours{l}) }()
	return o, nil
}

// ServeHTTP finds the handler of a host: the proxy has found that it is one of them, and says which.
func (o *own) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.Header.Get(wire.HostHeader)
	r.Header.Del(wire.HostHeader)
	body := &bodyRead{ReadCloser: r.Body}
	r.Body = body
	if h := o.handlers[name]; h != nil {
		h.ServeHTTP(w, r)
	} else {
		http.Error(w, "this host is not gitd's", http.StatusNotFound)
	}
	if !body.whole && r.ContentLength != 0 {
		readRest(w, body)
	}
}

// bodyRead is the body of a request, and whether all of it was read.
type bodyRead struct {
	io.ReadCloser
	whole bool
}

func (b *bodyRead) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.whole = b.whole || err == io.EOF
	return n, err
}

// The most that readRest reads, in bytes and in time.
const (
	restSize = 32 << 20
	restTime = 10 * time.Second
)

// readRest reads what is left of a request that was answered before all of it had come, up to a bound. A server that ends the connection instead has the proxy fail at sending, so
// that it may not see the answer, and tells the client of a restart.
func readRest(w http.ResponseWriter, body io.Reader) {
	c := http.NewResponseController(w)
	_ = c.Flush() // a client that asked whether to send it at all waits for the answer
	_ = c.SetReadDeadline(time.Now().Add(restTime))
	_, _ = io.CopyN(io.Discard, body, restSize)
}

// ours is a listener that lets in processes of this user alone.
type ours struct{ *net.UnixListener }

// Accept returns the next connection.
func (l ours) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if wire.PeerIsUs(c) == nil {
			return c, nil
		}
		_ = c.Close()
	}
}

// inside sends requests of gitd's own to the proxy, over a listener that it alone serves.
type inside struct {
	listener  *net.UnixListener
	transport *http.Transport
}

func newInside() (*inside, error) {
	l, err := listenUnix()
	if err != nil {
		return nil, err
	}
	i := &inside{listener: l}
	i.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", l.Addr().String())
		},
		DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second, ExpectContinueTimeout: time.Second,
	}
	return i, nil
}

// RoundTrip sends a request of gitd's own, which need not come by HTTPS, and what it says of a client is not passed on. It goes by its host, or by the split of that name.
func (p *Proxy) RoundTrip(split string, r *http.Request) (*http.Response, error) {
	if err := p.ready(); err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.RequestURI = "http", ""
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	r.URL.Host = "proxy"
	r.Header.Del(wire.SplitHeader)
	if split != "" {
		r.Header.Set(wire.SplitHeader, split)
	}
	if len(r.Header["User-Agent"]) == 0 {
		r.Header["User-Agent"] = []string{""} // none of Go's
	}
	return p.inside.transport.RoundTrip(r)
}

// ServeHTTP is RoundTrip for those who have a handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := p.RoundTrip("", r)
	switch {
	case err != nil && r.Context().Err() != nil:
		panic(http.ErrAbortHandler)
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		panic(http.ErrAbortHandler)
	case err != nil:
		http.Error(w, "the proxy does not answer: try again in a moment", http.StatusBadGateway)
		return
	}
	defer a.Body.Close()
	maps.Copy(w.Header(), a.Header)
	w.WriteHeader(a.StatusCode)
	if _, err := io.Copy(w, a.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}
