package dataplane

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// protocolField is where net/http puts the :protocol of a request in HTTP/2. No other request can have a field of that name.
const protocolField = ":protocol"

// ExtendedConnect is the variable that has net/http take WebSockets over HTTP/2 (RFC 8441), for the environment of a program that serves: it is read before main.
const ExtendedConnect = "GODEBUG=http2xconnect=1"

// extended turns a WebSocket over HTTP/2 (RFC 8441) into one of HTTP/1.1, which is what the app gets: a GET with Upgrade, and a response that can be
// taken over. Other requests stay as they are. It answers those that cannot be served, and then returns false.
func extended(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request, bool) {
	if r.ProtoMajor < 2 {
		return w, r, true
	}
	protocol, ok := r.Header[protocolField]
	if !ok {
		return w, r, true
	}
	if r.Method != http.MethodConnect || len(protocol) != 1 {
		refuse(w, r, http.StatusBadRequest, "the field :protocol is for CONNECT")
		return nil, nil, false
	}
	if protocol[0] != "websocket" {
		refuse(w, r, http.StatusNotImplemented, "over HTTP/2 only WebSockets are served, not "+strconv.QuoteToASCII(clip(protocol[0], 50)))
		return nil, nil, false
	}
	q := r.WithContext(r.Context()) // a copy
	q.Method, q.Proto, q.ProtoMajor, q.ProtoMinor = http.MethodGet, "HTTP/1.1", 1, 1
	q.Header = r.Header.Clone()
	delete(q.Header, protocolField)
	q.Header["Connection"], q.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	q.Header["Sec-Websocket-Key"] = []string{websocketKey()} // HTTP/2 has none: the stream itself says that both want it
	q.Body, q.ContentLength, q.TransferEncoding, q.Trailer = http.NoBody, 0, nil, nil
	return &extendedWriter{ResponseWriter: w, body: r.Body, client: r.RemoteAddr}, q, true
}

// websocketKey is a key as RFC 6455, 4.1 has it.
func websocketKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// extendedWriter is the response to a WebSocket over HTTP/2.
type extendedWriter struct {
	http.ResponseWriter
	body   io.ReadCloser
	client string
}

// Unwrap is for http.ResponseController.
func (w *extendedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack takes the stream over, as http.Hijacker has it. What is written first is the head of a response in HTTP/1.1, of which the fields are in Header already;
// the client gets them with the status that stands for 101.
func (w *extendedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := &streamConn{w: w.ResponseWriter, control: http.NewResponseController(w.ResponseWriter), body: w.body, client: w.client}
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(&extendedHead{conn: c})), nil
}

// extendedHead takes the place of the head of the response: it begins the stream at its end.
type extendedHead struct {
	conn *streamConn
	last string // the last octets written
}

// Write leaves everything away.
func (h *extendedHead) Write(b []byte) (int, error) {
	h.last += string(b[max(0, len(b)-4):])
	h.last = h.last[max(0, len(h.last)-4):]
	if h.last == "\r\n\r\n" {
		return len(b), h.conn.begin()
	}
	return len(b), nil
}

// streamConn is a stream of HTTP/2 as a connection. Its end is the end of the handler that has it.
type streamConn struct {
	control *http.ResponseController
	body    io.ReadCloser
	client  string

	mu     sync.Mutex // held while the response is used, which is the handler's only
	w      http.ResponseWriter
	closed bool
}

// begin sends the head.
func (c *streamConn) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	h := c.w.Header()
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Accept", "Content-Length", "Transfer-Encoding"} {
		delete(h, name)
	}
	c.w.WriteHeader(http.StatusOK)
	return c.control.Flush()
}

// Read reads what the client sends.
func (c *streamConn) Read(b []byte) (int, error) { return c.body.Read(b) }

// Write sends to the client, and holds nothing back.
func (c *streamConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	n, err := c.w.Write(b)
	if err != nil {
		return n, err
	}
	return n, c.control.Flush()
}

// Close ends reading and writing. It breaks a Write off that a client holds up which does not read.
func (c *streamConn) Close() error {
	err := c.body.Close()
	if !c.mu.TryLock() {
		_ = c.control.SetWriteDeadline(time.Unix(1, 0))
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	c.closed = true
	return err
}

// LocalAddr is not known.
func (c *streamConn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr is the client's.
func (c *streamConn) RemoteAddr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", c.client)
	if err != nil {
		return &net.TCPAddr{}
	}
	return a
}

// SetDeadline is as net.Conn has it.
func (c *streamConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline is as net.Conn has it.
func (c *streamConn) SetReadDeadline(t time.Time) error { return c.control.SetReadDeadline(t) }

// SetWriteDeadline is as net.Conn has it; a deadline that passes ends the stream.
func (c *streamConn) SetWriteDeadline(t time.Time) error { return c.control.SetWriteDeadline(t) }
