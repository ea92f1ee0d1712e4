package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/parts"
	"github.com/gitd-io/gitd/internal/proxy/process"
	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// A link that ends, as by a frame that is damaged, takes nothing along where the proxy lives on: what is under way is answered, what waits for an app at zero goes on to wait, gitd is told again that it is
// asked for, and a connection is kept.
func TestLinkLost(t *testing.T) {
	p := newFor(t, Options{})
	proxy := process.New(process.Options{Log: t.Logf})
	p.o.Inside = func(c *net.UnixConn) { t.Logf("the link has ended: %v", proxy.Serve(c)) }
	woken := make(chan struct{}, 100)
	zero := p.NewRevision("zero/1", RevisionOptions{App: "zero", Timeout: time.Minute, Wake: func() { woken <- struct{}{} }})
	slow := p.NewRevision("slow/1", RevisionOptions{App: "slow"})
	begun, release := make(chan struct{}, 1), make(chan struct{})
	slow.SetInstances([]*Instance{instance(t, slow, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- struct{}{}
			<-release
		}
		_, _ = io.WriteString(w, "slow")
	})})
	p.Publish(&Table{Hosts: map[string]Route{"zero.test": {Split: Split{{zero, 100}}}, "slow.test": {Split: Split{{slow, 100}}}}})
	url := p.serveTest(t)
	kept, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	answers := bufio.NewReader(kept)
	ask := func() {
		t.Helper()
		_, _ = io.WriteString(kept, "GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n")
		a, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(a.Body); err != nil || string(b) != "slow" {
			t.Errorf("%q, %v", b, err)
		}
	}
	ask()
	slowly, waiting := make(chan string, 1), make(chan string, 1)
	go func() { _, body := get(t, url+"/slow", "slow.test"); slowly <- body }()
	go func() { _, body := get(t, url, "zero.test"); waiting <- body }()
	<-begun
	<-woken
	time.Sleep(50 * time.Millisecond)
	for len(woken) > 0 {
		<-woken
	}
	p.mu.Lock()
	before := p.link
	p.mu.Unlock()
	before.End(wire.ErrDamaged)
	select {
	case <-woken:
	case <-time.After(time.Minute):
		t.Fatal("the next link does not tell that an app at zero is asked for")
	}
	ask()
	close(release)
	if body := <-slowly; body != "slow" {
		t.Errorf("what was under way: %q", body)
	}
	zero.SetInstances([]*Instance{instance(t, zero, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "woken") })})
	if body := <-waiting; body != "woken" {
		t.Errorf("what waited: %q", body)
	}
}

// gitds returns what makes the gitd that serves one app, and the next ones.
func gitds(t *testing.T, socket string) func(Options) (*Proxy, *Revision) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch {
		case q.Header.Get("Upgrade") != "":
			echo(w)
			return
		case q.URL.Path == "/slow":
			time.Sleep(slowAnswer)
		}
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(app.Close)
	return func(o Options) (*Proxy, *Revision) {
		o.Socket, o.Log = socket, t.Logf
		p := New(o)
		r := p.NewRevision("shop/1", RevisionOptions{App: "shop"})
		r.SetInstances([]*Instance{r.NewInstance("shop-1", false, Way{Port: app.Listener.Addr().(*net.TCPAddr).Port})})
		p.Publish(&Table{Hosts: map[string]Route{"shop.test": {Split: Split{{r, 100}}}}})
		return p, r
	}
}

// A gitd that is killed leaves its proxy, which serves on; the next one finds it with its listeners and its counts, and one of another build replaces it.
func TestAdopt(t *testing.T) {
	serving(t)
	socket := filepath.Join(t.TempDir(), "proxy.sock")
	begin := gitds(t, socket)
	first, _ := begin(Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := first.Serve(l, nil); err != nil {
		t.Fatal(err)
	}
	ask := func(when string) {
		t.Helper()
		if code, body := get(t, "http://"+address, "shop.test"); code != http.StatusOK || body != "hello" {
			t.Errorf("%s: %d %q", when, code, body)
		}
	}
	ask("at first")
	pid := first.link.hello.PID
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	first.Close() // as the kernel does it for one that is killed
	_ = l.Close()
	ask("while there is no gitd")

	found, err := Adopt(socket)
	if err != nil {
		t.Fatal(err)
	}
	if found.Listener("http", "127.0.0.1:1") != nil || found.Listener("https", address) != nil {
		t.Error("it has a listener that it does not have")
	}
	held := found.Listener("http", address)
	if held == nil {
		t.Fatal("it does not give its listener back")
	}
	second, r := begin(Options{Adopted: found})
	if err := second.Serve(held, nil); err != nil {
		t.Fatal(err)
	}
	if second.link.hello.PID != pid {
		t.Errorf("another proxy, %d and not %d", second.link.hello.PID, pid)
	}
	ask("adopted")
	second.Refresh()
	if classes, _ := r.Counts(); classes[2] != 3 {
		t.Errorf("counted: %v", classes)
	}
	second.Shutdown(t.Context())
	second.Close()
}

// A gitd of another build replaces the proxy, which answers what it has, and ends.
func TestAdopt_OfAnotherBuild(t *testing.T) {
	serving(t)
	socket := filepath.Join(t.TempDir(), "proxy.sock")
	begin := gitds(t, socket)
	first, _ := begin(Options{})
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Serve(held, nil); err != nil {
		t.Fatal(err)
	}
	pid := first.link.hello.PID
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	first.Close()
	program := filepath.Join(os.Getenv("GITD_PARTS"), parts.Proxy)
	if err := os.Chtimes(program, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	third, _ := begin(Options{})
	if err := third.Serve(held, nil); err != nil {
		t.Fatal(err)
	}
	if third.link.hello.PID == pid {
		t.Error("a proxy of another build is taken")
	}
	if code, body := get(t, "http://"+held.Addr().String(), "shop.test"); code != http.StatusOK || body != "hello" {
		t.Errorf("%d %q", code, body)
	}
	apptest.Eventually(t, time.Minute, "the one before has ended", func() bool { return syscall.Kill(pid, 0) != nil })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	third.Shutdown(ctx)
	third.Close()
	apptest.Eventually(t, time.Minute, "nothing is left", func() bool { _, err := net.Dial("unix", socket); return err != nil })
}
