package dataplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Certificates is what a Plane presents over TLS, and answers to those who issue certificates. It is not changed after it was published.
type Certificates struct {
	// ByName are the certificates, by a name in lower case; or by "*." and a name, for those that have one label more and are not among them.
	ByName map[string]*tls.Certificate
	// Challenges are those that prove a name by the protocol acme-tls/1 (RFC 8737), by name.
	Challenges map[string]*tls.Certificate
	// Tokens are the texts below /.well-known/acme-challenge/ (RFC 8555, 8.3), by token.
	Tokens map[string]string
}

// find returns the certificate for a name; nil for none.
func (c *Certificates) find(name string) *tls.Certificate {
	if found := c.ByName[name]; found != nil {
		return found
	}
	if _, rest, ok := strings.Cut(name, "."); ok {
		return c.ByName["*."+rest]
	}
	return nil
}

// Secure says how a Plane treats names that it has certificates for.
type Secure struct {
	Port int           // of HTTPS, as clients reach it; 0: there is none, and no request is sent there
	Stay bool          // requests over HTTP are answered there, and not redirected
	HSTS time.Duration // for how long browsers are told to come by HTTPS alone; 0: they are not told
	// Wanted is called with a name that a client asks for over TLS: a host of the table without a certificate. It returns whether one may come now: then the
	// handshake waits a moment for it to be published. It must not block; nil for none.
	Wanted func(name string) bool
}

// secure is the TLS side of a Plane.
type secure struct {
	Secure
	hsts   string
	table  atomic.Pointer[Certificates]
	config *tls.Config // of clients
	proof  *tls.Config // of those who issue certificates

	mu      sync.Mutex
	changed chan struct{}  // closed and replaced when the table is
	waiting map[string]int // handshakes that wait, by name
	all     int            // of them
}

const (
	acmeProtocol = "acme-tls/1"
	acmePath     = "/.well-known/acme-challenge/"
	wantedTime   = 8 * time.Second // that a handshake waits for a certificate
	wantedMost   = 256             // handshakes that wait at once
	wantedOfName = 16              // of them for one name: one whose certificate does not come leaves places to others
)

// errNoCertificate ends a handshake for a name that has a certificate in a moment, perhaps.
var errNoCertificate = errors.New("the certificate is still being obtained")

// ServeTLS prepares the Plane for HTTPS. It is called before the first request.
func (p *Plane) ServeTLS(o Secure) {
	s := &secure{Secure: o, changed: make(chan struct{}), waiting: map[string]int{}}
	if o.HSTS > 0 {
		s.hsts = "max-age=" + strconv.FormatInt(int64(o.HSTS/time.Second), 10)
	}
	s.table.Store(&Certificates{})
	s.proof = &tls.Config{NextProtos: []string{acmeProtocol}, SessionTicketsDisabled: true, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return s.table.Load().Challenges[host(h.ServerName)], nil
	}}
	s.config = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"h2", "http/1.1"},
		GetConfigForClient: s.choose,
		GetCertificate:     func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return p.certificate(s, h) },
	}
	p.secure = s
}

// choose takes those who issue certificates apart from clients.
func (s *secure) choose(h *tls.ClientHelloInfo) (*tls.Config, error) {
	if slices.Contains(h.SupportedProtos, acmeProtocol) {
		return s.proof, nil
	}
	return nil, nil
}

// certificate finds the one for a handshake. Without one the handshake ends here, before it has cost anything: no app has the name, and it is not gitd's own.
func (p *Plane) certificate(s *secure, h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := host(h.ServerName)
	if name == "" {
		return nil, nil
	}
	if found := s.table.Load().find(name); found != nil || s.Wanted == nil {
		return found, nil
	}
	if _, ok := p.table.Load().Hosts[name]; !ok && p.own[name] == nil {
		return nil, nil
	}
	if !s.Wanted(name) || !s.enter(name) { // it is asked for even where too many wait: it is there for those who come later
		return nil, errNoCertificate
	}
	defer s.leave(name)
	return s.wait(h.Context(), name)
}

