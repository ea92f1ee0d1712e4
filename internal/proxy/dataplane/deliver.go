package dataplane

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"time"
)

// deliver passes the answer on to a client that net/http serves.
func (p *passage) deliver(w http.ResponseWriter, q *http.Request) error {
	x, h := p.x, &p.answer
	if h.has&hasType == 0 {
		x.header["Content-Type"] = nil // no guess: the client knows what it asked for
	}
	if h.has&hasSecurity != 0 {
		delete(x.header, "Strict-Transport-Security") // the app's own counts
	}
	streams := h.chunked || h.length < 0
	texts := string(p.link.buffer[:p.length]) // one allocation for all names and values
	values := make([]string, len(h.fields))
	for i, f := range h.fields {
		if specials[string(f.name)]&(hasHop|hasConnection|hasEncoding) != 0 {
			continue
		}
		name := p.within(texts, f.name)
		values[i] = p.within(texts, f.value)
		if have := x.header[name]; have != nil {
			x.header[name] = append(have, values[i])
		} else {
			x.header[name] = values[i : i+1 : i+1]
		}
		if name == "Content-Type" && strings.Contains(values[i], "event-stream") {
			streams = true
		}
	}
	x.answered(h.status)
	w.WriteHeader(h.status)
	body := p.link.flow(h, h.bodyless(p.toHEAD), p.link.fill)
	if !body.whole() {
		p.link.limit(time.Time{}) // a stream may go on for longer
	}
	if err := body.copyTo(w, q, streams); err != nil {
		return err
	}
	return addTrailers(w, body.trailers)
}

// within returns what b says, as a part of texts, which is what the link's buffer begins with.
func (p *passage) within(texts string, b []byte) string {
	i := cap(p.link.buffer) - cap(b)
	return texts[i : i+len(b)]
}

// largeBody is what is long enough for splice(2).
const largeBody = 64 << 10

// copyTo writes the body to w. Where it streams, nothing is held back.
func (f *flow) copyTo(w http.ResponseWriter, q *http.Request, streams bool) error {
	pending := streams // what w has and the client does not
	if flusher, ok := w.(http.Flusher); ok {
		f.flush = func() error {
			if pending {
				flusher.Flush()
				pending = false
			}
			return nil
		}
		defer func() { _ = f.flush() }()
	}
	for {
		if f.kind == byLength && f.left >= largeBody && f.from == f.to && !streams && q.ProtoMajor == 1 {
			if to, ok := w.(io.ReaderFrom); ok {
				n, err := to.ReadFrom(io.LimitReader(f.Conn, f.left))
				if f.left -= n; err == nil && f.left > 0 {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
		}
		b, err := f.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		pending = streams
	}
}

// addTrailers has the server send the trailers that came behind an answer without having been announced.
func addTrailers(w http.ResponseWriter, lines []byte) error {
	if len(lines) <= len("\r\n") {
		return nil
	}
	var h head
	if !h.parseTrailers(lines) {
		return errChunks
	}
	for _, f := range h.fields {
		w.Header().Add(http.TrailerPrefix+string(f.name), string(f.value))
	}
	return nil
}

// mostHeader is how much of a header an app may make us hold.
const mostHeader = 256 << 10

// response reads an answer as net/http does. It is for what is not plain: interim responses, trailers that were announced, another version, an error.
func (p *passage) response(q *http.Request) (*http.Response, error) {
	limit := &io.LimitedReader{R: p.link}
	b := bufio.NewReader(limit)
	for {
		limit.N = mostHeader
		res, err := http.ReadResponse(b, q)
		if err != nil {
			return nil, p.broken(q, err)
		}
		if res.StatusCode < 100 || res.StatusCode > 199 || res.StatusCode == http.StatusSwitchingProtocols {
			limit.N = math.MaxInt64
			p.link.limit(time.Time{})
			return res, nil
		}
		if trace := httptrace.ContextClientTrace(q.Context()); trace != nil && trace.Got1xxResponse != nil {
			if err := trace.Got1xxResponse(res.StatusCode, textproto.MIMEHeader(res.Header)); err != nil {
				return nil, err
			}
		}
	}
}

// broken is the error of an answer that did not come.
func (p *passage) broken(q *http.Request, err error) error {
	if cause := context.Cause(q.Context()); cause != nil {
		return cause
	}
	if isTimeout(err) {
		return errTimeout
	}
	return err
}
