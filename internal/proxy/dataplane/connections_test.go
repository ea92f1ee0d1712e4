package dataplane

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
)

// bounded serves h within the limits.
func bounded(t *testing.T, h http.Handler, l Limits) (string, *front) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config = NewServer(h)
	inner := s.Listener
	s.Listener = Bound(inner, l)
	s.Start()
	t.Cleanup(s.Close)
	return inner.Addr().String(), s.Listener.(*listener).front
}

// from dials by a loopback address of the client's own.
func from(t *testing.T, address, front string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 5 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// status asks for path on a connection, and returns the status; 0 where there is no answer.
func statusOn(c net.Conn, path string) int {
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, name)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode
}

// TestAttack_IdleConnections: one client opens thousands of connections and holds them: without a request, after one, or in the middle of
// its headers. It wants to use up the server's descriptors, so that neither requests nor SSH get through. Then several addresses do so
// together. Others are served at once, the client itself gets newer connections for its older ones, and no request under way is cut.
func TestAttack_IdleConnections(t *testing.T) {
	release := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
	})
	addr, f := bounded(t, h, Limits{Connections: 300, PerAddress: 100})
	busy := make(chan int, 20)
	for range cap(busy) { // these do something
		c := from(t, "127.0.0.1", addr)
		go func() { busy <- statusOn(c, "/slow") }()
	}
	apptest.Eventually(t, 15*time.Second, "they are there", func() bool { return f.requests.Load() == int64(cap(busy)) })
	for i := range 2000 {
		switch c := from(t, "127.0.0.1", addr); i % 3 {
		case 1:
			statusOn(c, "/")
		case 2:
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: ")
		}
	}
	if code := statusOn(from(t, "127.0.0.2", addr), "/"); code != 200 {
		t.Errorf("another client: %d", code)
	}
	if code := statusOn(from(t, "127.0.0.1", addr), "/"); code != 200 {
		t.Errorf("the same client: %d", code)
	}
	for n := range 10 {
		for range 100 {
			from(t, fmt.Sprint("127.0.1.", n+1), addr)
		}
	}
	if code := statusOn(from(t, "127.0.0.3", addr), "/"); code != 200 {
		t.Errorf("another client, with all places taken: %d", code)
	}
	f.mu.Lock()
	if f.count > 300 {
		t.Errorf("%d connections", f.count)
	}
	f.mu.Unlock()
	close(release)
	for range cap(busy) {
		if code := <-busy; code != 200 {
			t.Errorf("a request under way: %d", code)
		}
	}
}

// Connections in use are not given up: who has the bound of them is turned away, in words. Trusted proxies have no such bound.
func TestConnectionsInUse(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
	})
	addr, f := bounded(t, h, Limits{Connections: 40, PerAddress: 10, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}})
	hold := func(address string, n int) {
		before := f.requests.Load()
		for range n {
			go statusOn(from(t, address, addr), "/slow")
		}
		apptest.Eventually(t, 15*time.Second, "they are there", func() bool { return f.requests.Load() == before+int64(n) })
	}
	hold("127.0.0.1", 10)
	c := from(t, "127.0.0.1", addr)
	b, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(b), "HTTP/1.1 503 ") || !strings.HasSuffix(string(b), "\r\n\r\n"+tooManyHere+"\n") {
		t.Errorf("%q", b)
	}
	hold("127.0.0.9", 30)
	b, _ = io.ReadAll(from(t, "127.0.0.2", addr))
	if !strings.HasSuffix(string(b), "\r\n\r\n"+tooMany+"\n") {
		t.Errorf("%q", b)
	}
}

// TestAttack_Streams: over HTTP/2 one connection carries hundreds of requests, each of which takes a connection to the app. A client uses
// that to get around the limit on connections. The requests count for their address.
func TestAttack_Streams(t *testing.T) {
	release := make(chan struct{})
	var inside atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			inside.Add(1)
			<-release
		}
	})
	addr, f := bounded(t, h, Limits{Connections: 100, PerAddress: 20})
	c := client(t, addr, true)
	get(t, c, "http://"+name) // the one connection
	var refused atomic.Int64
	var wait sync.WaitGroup
	for range 200 {
		wait.Go(func() {
			res, err := c.Get("http://" + name + "/slow")
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode == 503 {
				refused.Add(1)
			}
		})
	}
	apptest.Eventually(t, 15*time.Second, "the rest is refused", func() bool { return refused.Load() >= 180 })
	if n := inside.Load(); n != 20 {
		t.Errorf("%d requests reach the app", n)
	}
	if code := statusOn(from(t, "127.0.0.2", addr), "/"); code != 200 {
		t.Errorf("another client: %d", code)
	}
	close(release)
	wait.Wait()
	apptest.Eventually(t, 15*time.Second, "none is counted any more", func() bool { return f.requests.Load() == 0 })
}

func TestOrigins(t *testing.T) {
	for sent, want := range map[string]string{"1.2.3.4": "1.2.3.4", "::ffff:1.2.3.4": "1.2.3.4", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "::1": "::1"} {
		if got := origins(&net.TCPAddr{IP: net.ParseIP(sent), Port: 1}); got.String() != want {
			t.Errorf("%s: %s", sent, got)
		}
	}
}
