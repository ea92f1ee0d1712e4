package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
)

// halfway is a body that stops after a quarter until it may go on.
type halfway struct {
	left  int64
	stop  int64 // how much is left then
	there *sync.WaitGroup
	once  sync.Once
	goOn  chan struct{}
}

func (h *halfway) Read(b []byte) (int, error) {
	if h.left <= h.stop {
		h.once.Do(h.there.Done)
		<-h.goOn
	}
	if h.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), h.left)
	h.left -= n
	return int(n), nil
}

func TestTakeover_LargeBodies(t *testing.T)      { largeBodies(t, 64<<20) }
func TestTakeover_LargeBodies_Long(t *testing.T) { largeBodies(t, 1<<30) }

// An upload and a download, of 1 GB in the long test, that are under way go on through a cut-over to another revision, a kill of gitd, and an upgrade of the proxy: all of them arrive, and what comes later has the other revision.
func largeBodies(t *testing.T, large int64) {
	r := newRestarts(t)
	p := r.next(nil)
	before := p.NewRevision("shop/0", RevisionOptions{App: "shop"})
	before.SetInstances([]*Instance{instance(t, before, func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPost {
			n, err := io.Copy(io.Discard, q.Body)
			_, _ = fmt.Fprint(w, n, err)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(large))
		_, _ = io.CopyN(w, zeros{}, large)
	})})
	p.Publish(&Table{Hosts: map[string]Route{"shop.test": {Split: Split{{before, 100}}}}})
	p.Settle()

	var there, ended sync.WaitGroup
	goOn := make(chan struct{})
	there.Add(2)
	url := "http://" + r.l.Addr().String()
	ended.Go(func() {
		q, _ := http.NewRequest(http.MethodPost, url, &halfway{left: large, stop: large / 4 * 3, there: &there, goOn: goOn})
		q.Host, q.ContentLength = "shop.test", large
		if _, body, err := answered(q); err != nil || body != fmt.Sprint(large, " <nil>") {
			t.Errorf("the upload: %q, %v", body, err)
		}
	})
	ended.Go(func() {
		q, _ := http.NewRequest(http.MethodGet, url, nil)
		q.Host = "shop.test"
		a, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			t.Error(err)
			there.Done()
			return
		}
		defer a.Body.Close()
		n, err := io.CopyN(io.Discard, a.Body, large/4)
		there.Done()
		<-goOn
		rest, e := io.Copy(io.Discard, a.Body)
		if n+rest != large || err != nil || e != nil {
			t.Errorf("the download: %d, %v, %v", n+rest, err, e)
		}
	})
	there.Wait()
	p.mu.Lock()
	after := p.keys["shop/1"]
	p.mu.Unlock()
	p.Publish(&Table{Hosts: map[string]Route{"shop.test": {Split: Split{{after, 100}}}}})
	p.Settle()
	r.ask("after the cut-over", "shop.test", "hello")
	p.Close() // killed
	p = r.next(nil)
	r.build()
	r.end(p, time.Minute)
	p = r.next(nil)
	r.ask("after the upgrade", "shop.test", "hello")
	close(goOn)
	ended.Wait()
	p.Shutdown(t.Context())
	p.Close()
	r.gone("with its gitd")
}

func answered(q *http.Request) (int, string, error) {
	a, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		return 0, "", err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return a.StatusCode, string(b), err
}

// zeros is a reader without an end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestAttack_TenThousandIdle: ten thousand connections that do nothing: without a request, after one, and in the middle of a head. Others are served, gitd is killed and comes back, and when they are closed nothing of them is left.
func TestAttack_TenThousandIdle(t *testing.T) {
	r := newRestarts(t)
	p := r.next(nil)
	const many = 10_000
	var open []*net.TCPConn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for i := range many {
		c, err := net.Dial("tcp", r.l.Addr().String())
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		_ = c.(*net.TCPConn).SetLinger(0) // no ports are kept for them
		open = append(open, c.(*net.TCPConn))
		switch i % 3 {
		case 1:
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
			if a, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || a.StatusCode != http.StatusOK {
				t.Fatalf("connection %d: %v, %v", i, a, err)
			}
		case 2:
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: sh")
		}
	}
	began := time.Now()
	r.ask("beside them", "shop.test", "hello")
	p.Close()
	r.ask("while there is no gitd", "shop.test", "hello")
	p = r.next(nil)
	r.ask("with the next gitd", "shop.test", "hello")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("three requests and a kill take %s", took)
	}
	p.Refresh()
	opened, _ := p.Connections()
	memory := apptest.Anonymous(t, r.pid)
	t.Logf("%d open, %d MB", opened, memory>>20)
	if opened < many/3 || memory > 300<<20 { // those in the middle of a head are cut off
		t.Errorf("%d are open, with %d MB", opened, memory>>20)
	}
	for _, c := range open {
		_ = c.Close()
	}
	apptest.Eventually(t, 20*time.Second, "none is open", func() bool {
		p.Refresh()
		opened, _ = p.Connections()
		return opened < 100
	})
	p.Shutdown(t.Context())
	p.Close()
	r.gone("with its gitd")
}
