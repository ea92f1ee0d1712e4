package dataplane

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
)

// An app may close its connections between two requests, as many do after a while. No request fails for it, whatever its method.
func TestStaleLinks(t *testing.T) {
	closed := make(chan bool, 1)
	addr := connectionApp(t, func(c net.Conn) {
		if q, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.Copy(io.Discard, q.Body)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
		time.Sleep(time.Millisecond)
		c.Close()
		closed <- true
	})
	for _, w := range ways {
		c := client(t, w.front(t, addr), false)
		for i := range 60 {
			res, err := c.Post("http://"+name, "text/plain", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != 200 {
				t.Errorf("by %s: request %d: %s", w.name, i, res.Status)
			}
			<-closed
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// TestAttack_AnswerInAdvance: an app sends a second answer that nothing asked for, a moment after the first. It hopes that the next client of this or another app
// gets it. The connection is closed instead.
func TestAttack_AnswerInAdvance(t *testing.T) {
	sent := make(chan bool, 1)
	addr := connectionApp(t, func(c net.Conn) {
		defer c.Close()
		b := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(b); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			time.Sleep(2 * time.Millisecond)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
			sent <- true
		}
	})
	for _, w := range ways {
		if w.netHTTP { // whose client sees it a moment later, perhaps too late
			continue
		}
		c := client(t, w.front(t, addr), false)
		for range 20 {
			if code, body := get(t, c, "http://"+name); code != 200 || body != "ok" {
				t.Errorf("by %s: %d %s", w.name, code, body)
			}
			<-sent
			time.Sleep(time.Millisecond)
		}
	}
}

// Links that nothing uses are closed before the app does so, and none is kept for long.
func TestIdleLinks(t *testing.T) {
	closed := make(chan time.Time, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_, _ = c.Read(make([]byte, 1))
		closed <- time.Now()
	}()
	r := revisionAt(l.Addr().String(), false, RevisionOptions{HTTP1: true})
	front := serve(t, route(map[string]Split{name: {{r, 100}}}))
	get(t, client(t, front, false), "http://"+name)
	began := time.Now()
	in := (*r.instances.Load())[0]
	if n := in.idle.count.Load(); n != 1 {
		t.Errorf("%d links wait", n)
	}
	if took := (<-closed).Sub(began); took < idleTime-100*time.Millisecond {
		t.Errorf("closed after %s", took)
	}
	apptest.Eventually(t, 10*time.Second, "none is left", func() bool { return in.idle.count.Load() == 0 && !in.idle.collect.Load() })
}

// The app's request ends when the client goes away, whatever it is at.
func TestClientLeaves(t *testing.T) {
	ended := make(chan string, 1)
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stream":
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
		case "/upload":
			_, err := io.Copy(io.Discard, r.Body)
			ended <- fmt.Sprint(r.URL.Path, err != nil)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // net/http looks for the client's end from then on
		<-r.Context().Done()
		ended <- r.URL.Path
	}))
	for _, w := range ways {
		front := w.front(t, addr)
		for bytes, want := range map[string]string{
			"GET /wait" + asks + "\r\n":                                 "/wait",
			"GET /stream" + asks + "\r\n":                               "/stream",
			"POST /wait" + asks + "Content-Length: 4\r\n\r\nbody":       "/wait",
			"POST /upload" + asks + "Content-Length: 40000\r\n\r\nbody": "/uploadtrue",
		} {
			c, err := net.Dial("tcp", front)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, bytes)
			time.Sleep(50 * time.Millisecond)
			c.Close()
			select {
			case got := <-ended:
				if got != want {
					t.Errorf("by %s: %s ended, want %s", w.name, got, want)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("by %s: %.20s did not end", w.name, bytes)
			}
		}
	}
}

// An app that does not answer in time is given up, also in the middle of its header; what began in time may go on.
func TestDeadlines(t *testing.T) {
	for begin, want := range map[string]string{"": "HTTP/1.1 504 ", "HTTP/1.1 200 OK\r\nCon": "HTTP/1.1 504 ", "HTTP/1.1 103 Hints\r\n\r\n": "HTTP/1.1 504 "} {
		addr, _ := rawApp(t, begin)
		for _, w := range ways {
			r := revisionAt(addr, false, RevisionOptions{HTTP1: true, Timeout: 100 * time.Millisecond})
			if got := ask(t, w.serve(t, r), "GET /"+asks+"Connection: close\r\n\r\n"); !strings.Contains(got, want) {
				t.Errorf("by %s: %q", w.name, got)
			}
			if n := r.InFlight(); n != 0 {
				t.Errorf("by %s: %d in flight", w.name, n)
			}
		}
	}
}
