//lint:file-ignore SA1019 The client is http2.Transport: the one of net/http sends no :protocol.

package dataplane

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// net/http reads the variable before main.
func TestMain(m *testing.M) {
	if name, value, _ := strings.Cut(ExtendedConnect, "="); os.Getenv(name) != value {
		_ = os.Setenv(name, value)
		panic(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
	}
	os.Exit(m.Run())
}

// stream is a client's WebSocket over HTTP/2: what it writes is sent, and the response.
type stream struct {
	*http.Response
	to    io.Writer
	close func()
}

func openStream(t *testing.T, c http.RoundTripper, url, protocol string) stream {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	q, err := http.NewRequestWithContext(ctx, http.MethodConnect, url, r)
	if err != nil {
		t.Fatal(err)
	}
	q.Header[":protocol"] = []string{protocol}
	q.Header.Set("Sec-WebSocket-Protocol", "chat")
	res, err := c.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(); _ = res.Body.Close() })
	return stream{res, w, func() { _ = w.Close() }}
}

// sockets is an app with WebSockets, behind HTTPS, and a client over HTTP/2.
type sockets struct {
	client   *http2.Transport
	instance *Instance
	seen     chan *http.Request // what the app got
	left     chan struct{}      // the app has learned that a client left
}

func newSockets(t *testing.T) *sockets {
	s := &sockets{seen: make(chan *http.Request, 1), left: make(chan struct{}, 1)}
	p, _, front := secured(t, Secure{}, Limits{}, s)
	certificate := selfSigned(t, name)
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{name: certificate}})
	config := trusts(certificate)
	config.NextProtos = []string{http2.NextProtoTLS}
	s.client = &http2.Transport{TLSClientConfig: config, DialTLSContext: func(ctx context.Context, _, _ string, config *tls.Config) (net.Conn, error) {
		config.ServerName = name
		return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", front)
	}}
	t.Cleanup(s.client.CloseIdleConnections)
	s.instance = (*p.table.Load().Hosts[name][0].Revision.instances.Load())[0]
	return s
}

// ServeHTTP is the app.
func (s *sockets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/refused":
		http.Error(w, "not today", http.StatusForbidden)
		return
	case "/plain":
		_, _ = io.WriteString(w, r.Method)
		return
	}
	s.seen <- r
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\nX-Long: " +
		strings.Repeat("x", 5000) + "\r\n\r\nfirst ")
	_ = rw.Flush()
	for r.URL.Path == "/flood" {
		if _, err := c.Write(make([]byte, 64<<10)); err != nil {
			s.left <- struct{}{}
			return
		}
	}
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			s.left <- struct{}{}
			return
		}
		if line == "end\n" {
			return
		}
		fmt.Fprintf(c, "%d %s", len(line), line)
	}
}

func TestExtended(t *testing.T) {
	s := newSockets(t)
	c := openStream(t, s.client, "https://"+name+"/socket?a=b", "websocket")
	q := <-s.seen
	if q.Method != http.MethodGet || q.Proto != "HTTP/1.1" || q.RequestURI != "/socket?a=b" || q.Host != name || q.Header.Get("Upgrade") != "websocket" || len(q.Header.Get("Sec-WebSocket-Key")) != 24 ||
		q.Header.Get("Sec-WebSocket-Protocol") != "chat" || q.Header.Get("X-Forwarded-Proto") != "https" || q.ContentLength != 0 || len(q.TransferEncoding) > 0 {
		t.Errorf("the app got %s %s %s of %s, %v, length %d", q.Method, q.RequestURI, q.Proto, q.Host, q.Header, q.ContentLength)
	}
	if c.StatusCode != 200 || c.Header.Get("Sec-WebSocket-Protocol") != "chat" || len(c.Header.Get("X-Long")) != 5000 || c.Header.Get("Sec-WebSocket-Accept") != "" || c.Header.Get("Upgrade") != "" || c.ContentLength != -1 {
		t.Errorf("the client got %s, %v, length %d", c.Status, c.Header, c.ContentLength)
	}
	lines := bufio.NewReader(c.Body)
	for i, want := range []string{"first 4 one\n", "4 two\n"} {
		fmt.Fprintln(c.to, []string{"one", "two"}[i])
		if got, err := lines.ReadString('\n'); got != want || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if n := s.instance.Sockets(); n != 1 {
		t.Errorf("%d sockets", n)
	}
	fmt.Fprintln(c.to, "end") // the app closes
	if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the app's end: %v", err)
	}
}

// Each way in which a client leaves reaches the app.
func TestExtended_ClientLeaves(t *testing.T) {
	s := newSockets(t)
	for _, path := range []string{"/socket", "/flood"} {
		c := openStream(t, s.client, "https://"+name+path, "websocket")
		<-s.seen
		if path == "/flood" {
			time.Sleep(100 * time.Millisecond) // nothing is read, and the windows are full
			_ = c.Body.Close()
		} else {
			c.close()
		}
		select {
		case <-s.left:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the app does not learn that the client has left", path)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); s.instance.Sockets() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d sockets are left", s.instance.Sockets())
		}
	}
}

func TestExtended_Refused(t *testing.T) {
	s := newSockets(t)
	for _, w := range []struct {
		path, protocol string
		status         int
		body           string
	}{
		{"/refused", "websocket", 403, "not today\n"},
		{"/plain", "websocket", 200, "GET"},
		{"/socket", "connect-udp", 501, "over HTTP/2 only WebSockets are served, not \"connect-udp\"\n"},
	} {
		c := openStream(t, s.client, "https://"+name+w.path, w.protocol)
		c.close()
		if b, err := io.ReadAll(c.Body); c.StatusCode != w.status || string(b) != w.body || err != nil {
			t.Errorf("%s: %d %q, %v", w.path, c.StatusCode, b, err)
		}
	}
}
