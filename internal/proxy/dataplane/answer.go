package dataplane

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// mostHeld is how much is held back of a body that is no stream.
const mostHeld = 4 << 10

// answer passes the answer on, whose head the link has. The last part is in out: with it the client knows that the request has ended, and it has by then.
func (s *session) answer() error {
	h, l := &s.p.answer, s.p.link
	s.answers = true
	bodyless := h.bodyless(s.p.toHEAD)
	s.beginAnswer(h, bodyless)
	s.x.answered(h.status)
	s.body = l.flow(h, bodyless, s.more)
	if s.body.kind != byLength || !s.body.whole() && s.events(h) {
		s.body.flush = s.now
	}
	if s.body.whole() {
		b := l.buffer[l.from : l.from+int(s.body.left)]
		l.from += len(b)
		s.out = append(s.out, b...)
		return nil
	}
	if err := s.stream(); err != nil {
		if s.body.flush != nil {
			_ = s.flush()
		}
		return err
	}
	if s.body.kind == byLength {
		return nil
	}
	return s.endChunks()
}

// beginAnswer puts the head of the answer into out, as net/http's server would write it.
func (s *session) beginAnswer(h *head, bodyless bool) {
	const dropped = hasHop | hasConnection | hasEncoding
	b := append(s.out[:0], statusLine(h.status)...)
	for _, f := range h.fields {
		is := specials[string(f.name)]
		if is&dropped != 0 || is == hasLength && (h.status == 204 || h.status == 304) || is == hasType && h.status == 304 {
			continue
		}
		b = append(append(append(append(b, f.name...), ": "...), f.value...), '\r', '\n')
	}
	if s.at.hsts != "" && h.has&hasSecurity == 0 {
		b = append(append(append(b, "Strict-Transport-Security: "...), s.at.hsts...), '\r', '\n')
	}
	if h.has&hasDate == 0 {
		b = appendDate(b)
	}
	if !bodyless && h.length < 0 {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if s.closes = s.asks.close || s.server.leaving(); s.closes {
		b = append(b, "Connection: close\r\n"...)
	}
	s.out = append(b, '\r', '\n')
}

// events says whether an answer is a stream of events.
func (s *session) events(h *head) bool {
	for _, f := range h.fields {
		if string(f.name) == "Content-Type" && bytes.Contains(f.value, []byte("event-stream")) {
			return true
		}
	}
	return false
}

// stream passes a body on as it comes.
func (s *session) stream() error {
	f := &s.body
	for {
		if f.kind == byLength && f.left >= largeBody && f.from == f.to && s.secure == nil {
			return s.splice()
		}
		b, err := f.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if f.kind != byLength {
			s.out = append(appendHex(s.out, len(b)), '\r', '\n')
		}
		if s.out = append(s.out, b...); f.kind != byLength {
			s.out = append(s.out, '\r', '\n')
		}
		if len(s.out) >= mostHeld {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
}

// splice has the kernel pass the rest of a body on.
func (s *session) splice() error {
	f := &s.body
	if err := s.flush(); err != nil {
		return err
	}
	for f.left > 0 {
		n, err := s.client.ReadFrom(io.LimitReader(f.Conn, f.left))
		if f.left -= n; f.left == 0 {
			break
		}
		if err == nil {
			return io.ErrUnexpectedEOF
		}
		if !isTimeout(err) {
			return err
		}
		if err := s.still(f.link, err); err != nil {
			return err
		}
	}
	return nil
}

// endChunks ends a body in chunks, with the trailers that came behind it.
func (s *session) endChunks() error {
	var h head
	lines := s.body.trailers
	if len(lines) > len("\r\n") && !h.parseTrailers(lines) {
		_ = s.flush()
		return errChunks
	}
	s.out = append(s.out, "0\r\n"...)
	for _, f := range h.fields {
		s.out = append(append(append(append(s.out, f.name...), ": "...), f.value...), '\r', '\n')
	}
	s.out = append(s.out, '\r', '\n')
	return nil
}

// flush writes what is held back.
func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err
}

// refill reads more of the body.
func (s *session) refill() error { return s.fill(s.p.link) }

// statusLine is how an answer begins.
func statusLine(status int) string {
	if status == http.StatusOK {
		return "HTTP/1.1 200 OK\r\n"
	}
	text := http.StatusText(status)
	if text == "" {
		text = "status code " + strconv.Itoa(status)
	}
	return "HTTP/1.1 " + strconv.Itoa(status) + " " + text + "\r\n"
}

// dated is the field Date of a second.
type dated struct {
	second int64
	field  []byte
}

var lastDate atomic.Pointer[dated]

// appendDate appends the field Date.
func appendDate(b []byte) []byte {
	now := time.Now()
	d := lastDate.Load()
	if d == nil || d.second != now.Unix() {
		d = &dated{now.Unix(), append(now.UTC().AppendFormat([]byte("Date: "), http.TimeFormat), '\r', '\n')}
		lastDate.Store(d)
	}
	return append(b, d.field...)
}
