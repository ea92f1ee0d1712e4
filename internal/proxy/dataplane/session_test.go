package dataplane

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
)

// asking is a client's connection.
type asking struct {
	*testing.T
	net.Conn
	b *bufio.Reader
}

func dialed(t *testing.T, addr string) *asking {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &asking{t, c, bufio.NewReader(c)}
}

// send sends bytes.
func (a *asking) send(bytes string) {
	a.Helper()
	if _, err := io.WriteString(a.Conn, bytes); err != nil {
		a.Fatal(err)
	}
}

// want reads an answer.
func (a *asking) want(status int, body string) *http.Response {
	a.Helper()
	res, err := http.ReadResponse(a.b, nil)
	if err != nil {
		a.Fatal(err)
	}
	if got, err := io.ReadAll(res.Body); err != nil || res.StatusCode != status || body != "" && string(got) != body {
		a.Fatalf("%s %q %v, want %d %q", res.Status, got, err, status, body)
	}
	return res
}

// ended waits for the connection's end.
func (a *asking) ended() {
	a.Helper()
	if n, err := a.b.ReadByte(); err == nil {
		a.Fatalf("%q follows", n)
	}
}

// echoes answers with the request's body; /slow waits for release.
func echoes(t *testing.T, release chan struct{}) *Revision {
	return revisionAt(serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s%s", r.URL.Path, b)
	})), false, RevisionOptions{HTTP1: true, Timeout: time.Minute})
}

// A connection goes from a session to net/http with what was read of it, whatever it is at, over TLS too; no request is counted twice, or for ever.
func TestSessionLeavesToNetHTTP(t *testing.T) {
	r := echoes(t, nil)
	p := route(map[string]Split{name: {{r, 100}}})
	p.ServeTLS(Secure{Port: 443})
	own := selfSigned(t, name)
	s := Serving(func() *Plane { return p }, func() bool { return false })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(p.TLS(Bound(l, Limits{}))) }()
	t.Cleanup(func() { _ = l.Close(); _ = s.Close() })
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{name: own}})
	plain := serve(t, route(map[string]Split{name: {{r, 100}}}))

	const chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
	for _, secure := range []bool{false, true} {
		a := dialed(t, plain)
		if secure {
			a = dialed(t, l.Addr().String())
			config := trusts(own)
			config.ServerName = name
			c := tls.Client(a.Conn, config)
			a.Conn, a.b = c, bufio.NewReader(c)
		}
		a.send("GET /1" + asks + "\r\n")
		a.want(200, "/1")
		a.send("POST /2" + asks + "Content-Length: 5\r\n\r\nhello" + "POST /3" + asks + chunks + "GET /4" + asks + "\r\n" + "GET /5")
		a.want(200, "/2hello")
		a.want(200, "/3abc")
		a.want(200, "/4")
		a.send(asks + "Connection: close\r\n\r\n")
		a.want(200, "/5")
		a.ended()
	}
	classes, _ := r.Counts()
	if n := r.InFlight(); n != 0 || classes[2] != 10 {
		t.Errorf("%d in flight, %d answers", n, classes[2])
	}
}

// A body that comes in pieces reaches the app, and an app that answers before it comes is heard.
func TestSessionBodies(t *testing.T) {
	front := serve(t, route(map[string]Split{name: {{echoes(t, nil), 100}}}))
	for _, pause := range []time.Duration{bodyTime / 5, 3 * bodyTime} {
		a := dialed(t, front)
		for range 3 {
			a.send("POST /" + asks + "Content-Length: 6\r\n\r\n")
			time.Sleep(pause)
			a.send("abc")
			time.Sleep(pause)
			a.send("def")
			a.want(200, "/abcdef")
		}
		long := strings.Repeat("x", mostHead-500)
		a.send("POST /" + asks + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(long)) + long)
		a.want(200, "/"+long)
	}
	early := connectionApp(t, func(c net.Conn) {
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
			time.Sleep(time.Second)
		}
	})
	a := dialed(t, serve(t, route(map[string]Split{name: {{revisionAt(early, false, RevisionOptions{HTTP1: true}), 100}}})))
	a.send("POST /" + asks + "Content-Length: 6\r\n\r\n")
	a.want(413, "")
}