// enter takes a place among the handshakes that wait; leave gives it back.
func (s *secure) enter(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= wantedMost || s.waiting[name] >= wantedOfName {
		return false
	}
	s.all++
	s.waiting[name]++
	return true
}

func (s *secure) leave(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.waiting[name]--; s.waiting[name] == 0 {
		delete(s.waiting, name)
	}
}

// wait waits for a certificate.
func (s *secure) wait(ctx context.Context, name string) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, wantedTime)
	defer cancel()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if found := s.table.Load().find(name); found != nil {
			return found, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errNoCertificate
		}
	}
}

// PublishCertificates replaces the certificates: handshakes that begin after it returns get the new ones. ServeTLS was called.
func (p *Plane) PublishCertificates(c *Certificates) {
	s := p.secure
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.Store(c)
	close(s.changed)
	s.changed = make(chan struct{})
}

// TLS returns a listener whose connections are over TLS. ServeTLS was called.
func (p *Plane) TLS(l net.Listener) net.Listener { return tls.NewListener(l, p.secure.config) }

// secured answers a request that is for those who issue certificates, or should come by HTTPS; then it returns nil, otherwise the request that goes on. One of
// gitd's own goes on as if it had come by HTTPS: it cannot be sent there, and an app that sends clients there itself must not send it either.
func (p *Plane) secured(s *secure, w http.ResponseWriter, r *http.Request, at, name string, own bool) *http.Request {
	switch {
	case own:
		if s.moves(at, name) {
			r = r.WithContext(r.Context()) // a copy
			r.TLS = &tls.ConnectionState{ServerName: name}
		}
		return r
	case r.TLS != nil:
		if !s.same(r.TLS.ServerName, name) && !p.trusts(r.RemoteAddr) { // a proxy may ask for all names over one connection
			p.refused[refusedMisdirected].Add(1)
			refuse(w, r, http.StatusMisdirectedRequest, "this connection is for "+strconv.QuoteToASCII(clip(r.TLS.ServerName, 100))+": ask for "+strconv.QuoteToASCII(clip(name, 100))+" over one of its own")
			return nil
		}
		if s.hsts != "" {
			w.Header()["Strict-Transport-Security"] = []string{s.hsts}
		}
		return r
	}
	if tokens := s.table.Load().Tokens; len(tokens) > 0 && strings.HasPrefix(r.URL.Path, acmePath) {
		if text, ok := tokens[r.URL.Path[len(acmePath):]]; ok {
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write([]byte(text))
			return nil
		}
	}
	if !s.moves(at, name) || p.trusts(r.RemoteAddr) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		return r
	}
	target := "https://" + name
	if s.Port != 443 {
		target = fmt.Sprintf("%s:%d", target, s.Port)
	}
	h := w.Header()
	h.Set("Location", target+origin(r.RequestURI))
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusPermanentRedirect)
	_, _ = w.Write([]byte("this name is served over HTTPS\n"))
	return nil
}

// same says whether a connection for one name may carry a request for another: one certificate is for both. Browsers share an HTTP/2 connection among names in
// that way. Otherwise what looks at the name that a connection begins with would be told one app and the request go to another.
func (s *secure) same(served, asked string) bool {
	if served = host(served); served == asked {
		return true
	}
	c := s.table.Load()
	one, other := c.find(served), c.find(asked)
	if one == nil || other == nil || len(one.Certificate) == 0 || len(other.Certificate) == 0 {
		return false
	}
	return one == other || bytes.Equal(one.Certificate[0], other.Certificate[0]) // one for several names is kept with each
}

// moves says whether clients that ask for a name over HTTP are sent to HTTPS.
func (s *secure) moves(at, name string) bool {
	return s.Port != 0 && !s.Stay && at != "" && s.table.Load().find(name) != nil
}

// remote is the address of a client, of a connection with TLS or without.
func remote(c net.Conn) (*connection, bool) {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	own, ok := c.(*connection)
	return own, ok
}
