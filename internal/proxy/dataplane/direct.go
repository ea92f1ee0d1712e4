package dataplane

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// plain says whether a request that net/http read goes over a link of ours: HTTP/1.1 to the app, and nothing in it that changes what a connection or a message
// means. It is decided before anything is sent.
func (x *exchange) plain(q *http.Request) bool {
	r := x.revision
	if in := *r.instances.Load(); r.netHTTP || len(in) > 0 && in[0].h2c {
		return false
	}
	if speaks := r.protocol.speaks.Load(); speaks == speaksH2C || speaks == notKnown && !r.opts.HTTP1 {
		return false
	}
	if q.Method == "" || q.Method == http.MethodConnect || len(q.Trailer) > 0 || isGRPC(q) || !plainHost(q.Host) || !plainTarget(q.RequestURI) {
		return false
	}
	if marked, _ := q.Context().Value(markKey{}).(*mark); marked != nil { // a caller made it: nothing has looked at it
		return false
	}
	for i := range len(q.Method) {
		if !isToken[q.Method[i]] {
			return false
		}
	}
	for name, values := range q.Header {
		switch specials[name] {
		case hasOther, hasEncoding:
			if name != "Te" || len(values) != 1 || values[0] != "trailers" {
				return false
			}
		case hasConnection:
			if len(values) != 1 || !strings.EqualFold(values[0], "close") && !strings.EqualFold(values[0], "keep-alive") {
				return false
			}
		}
	}
	return true
}

// direct passes the request over a link.
func (x *exchange) direct(w http.ResponseWriter, q *http.Request) {
	out := heads.Get().(*[]byte)
	defer heads.Put(out)
	*out = x.appendRequest((*out)[:0], q)
	client := &served{q: q, deadline: x.deadline}
	p := &passage{x: x, client: client, out: *out, toHEAD: q.Method == http.MethodHead}
	if q.ContentLength != 0 && q.Body != nil && q.Body != http.NoBody {
		p.body = &upload{from: q.Body, left: q.ContentLength}
	}
	p.again = p.body == nil && (isSafe(q.Method) || q.Header["Idempotency-Key"] != nil || q.Header["X-Idempotency-Key"] != nil)
	clean := false
	defer func() {
		p.end(clean)
		if client.cancel != nil {
			client.cancel()
		}
	}()
	switch err := p.run(); {
	case errors.Is(err, errNotHTTP1):
		x.leave()
		x.serveHTTP(w, q)
	case err != nil:
		x.fail(w, q, err)
	case p.odd:
		x.early = p
		x.serveHTTP(w, q)
	default:
		if err := p.deliver(w, q); err != nil {
			if q.Context().Value(http.ServerContextKey) != nil {
				panic(http.ErrAbortHandler)
			}
			return
		}
		clean = true
	}
}

// isSafe says whether a request of this method may be sent twice, as net/http has it. Others may where their header has a key.
func isSafe[T string | []byte](method T) bool {
	switch string(method) {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// appendRequest appends the head of the request as the app gets it.
func (x *exchange) appendRequest(b []byte, q *http.Request) []byte {
	b = append(append(append(b, q.Method...), ' '), q.RequestURI...)
	b = append(append(append(b, " HTTP/1.1\r\nHost: "...), q.Host...), '\r', '\n')
	for name, values := range q.Header {
		if s := specials[name]; s&(hasLength|hasConnection|hasHop|hasHost|hasEncoding) != 0 || s == hasOther && name != "Te" || refused(name, x.trusted) || x.trusted && retold(name) {
			continue
		}
		for _, v := range values {
			b = appendField(b, name, v)
		}
	}
	if q.ContentLength > 0 || q.ContentLength == 0 && wantsLength(q.Method) {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), q.ContentLength, 10), '\r', '\n')
	} else if q.ContentLength < 0 {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if x.trusted {
		b = appendRetold(b, q)
	} else {
		b = appendClient(b, address(q.RemoteAddr), q.Host, q.TLS != nil)
	}
	return append(b, '\r', '\n')
}

// appendRetold appends what the app is told of the client of a proxy that is trusted.
func appendRetold(b []byte, q *http.Request) []byte {
	out := http.Request{Header: http.Header{}}
	forward(q, &out, true)
	for name, values := range out.Header {
		b = appendField(b, name, values[0])
	}
	return b
}

// appendClient appends what the app is told of a client that connects itself.
func appendClient[T string | []byte](b []byte, from, host T, secure bool) []byte {
	b = append(append(b, "X-Forwarded-For: "...), from...)
	b = append(append(b, "\r\nX-Forwarded-Host: "...), host...)
	if b = append(b, "\r\nX-Forwarded-Proto: http"...); secure {
		b = append(b, 's')
	}
	return append(b, '\r', '\n')
}

func appendField(b []byte, name, value string) []byte {
	return append(append(append(append(b, name...), ": "...), value...), '\r', '\n')
}

// retold says whether forward sets a field.
func retold(name string) bool {
	switch name {
	case "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded":
		return true
	}
	return false
}

// wantsLength says whether servers expect a request of this method to say that it has no body.
func wantsLength(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// heads holds buffers for the heads of requests.
var heads = sync.Pool{New: func() any { return new(make([]byte, 0, 1024)) }}

// served is the client of a request that net/http serves.
type served struct {
	q        *http.Request
	deadline time.Time
	limited  context.Context
	cancel   context.CancelFunc
	stop     func() bool
}

func (s *served) context() context.Context {
	if s.deadline.IsZero() {
		return s.q.Context()
	}
	if s.limited == nil {
		s.limited, s.cancel = context.WithDeadlineCause(s.q.Context(), s.deadline, errTimeout)
	}
	return s.limited
}

func (s *served) watch(l *link) {
	s.stop = context.AfterFunc(s.q.Context(), func() { _ = l.Conn.Close() })
}

// begin sets the deadline: none for the zero time.
func (s *served) begin(l *link) { l.limit(s.deadline) }

func (s *served) fill(l *link) error { return l.fill() }

func (s *served) rest() error {
	if s.stop == nil || s.stop() {
		s.stop = nil
		return nil
	}
	s.stop = nil
	return context.Cause(s.q.Context())
}
