package dataplane

import (
	"bufio"
	"context"
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
)

const name = "hello.localhost"

func serve(t *testing.T, h http.Handler) string { return serveOn(t, h) }

func serveOn(t testing.TB, h http.Handler) string {
	t.Helper()
	if p, ok := h.(*Plane); ok {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := Serving(func() *Plane { return p }, func() bool { return false })
		go func() { _ = s.Serve(Bound(l, Limits{})) }()
		t.Cleanup(func() { _ = l.Close(); _ = s.Close() })
		return l.Addr().String()
	}
	s := httptest.NewUnstartedServer(h)
	s.Config = NewServer(h)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func to(addr string) Dial {
	return func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", addr) }
}

func revisionAt(addr string, h2c bool, o RevisionOptions) *Revision {
	r := NewRevision(o, time.Now())
	r.SetInstances([]*Instance{NewInstance(addr, h2c, to(addr))})
	return r
}

func route(splits map[string]Split) *Plane {
	p := New(nil)
	p.Publish(&Table{Hosts: splits})
	return p
}

// client talks to front whatever the name in the URL.
func client(t *testing.T, front string, h2c bool) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", front)
	}, Protocols: new(http.Protocols), MaxIdleConnsPerHost: 64}
	tr.Protocols.SetHTTP1(!h2c)
	tr.Protocols.SetUnencryptedHTTP2(h2c)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func app(next chan struct{}) http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") })
	m.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-next // the test has seen it: nothing on the way may hold it back
		}
	})
	m.HandleFunc("/trailer", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Proto", r.Proto)
		w.Header().Set("X-Got", r.Trailer.Get("X-Request"))
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
	})
	m.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer c.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(c, rw)
	})
	m.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "host=%s for=%q fhost=%q proto=%q conn=%q secret=%q", r.Host, r.Header["X-Forwarded-For"], r.Header["X-Forwarded-Host"],
			r.Header["X-Forwarded-Proto"], r.Header["Connection"], r.Header["X-Hop"])
	})
	return m
}

func TestProtocols(t *testing.T) {
	for _, origin := range []bool{false, true} {
		for _, inbound := range []bool{false, true} {
			t.Run(fmt.Sprintf("origin h2c %t, client h2c %t", origin, inbound), func(t *testing.T) {
				next := make(chan struct{})
				r := revisionAt(serve(t, app(next)), origin, RevisionOptions{Timeout: time.Minute})
				c := client(t, serve(t, route(map[string]Split{name: {{r, 100}}})), inbound)
				q, _ := http.NewRequest(http.MethodPost, "http://"+name+"/trailer", io.NopCloser(strings.NewReader("zz")))
				q.Trailer = http.Header{"X-Request": {"7"}}
				res, err := c.Do(q)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.Header.Get("X-Got") != "7" || res.Trailer.Get("X-Sum") != "42" {
					t.Errorf("trailers: the app got %q, the client %q", res.Header.Get("X-Got"), res.Trailer.Get("X-Sum"))
				}
				if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[origin]; res.Header.Get("X-Proto") != want {
					t.Errorf("the app was spoken to in %s", res.Header.Get("X-Proto"))
				}
				res, err = c.Get("http://" + name + "/events")
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				lines := bufio.NewReader(res.Body)
				for i := range 3 {
					l, err := lines.ReadString('\n')
					if err != nil || l != fmt.Sprintf("data: %d\n", i) {
						t.Fatalf("event %d: %q, %v", i, l, err)
					}
					_, _ = lines.ReadString('\n')
					next <- struct{}{}
				}
			})
		}
	}
}

func TestUpgrade(t *testing.T) {
	r := revisionAt(serve(t, app(nil)), false, RevisionOptions{Timeout: time.Minute})
	c, err := net.Dial("tcp", serve(t, route(map[string]Split{name: {{r, 100}}})))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", name)
	b := bufio.NewReader(c)
	res, err := http.ReadResponse(b, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(err, res)
	}
	fmt.Fprint(c, "ping\n")
	if l, err := b.ReadString('\n'); l != "ping\n" {
		t.Errorf("echo: %q, %v", l, err)
	}
}

func TestHosts(t *testing.T) {
	r := revisionAt(serve(t, app(nil)), false, RevisionOptions{})
	front := serve(t, route(map[string]Split{name: {{r, 100}}}))
	c := client(t, front, false)
	for host, want := range map[string]int{
		name: 200, name + ":8080": 200, "HELLO.LocalHost": 200, "hello.localhost.": 200, "hello.localhost.:80": 200,
		"other.localhost": 404, "localhost": 404, "127.0.0.1": 404, "[::1]:8080": 404, "evil\".localhost": 404,
	} {
		q, _ := http.NewRequest(http.MethodGet, "http://"+front, nil)
		q.Host = host
		if strings.Contains(host, `"`) { // the client would refuse it
			conn, err := net.Dial("tcp", front)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
			b, _ := io.ReadAll(conn)
			conn.Close()
			if !strings.HasPrefix(string(b), "HTTP/1.1 4") {
				t.Errorf("%s: %s", host, b)
			}
			continue
		}
		res, err := c.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, res.StatusCode, want)
		}
		if want == 404 && !strings.HasPrefix(string(b), "no app is served at ") {
			t.Errorf("%s: %s", host, b)
		}
	}
}

