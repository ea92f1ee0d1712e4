package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/parts"
	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// restarts are gitds one after the other, over one proxy.
type restarts struct {
	*testing.T
	begin func(Options) (*Proxy, *Revision)
	l     net.Listener

	socket string
	pid    int // of the proxy; 0: it has ended

	trusted  []netip.Prefix   // a setting of the next gitd
	versions wire.Versions    // that it speaks; the zero value: those of this build
	secure   net.Listener     // over TLS; nil: none
	own      *tls.Certificate // for that

	builds int
	old    []int // proxies of builds before
}

func newRestarts(t *testing.T) *restarts {
	serving(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "proxy.sock")
	r := &restarts{T: t, begin: gitds(t, socket), socket: socket, l: l}
	t.Cleanup(func() {
		_ = l.Close()
		if r.pid != 0 {
			_ = syscall.Kill(r.pid, syscall.SIGKILL)
		}
	})
	return r
}

// next begins a gitd, which adopts the proxy that there is.
func (r *restarts) next(held func() *os.File) *Proxy {
	r.Helper()
	own := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "own") })
	o := Options{Held: held, Trusted: r.trusted, Versions: r.versions, Own: map[string]http.Handler{"own.test": own}}
	if r.secure != nil {
		o.Secure = &Secure{Port: 443, Stay: true}
	}
	p, _ := r.begin(o)
	if r.secure != nil {
		p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{"shop.test": r.own}})
	}
	if err := p.Serve(r.l, r.secure); err != nil {
		r.Fatal(err)
	}
	if r.pid != 0 && p.link.hello.PID != r.pid {
		r.Errorf("the proxy is another one, %d and not %d", p.link.hello.PID, r.pid)
	}
	r.pid = p.link.hello.PID
	return p
}

// end ends a gitd, as SIGTERM does.
func (r *restarts) end(p *Proxy, wait time.Duration) {
	p.Stay(r.Context(), wait)
	p.Close()
}

func (r *restarts) ask(when, host, want string) {
	r.Helper()
	if code, body := get(r.T, "http://"+r.l.Addr().String(), host); code != http.StatusOK || body != want {
		r.Errorf("%s: %s: %d %q", when, host, code, body)
	}
}

func (r *restarts) gone(when string) {
	r.Helper()
	apptest.Eventually(r.T, 20*time.Second, "it has ended "+when, func() bool { return syscall.Kill(r.pid, 0) != nil })
	r.pid = 0
}

// build makes the program of the proxy another one than it was.
func (r *restarts) build() {
	r.Helper()
	r.builds++
	if err := os.Chtimes(filepath.Join(os.Getenv("GITD_PARTS"), parts.Proxy), time.Time{}, time.Now().Add(time.Duration(r.builds)*time.Hour)); err != nil {
		r.Fatal(err)
	}
	r.old, r.pid = append(r.old, r.pid), 0
}

// speak makes the program of the proxy another one, which speaks these versions as the next gitd does.
func (r *restarts) speak(v wire.Versions) {
	r.Helper()
	servingVersions(r.T, v)
	r.versions = v
	r.build()
}

// A gitd that ends for a restart leaves its proxy, which the next one finds, or which ends when none has come.
func TestStay(t *testing.T) {
	r := newRestarts(t)
	r.end(r.next(nil), time.Minute)
	r.ask("while there is no gitd", "shop.test", "hello")
	waited := make(chan struct{})
	go func() { defer close(waited); r.ask("asked while there was none", "own.test", "own") }()
	time.Sleep(50 * time.Millisecond)
	p := r.next(nil)
	<-waited
	r.end(p, 100*time.Millisecond)
	r.ask("just before the time is over", "shop.test", "hello")
	r.gone("when no gitd has come")
}

