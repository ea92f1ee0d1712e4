package dataplane

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
)

// TestAttack_AskedAndLeft: a client asks for what takes the app long, and goes away. It hopes that the proxy, which takes the end of its wait for a connection that
// the app has closed, asks the app again and again. The app is asked once.
func TestAttack_AskedAndLeft(t *testing.T) {
	var slow, quick atomic.Int64
	together := make(chan struct{})
	addr := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			slow.Add(1)
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Second):
			}
			return
		}
		if quick.Add(1) == 8 { // eight connections to the app wait afterwards
			close(together)
		}
		<-together
	}))
	for _, w := range ways {
		front := w.front(t, addr)
		slow.Store(0)
		quick.Store(0)
		together = make(chan struct{})
		var wait sync.WaitGroup
		for range 8 {
			a := dialed(t, front)
			wait.Go(func() {
				a.send("GET /quick" + asks + "\r\n")
				a.want(200, "")
			})
		}
		wait.Wait()
		a := dialed(t, front)
		a.send("GET /slow" + asks + "\r\n")
		apptest.Eventually(t, 5*time.Second, "the app is asked", func() bool { return slow.Load() > 0 })
		a.Close()
		time.Sleep(4 * lookTime)
		if n := slow.Load(); n != 1 {
			t.Errorf("by %s: the app was asked %d times", w.name, n)
		}
	}
}