// What is gitd's own answers at its name even where an app of an older gitd has it, is stopped, or has all names: tokens go there.
func TestOwn(t *testing.T) {
	r := revisionAt(serve(t, app(nil)), false, RevisionOptions{})
	p := route(map[string]Split{"broker.localhost": {{r, 100}}, "*.localhost": {{r, 100}}})
	p.Own("broker.localhost", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	front := serve(t, p)
	is := func(host string, want int) {
		t.Helper()
		q, _ := http.NewRequest(http.MethodPost, "http://"+front, nil)
		q.Host = host
		res, err := client(t, front, false).Do(q)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, res.StatusCode, want)
		}
	}
	is("broker.localhost", http.StatusTeapot)
	is("Broker.localhost.:80", http.StatusTeapot)
	is("other.localhost", http.StatusOK)
	p.Publish(&Table{Hosts: map[string]Split{"broker.localhost": {{r, 100}}}, Stopped: map[string]string{"broker.localhost": "broker"}})
	is("broker.localhost", http.StatusTeapot)
}

func TestForwardedHeaders(t *testing.T) {
	r := revisionAt(serve(t, app(nil)), false, RevisionOptions{})
	for _, trusted := range []bool{false, true} {
		p := New(nil)
		want := `host=hello.localhost for=["127.0.0.1"] fhost=["hello.localhost"] proto=["http"] conn=[] secret=[]`
		if trusted {
			p = New([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
			want = `host=hello.localhost for=["6.6.6.6, 127.0.0.1"] fhost=["example.org"] proto=["https"] conn=[] secret=[]`
		}
		p.Publish(&Table{Hosts: map[string]Split{name: {{r, 100}}}})
		q, _ := http.NewRequest(http.MethodGet, "http://"+name+"/headers", nil)
		q.Header.Set("X-Forwarded-For", "6.6.6.6")
		q.Header.Set("X-Forwarded-Host", "example.org")
		q.Header.Set("X-Forwarded-Proto", "https")
		q.Header.Set("Connection", "X-Hop")
		q.Header.Set("X-Hop", "secret")
		res, err := client(t, serve(t, p), false).Do(q)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(b) != want {
			t.Errorf("trusted %t:\n got %s\nwant %s", trusted, b, want)
		}
	}
}

func TestColdStartHoldsRequests(t *testing.T) {
	var most, now atomic.Int64
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		time.Sleep(2 * time.Millisecond)
	}))
	woken := make(chan struct{}, 1000)
	r := NewRevision(RevisionOptions{Concurrency: 3, Timeout: time.Minute, Wake: func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}}, time.Now())
	c := client(t, serve(t, route(map[string]Split{name: {{r, 100}}})), false)
	var wait sync.WaitGroup
	var failed atomic.Int64
	for range 200 {
		wait.Go(func() {
			res, err := c.Get("http://" + name)
			if err != nil || res.StatusCode != http.StatusOK {
				failed.Add(1)
			}
			if err == nil {
				res.Body.Close()
			}
		})
	}
	<-woken
	for r.InFlight() < 200 {
		time.Sleep(time.Millisecond)
	}
	r.SetInstances([]*Instance{NewInstance(addr, false, to(addr))})
	wait.Wait()
	if failed.Load() != 0 || most.Load() > 3 {
		t.Errorf("%d failed; %d at once at the instance, which takes 3", failed.Load(), most.Load())
	}
	for r.InFlight() > 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestRefusals(t *testing.T) {
	release := make(chan struct{})
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-release
		case "/break":
			panic(http.ErrAbortHandler)
		case "/stream":
			_, _ = io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			<-release
			_, _ = io.WriteString(w, "b")
		}
	}))
	r := revisionAt(addr, false, RevisionOptions{Timeout: 50 * time.Millisecond})
	c := client(t, serve(t, route(map[string]Split{name: {{r, 100}}})), false)
	if code, body := get(t, c, "http://"+name+"/slow"); code != 504 || body != "the app did not answer within 50ms: try again, or tell its owner\n" {
		t.Errorf("slow: %d %s", code, body)
	}
	if code, body := get(t, c, "http://"+name+"/break"); code != 502 || body != "the app closed the connection before it answered: its log may say why\n" {
		t.Errorf("break: %d %s", code, body)
	}
	res, err := c.Get("http://" + name + "/stream") // begins in time, and may go on for longer
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(150*time.Millisecond, func() { close(release) })
	if b, err := io.ReadAll(res.Body); string(b) != "ab" || err != nil {
		t.Errorf("stream: %q, %v", b, err)
	}
	res.Body.Close()
	r.SetInstances(nil)
	if code, _ := get(t, c, "http://"+name+"/"); code != 504 {
		t.Errorf("no instance: %d", code)
	}
	go func() {
		for r.InFlight() == 0 {
			time.Sleep(time.Millisecond)
		}
		r.SetFailing("does not start")
	}()
	if code, body := get(t, c, "http://"+name+"/"); code != 503 && code != 504 || code == 503 && body != "the app does not start\n" {
		t.Errorf("failing: %d %s", code, body)
	}
}