// Where a service manager holds the other end of a descriptor, that counts, and no time.
func TestStay_Held(t *testing.T) {
	r := newRestarts(t)
	var holds *os.File
	hold := func() *os.File {
		ours, theirs, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if holds != nil {
			_ = holds.Close() // the one before goes while there is a gitd
		}
		holds = theirs
		return ours
	}
	r.end(r.next(hold), time.Millisecond)
	r.end(r.next(hold), time.Millisecond)
	time.Sleep(lookTwice)
	r.ask("over the time", "shop.test", "hello")
	_ = holds.Close()
	r.gone("when the service is stopped")

	// A manager that takes none closes it: the time counts.
	r.end(r.next(func() *os.File { f := hold(); _ = holds.Close(); return f }), time.Second)
	r.ask("before the time is over", "shop.test", "hello")
	r.gone("when nothing is held")
}

// lookTwice is more than the pause in which a proxy without a gitd looks whether it may end.
const lookTwice = 1200 * time.Millisecond

// echoes says something over a WebSocket that was opened, which must come back.
func (r *restarts) echoes(socket net.Conn, frames *bufio.Reader) {
	r.Helper()
	_, _ = io.WriteString(socket, "ping")
	b := make([]byte, 4)
	if _, err := io.ReadFull(frames, b); err != nil || string(b) != "ping" {
		r.Errorf("the WebSocket: %q, %v", b, err)
	}
}

// open opens a connection, and asks over it; a WebSocket at /ws.
func (r *restarts) open(path, head string) (net.Conn, *bufio.Reader) {
	r.Helper()
	c, err := net.Dial("tcp", r.l.Addr().String())
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(c)
	_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: shop.test\r\n"+head+"\r\n")
	a, err := http.ReadResponse(in, nil)
	if err != nil {
		r.Fatal(err)
	}
	if a.StatusCode != http.StatusSwitchingProtocols {
		_, _ = io.Copy(io.Discard, a.Body)
	}
	return c, in
}

// A proxy of another build takes over: the one before keeps its connections. It goes by the table as it changes, its connections end with their next answer, and what it has counts: an app whose WebSocket it has is not idle.
// So it is where the two speak of it in versions of their own.
func TestUpgrade(t *testing.T) {
	for name, v := range map[string]wire.Versions{"another build": {}, "a newer version": {Newest: wire.Version + 1, Oldest: wire.Version}} {
		t.Run(name, func(t *testing.T) { upgrade(t, v) })
	}
}

func upgrade(t *testing.T, v wire.Versions) {
	r := newRestarts(t)
	p := r.next(nil)
	kept, in := r.open("/", "")
	socket, frames := r.open("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n")
	if v.Newest == 0 {
		r.build()
	} else {
		r.speak(v)
	}
	r.end(p, time.Minute)
	p = r.next(nil)
	p.mu.Lock()
	before := p.keys["shop/1"]
	p.mu.Unlock()
	had := before.instances[0]
	after := p.NewRevision("shop/2", RevisionOptions{App: "shop"})
	after.SetInstances([]*Instance{instance(t, after, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "second") })})
	p.Publish(&Table{Hosts: map[string]Route{"shop.test": {Split: Split{{after, 100}}}}})
	before.SetInstances(nil)
	p.Settle()
	_, _ = io.WriteString(kept, "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
	a, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(a.Body); err != nil || string(b) != "second" || !a.Close {
		t.Errorf("over the kept connection: %q, %v, closed: %t", b, err, a.Close)
	}
	r.ask("over a new one", "shop.test", "second")
	p.Refresh()
	if n := had.InFlight(); n != 1 || had.Sockets() != 1 {
		t.Errorf("an instance with a WebSocket has %d requests and %d WebSockets", n, had.Sockets())
	}
	r.echoes(socket, frames)
	_ = socket.Close()
	apptest.Eventually(t, 20*time.Second, "the instance is idle", func() bool { return had.InFlight() == 0 })
	apptest.Eventually(t, 20*time.Second, "the proxy before has ended", func() bool { return syscall.Kill(r.old[0], 0) != nil })
	if classes, _ := before.Counts(); classes[2] != 1 || classes[1] != 1 {
		t.Errorf("counted: %v", classes)
	}
	p.Shutdown(t.Context())
	p.Close()
	r.gone("with its gitd")
}