// What a session leaves to net/http in the middle says the same as all other answers: that the name is to be reached over HTTPS, and that a server leaves.
func TestSessionLeftAnswers(t *testing.T) {
	hints := connectionApp(t, func(c net.Conn) {
		defer c.Close()
		b := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(b); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	broken := connectionApp(t, func(c net.Conn) { c.Close() })
	none := "127.0.0.1:1"
	for addr, want := range map[string]int{hints: 200, broken: 502, none: 504} {
		r := revisionAt(addr, false, RevisionOptions{HTTP1: true, Timeout: time.Second})
		p := route(map[string]Split{name: {{r, 100}}})
		p.ServeTLS(Secure{Port: 443, HSTS: time.Hour})
		own := selfSigned(t, name)
		var leaving atomic.Bool
		s := Serving(func() *Plane { return p }, leaving.Load)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = s.Serve(p.TLS(Bound(l, Limits{}))) }()
		t.Cleanup(func() { _ = l.Close(); _ = s.Close() })
		p.PublishCertificates(byName(own))
		for _, leaves := range []bool{false, true} {
			leaving.Store(leaves)
			a := overTLS(t, l.Addr().String(), own)
			a.send("GET /" + asks + "\r\n")
			res, err := http.ReadResponse(a.b, nil)
			if err == nil && res.StatusCode == 103 {
				res, err = http.ReadResponse(a.b, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := res.Header.Get("Strict-Transport-Security"); res.StatusCode != want || got != "max-age=3600" {
				t.Errorf("%s, want %d; Strict-Transport-Security %q", res.Status, want, got)
			}
			if res.Close != leaves {
				t.Errorf("%s: the server leaves: %t, and the answer says so: %t", res.Status, leaves, res.Close)
			}
		}
	}
}

// A connection that comes at the moment in which a server that leaves closes those without a request gets its answer.
func TestServerLeavesWithNewConnections(t *testing.T) {
	p := route(map[string]Split{name: {{echoes(t, nil), 100}}})
	s := Serving(func() *Plane { return p }, func() bool { return true })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(Bound(l, Limits{})) }()
	t.Cleanup(func() { _ = l.Close(); _ = s.Close() })
	s.CloseIdle()
	a := dialed(t, l.Addr().String())
	time.Sleep(20 * time.Millisecond)
	a.send("GET /" + asks + "\r\n")
	if !a.want(200, "/").Close {
		t.Error("the client is not told")
	}
}

// TestAttack_HeldMemory: a client sends a head with as many fields as there is room for, and leaves the connection open. Each of thousands makes the server hold what
// it was read into. Between two requests a connection holds no more than one that has asked for little.
func TestAttack_HeldMemory(t *testing.T) {
	r := revisionAt(serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), false, RevisionOptions{HTTP1: true})
	front := way{}.serve(t, r)
	held := func(head string) int64 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		const many = 100
		var open []*asking
		for range many {
			a := dialed(t, front)
			a.send("GET /" + asks + head + "\r\n")
			a.want(200, "")
			open = append(open, a)
		}
		(*r.instances.Load())[0].Close() // the connections to the app
		runtime.GC()
		runtime.ReadMemStats(&after)
		for _, a := range open {
			a.Close()
		}
		return (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / many
	}
	held("")
	little, much := held("X-A: b\r\n"), held(strings.Repeat("a:\r\n", (mostHead-200)/4))
	t.Logf("%d bytes, and %d after a long head", little, much)
	if much > little+16<<10 {
		t.Errorf("a connection holds %d bytes after a short head, and %d after a long one", little, much)
	}
}

// abort begins a request in the i-th way, and breaks off.
func abort(t *testing.T, front string, i int) {
	c, err := net.Dial("tcp", front)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	if i%2 == 0 {
		_ = c.(*net.TCPConn).SetLinger(0) // a reset
	}
	whole := "POST /1" + asks + "Content-Length: 5\r\n\r\nhello" + "GET /slow" + asks + "\r\n"
	switch i % 7 {
	case 0:
		_, _ = io.WriteString(c, whole[:i%len(whole)])
	case 1:
		_, _ = io.WriteString(c, "GET /slow"+asks+"\r\n")
		time.Sleep(5 * time.Millisecond)
	case 2:
		_, _ = io.WriteString(c, "GET /"+asks+"\r\n")
		_, _ = io.ReadFull(c, make([]byte, 1000))
	case 3:
		_, _ = io.WriteString(c, "POST /"+asks+"Content-Length: 100000\r\n\r\nhello")
		time.Sleep(5 * time.Millisecond)
	case 4:
		_, _ = io.WriteString(c, "POST /"+asks+"Transfer-Encoding: chunked\r\n\r\n5\r\nhel")
		time.Sleep(5 * time.Millisecond)
	case 5:
		_, _ = io.WriteString(c, whole)
		_ = c.(*net.TCPConn).CloseWrite()
		time.Sleep(5 * time.Millisecond)
	case 6:
		for _, b := range []byte(whole[:90]) {
			_, _ = c.Write([]byte{b})
		}
	}
}

// TestAttack_Aborted: clients break off at every point of a request: in its head, in its body, before, in and after the answer, by a reset or by an end. Nothing of
// them is left: no goroutine, no descriptor, no slot.
func TestAttack_Aborted(t *testing.T) {
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/slow" {
			select {
			case <-r.Context().Done():
			case <-time.After(time.Minute):
			}
		}
		_, _ = w.Write(make([]byte, 300<<10))
	}))
	r := revisionAt(addr, false, RevisionOptions{HTTP1: true, Timeout: time.Minute, Concurrency: 2000})
	front := way{}.serve(t, r)
	many := func(n int) {
		var wait sync.WaitGroup
		for k := range 20 {
			wait.Go(func() {
				for i := k; i < n; i += 20 {
					abort(t, front, i)
				}
			})
		}
		wait.Wait()
	}
	descriptors := func() int { all, _ := os.ReadDir("/proc/self/fd"); return len(all) }
	many(40)
	settle := func() bool { return r.InFlight() == 0 && (*r.instances.Load())[0].InFlight() == 0 }
	apptest.Eventually(t, 20*time.Second, "all have ended", settle)
	time.Sleep(idleTime + 2*collectTime)
	goroutines, files := runtime.NumGoroutine(), descriptors()
	many(1000)
	apptest.Eventually(t, 20*time.Second, "all have ended again", settle)
	apptest.Eventually(t, 20*time.Second, "nothing is left", func() bool {
		return runtime.NumGoroutine() <= goroutines+10 && descriptors() <= files+10
	})
	t.Logf("%d goroutines before, %d after; %d descriptors before, %d after", goroutines, runtime.NumGoroutine(), files, descriptors())
	if !settle() {
		t.Errorf("%d in flight", r.InFlight())
	}
}

