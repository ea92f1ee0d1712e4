package proxy

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/parts/partstest"
)

// restarts are gitds one after the other, over one proxy.
type restarts struct {
	*testing.T
	begin func(Options) (*Proxy, *Revision)
	l     net.Listener
	pid   int // of the proxy; 0: it has ended
}

func newRestarts(t *testing.T) *restarts {
	partstest.Serving(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &restarts{T: t, begin: gitds(t, filepath.Join(t.TempDir(), "proxy.sock")), l: l}
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
	p, _ := r.begin(Options{Held: held, Own: map[string]http.Handler{"own.test": own}})
	if err := p.Serve(r.l, nil); err != nil {
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