// A proxy that another build has taken over from is found by each gitd that comes, and by what stops everything.
func TestUpgrade_ThenStopped(t *testing.T) {
	r := newRestarts(t)
	p := r.next(nil)
	socket, frames := r.open("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n")
	for range 2 {
		r.build()
		r.end(p, time.Minute)
		p = r.next(nil)
	}
	r.end(p, time.Minute)
	apptest.Eventually(t, 20*time.Second, "the proxy in between has ended", func() bool { return syscall.Kill(r.old[1], 0) != nil })
	r.echoes(socket, frames) // while there is no gitd
	p = r.next(nil)
	p.Refresh()
	p.mu.Lock()
	followed, had := len(p.leaving), p.keys["shop/1"].instances[0]
	p.mu.Unlock()
	if followed != 1 || had.Sockets() != 1 {
		t.Errorf("the next gitd follows %d, and knows of %d WebSockets", followed, had.Sockets())
	}
	p.Close()
	all := Leaving(r.socket)
	if len(all) != 1 {
		t.Fatalf("%d are found", len(all))
	}
	found, err := Adopt(r.socket)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range append(all, found) {
		if err := a.Leave(t.Context()); err != nil {
			t.Error(err)
		}
	}
	r.gone("as it was told")
	if syscall.Kill(r.old[0], 0) == nil {
		t.Error("the first proxy is left")
	}
	if _, err := frames.ReadByte(); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the WebSocket: %v", err)
	}
}

// What a proxy has counted before a gitd adopts it, and what one before it has, is no load of now: the autoscaler would start instances for it.
func TestReport_AfterARestart(t *testing.T) {
	for name, build := range map[string]bool{"restart": false, "upgrade": true} {
		t.Run(name, func(t *testing.T) {
			r := newRestarts(t)
			p := r.next(nil)
			_, _ = r.open("/", "")
			r.open("/slow", "")
			if build {
				r.build()
			}
			r.end(p, time.Minute)
			p = r.next(nil)
			p.mu.Lock()
			shop := p.keys["shop/1"]
			p.mu.Unlock()
			if classes, _ := shop.Counts(); classes[2] != 2 {
				t.Errorf("counted: %v", classes)
			}
			time.Sleep(lookTwice)
			p.Refresh()
			if got := shop.Report(time.Now()); got.RequestCount != 0 || got.AverageConcurrency != 0 {
				t.Errorf("%v requests, %v at once", got.RequestCount, got.AverageConcurrency)
			}
			p.Shutdown(t.Context())
			p.Close()
		})
	}
}

// A gitd for one command, which knows no settings, leads the proxy that serves on: it goes by the command's table, during it and after it, and keeps the rest, with the time that it stays.
func TestKeeps(t *testing.T) {
	r := newRestarts(t)
	p, _ := r.begin(Options{Domain: "apps.test", Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err := p.Serve(r.l, nil); err != nil {
		t.Fatal(err)
	}
	r.pid = p.link.hello.PID
	r.end(p, 2*time.Second)
	found, err := Adopt(r.socket)
	if err != nil {
		t.Fatal(err)
	}
	if !found.Current() || found.Domain() != "apps.test" {
		t.Errorf("current: %t, domain %q", found.Current(), found.Domain())
	}
	p, _ = r.begin(Options{Adopted: found, Keeps: true})
	if err := p.Serve(nil, nil); err != nil {
		t.Fatal(err)
	}
	r.ask("during it", "shop.test", "hello")
	after := p.NewRevision("shop/2", RevisionOptions{App: "shop"})
	after.SetInstances([]*Instance{instance(t, after, func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.WriteString(w, "second for "+q.Header.Get("X-Forwarded-For"))
	})})
	p.Publish(&Table{Hosts: map[string]Route{"shop.test": {Split: Split{{after, 100}}}}})
	p.Close()
	q, _ := http.NewRequest(http.MethodGet, "http://"+r.l.Addr().String(), nil)
	q.Host = "shop.test"
	q.Header.Set("X-Forwarded-For", "192.0.2.1")
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if b, _ := io.ReadAll(a.Body); string(b) != "second for 192.0.2.1, 127.0.0.1" {
		t.Errorf("after it: %q", b)
	}
	r.gone("when no gitd has come")
}