// What a session has begun, and net/http cannot go on with, is not held for ever.
func TestSessionClientLeaves(t *testing.T) {
	r := NewRevision(RevisionOptions{HTTP1: true, Timeout: time.Minute}, time.Now()) // no instance: the request waits
	a := dialed(t, serve(t, route(map[string]Split{name: {{r, 100}}})))
	a.send("GET /" + asks + "\r\n")
	apptest.Eventually(t, 10*time.Second, "it waits", func() bool { return r.Held() == 1 })
	a.Close()
	apptest.Eventually(t, 10*time.Second, "it is given up", func() bool { return r.InFlight() == 0 && r.Held() == 0 })

	s := Serving(func() *Plane { return route(map[string]Split{name: {{r, 100}}}) }, func() bool { return false })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { _ = s.Serve(Bound(l, Limits{})) }()
	_ = s.http.Close() // nothing is taken over any more
	b := dialed(t, l.Addr().String())
	b.send("GET /" + asks + "\r\n")
	b.ended()
	if n := r.InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

// A server that leaves answers what it has, tells clients to come back elsewhere, and closes connections without a request.
func TestServerLeaves(t *testing.T) {
	release := make(chan struct{})
	p := route(map[string]Split{name: {{echoes(t, release), 100}}})
	var leaving atomic.Bool
	s := Serving(func() *Plane { return p }, leaving.Load)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(Bound(l, Limits{})) }()
	quiet, slow, next, chunked := dialed(t, l.Addr().String()), dialed(t, l.Addr().String()), dialed(t, l.Addr().String()), dialed(t, l.Addr().String())
	for _, a := range []*asking{quiet, next, chunked} {
		a.send("GET /" + asks + "\r\n")
		if a.want(200, "/").Close {
			t.Error("it is closed before the server leaves")
		}
	}
	slow.send("GET /slow" + asks + "\r\n")
	time.Sleep(50 * time.Millisecond)
	_ = l.Close()
	leaving.Store(true)
	for a, with := range map[*asking]string{next: "\r\n", chunked: "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"} {
		a.send("GET /next" + asks + with)
		if !a.want(200, "/next").Close {
			t.Error("the client is not told")
		}
		a.ended()
	}
	s.CloseIdle()
	quiet.ended()
	over := make(chan error, 1)
	go func() { over <- s.Shutdown(context.Background()) }()
	select {
	case err := <-over:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	slow.want(200, "/slow")
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// An app's large answer, and one in many small chunks, come as they are.
func TestSessionLargeAnswers(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 40000)
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(len(large)))
		}
		for part := large; part != ""; part = part[min(len(part), 5000):] {
			_, _ = io.WriteString(w, part[:min(len(part), 5000)])
			if r.URL.Path == "/pieces" {
				w.(http.Flusher).Flush()
			}
			if r.URL.Path == "/length" && len(part) == len(large)-300000 {
				time.Sleep(2 * lookTime) // in the middle of what the kernel passes on
			}
		}
	}))
	a := dialed(t, serve(t, route(map[string]Split{name: {{revisionAt(addr, false, RevisionOptions{HTTP1: true}), 100}}})))
	for _, path := range []string{"/length", "/chunks", "/pieces", "/length"} {
		a.send("GET " + path + asks + "\r\n")
		a.want(200, large)
	}
}

// A server that begins to leave while it answers does not close a connection whose client was not told: its next request would be lost.
func TestServerLeavesBetween(t *testing.T) {
	p := route(map[string]Split{name: {{echoes(t, nil), 100}}})
	var asked atomic.Int64
	s := Serving(func() *Plane { return p }, func() bool { return asked.Add(1) > 1 })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(Bound(l, Limits{})) }()
	t.Cleanup(func() { _ = l.Close(); _ = s.Close() })
	a := dialed(t, l.Addr().String())
	a.send("GET /" + asks + "\r\n")
	if a.want(200, "/").Close {
		t.Error("the client is told before the server leaves")
	}
	a.send("GET /" + asks + "\r\n")
	if !a.want(200, "/").Close {
		t.Error("the client is not told")
	}
	a.ended()
}