// TestAttack_SlowHead: a client sends its head one octet at a time, for longer than any may take, or stops in the middle. It is cut off. A body may take its time, up to
// the app's own: it has until then to answer.
func TestAttack_SlowHead(t *testing.T) {
	r := revisionAt(serve(t, &notingApp{}), false, RevisionOptions{HTTP1: true, Timeout: 2 * time.Second})
	p := route(map[string]Split{name: {{r, 100}}})
	s := Serving(func() *Plane { return p }, func() bool { return false })
	const patience = 700 * time.Millisecond
	s.patience = patience
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(Bound(l, Limits{})) }()
	t.Cleanup(func() { _ = l.Close(); _ = s.Close() })

	began := time.Now()
	cut := make(chan string, 3)
	for _, head := range []string{"", "GET /" + asks, "GET /" + asks + strings.Repeat("X-A: b\r\n", 1000)} {
		a := dialed(t, l.Addr().String())
		go func() {
			for i := 0; i < len(head) && time.Since(began) < 5*patience; i++ {
				if _, err := a.Conn.Write([]byte{head[i]}); err != nil {
					break
				}
				time.Sleep(patience / 100)
			}
		}()
		go func() {
			b, _ := io.ReadAll(a.Conn)
			cut <- fmt.Sprintf("%q after %s", b, time.Since(began).Round(time.Second))
		}()
	}
	body, never := dialed(t, l.Addr().String()), dialed(t, l.Addr().String())
	never.send("POST /" + asks + "Content-Length: 3\r\n\r\na")
	body.send("POST /" + asks + "Content-Length: 3\r\n\r\na")
	for range cap(cut) {
		if got := <-cut; got != `"" after 1s` {
			t.Errorf("cut off: %s", got)
		}
	}
	body.send("bc")
	body.want(200, "ok")
	never.want(504, "")
}

// The octets of a request may come one by one, or all of several at once: what the app gets is the same.
func TestSessionPieces(t *testing.T) {
	app := &notingApp{}
	front := way{}.front(t, serve(t, app))
	whole := ""
	for i := range 5 {
		whole += fmt.Sprintf("POST /%d%sContent-Length: %d\r\nx-a: %d\r\n\r\n%s", i, asks, i, i, "hello"[:i])
	}
	var want []string
	for _, size := range []int{len(whole), 1, 2, 3, 7, 64} {
		a := dialed(t, front)
		go func() {
			for part := whole; part != ""; part = part[min(size, len(part)):] {
				_, _ = io.WriteString(a.Conn, part[:min(size, len(part))])
				time.Sleep(200 * time.Microsecond)
			}
		}()
		for range 5 {
			a.want(200, "ok")
		}
		got := app.take()
		if want == nil {
			want = got
		}
		if len(got) != 5 || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%d at a time: %q, want %q", size, got, want)
		}
		a.Close()
	}
}

// byName are the certificates with one for name.
func byName(c *tls.Certificate) *Certificates {
	return &Certificates{ByName: map[string]*tls.Certificate{name: c}}
}

// overTLS opens a connection over TLS.
func overTLS(t *testing.T, addr string, own *tls.Certificate) *asking {
	t.Helper()
	a := dialed(t, addr)
	config := trusts(own)
	config.ServerName = name
	c := tls.Client(a.Conn, config)
	a.Conn, a.b = c, bufio.NewReader(c)
	return a
}

// A client that says that it sends no more gets an answer that comes soon. One that is long in coming is given up, as when the client has gone: the two cannot be told apart. The app's request ends.
func TestSessionHalfClosed(t *testing.T) {
	ended := make(chan bool, 1)
	front := way{}.front(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			ended <- true
		}
	})))
	for range 20 {
		a := dialed(t, front)
		a.send("GET /" + asks + "\r\n")
		_ = a.Conn.(*net.TCPConn).CloseWrite()
		a.want(200, "")
		a.ended()
	}
	a := dialed(t, front)
	a.send("GET /slow" + asks + "\r\n")
	_ = a.Conn.(*net.TCPConn).CloseWrite()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the app goes on")
	}
	a.ended()
}
