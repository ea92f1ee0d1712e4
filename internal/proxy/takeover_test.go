package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
)

// slowAnswer is how long the app takes for some of its answers.
const slowAnswer = 300 * time.Millisecond

// echo answers a WebSocket, or what a proxy takes for one: what comes goes back.
func echo(w http.ResponseWriter) {
	c, b, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(c, b)
}

// visitors are clients that send no request twice: what fails has failed.
type visitors struct {
	*testing.T
	address string
	ctx     context.Context
	wait    sync.WaitGroup
	failed  atomic.Int64
	counts  [4]atomic.Int64
}

const (
	overKept = iota
	overNew
	slowly
	overSockets
)

// visit loads a proxy until ctx ends.
func visit(t *testing.T, ctx context.Context, address string) *visitors {
	v := &visitors{T: t, address: address, ctx: ctx}
	for range 2 {
		v.wait.Go(func() { v.requests(overKept, "/", true) })
		v.wait.Go(func() { v.requests(overNew, "/", false) })
		v.wait.Go(func() { v.requests(slowly, "/slow", true) })
		v.wait.Go(func() { v.requests(slowly, "/slow", false) })
		v.wait.Go(v.socket)
	}
	return v
}

func (v *visitors) asked() (n int64) {
	for i := range v.counts {
		n += v.counts[i].Load()
	}
	return n
}

func (v *visitors) requests(what int, path string, keep bool) {
	var c net.Conn
	var in *bufio.Reader
	for v.ctx.Err() == nil {
		if c == nil {
			var err error
			if c, err = net.Dial("tcp", v.address); err != nil {
				v.failure(err)
				continue
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Minute))
			in = bufio.NewReader(c)
		}
		last, err := ask(c, in, path)
		v.counts[what].Add(1)
		if err != nil {
			v.failure(err)
		}
		if err != nil || last || !keep {
			_ = c.Close()
			c = nil
		}
	}
	if c != nil {
		_ = c.Close()
	}
}

// ask sends one request. last says that the connection takes no other one.
func ask(c net.Conn, in *bufio.Reader, path string) (last bool, err error) {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: shop.test\r\n\r\n", path); err != nil {
		return false, err
	}
	a, err := http.ReadResponse(in, nil)
	if err != nil {
		return false, err
	}
	b, err := io.ReadAll(a.Body)
	if err == nil && (a.StatusCode != http.StatusOK || string(b) != "hello") {
		err = fmt.Errorf("%d %q", a.StatusCode, b)
	}
	return a.Close, err
}

func (v *visitors) socket() {
	c, err := net.Dial("tcp", v.address)
	if err != nil {
		v.failure(err)
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(c)
	if a, err := http.ReadResponse(in, nil); err != nil || a.StatusCode != http.StatusSwitchingProtocols {
		v.failure(errors.New("no WebSocket"))
		return
	}
	for b := make([]byte, 4); v.ctx.Err() == nil; time.Sleep(time.Millisecond) {
		_, err := io.WriteString(c, "ping")
		if err == nil {
			_, err = io.ReadFull(in, b)
		}
		v.counts[overSockets].Add(1)
		if err != nil {
			v.failure(fmt.Errorf("a WebSocket is cut: %w", err))
			return
		}
	}
}

func (v *visitors) failure(err error) {
	v.failed.Add(1)
	v.Logf("%v", err)
}

func number(name string, otherwise int) int {
	if v, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return v
	}
	return otherwise
}

// Gitds are killed, restarted and replaced by another build, in turn, under load: kept connections, new ones, answers that take 300 ms, WebSockets. No request fails and no WebSocket is cut. $GITD_TEST_TAKEOVERS says
// how often, and $GITD_TEST_TAKEOVER_REQUESTS how many requests there are in between at least.
func TestTakeover(t *testing.T) {
	r := newRestarts(t)
	times, requests := number("GITD_TEST_TAKEOVERS", 9), number("GITD_TEST_TAKEOVER_REQUESTS", 100)
	p := r.next(nil)
	ctx, cancel := context.WithCancel(t.Context())
	v := visit(t, ctx, r.l.Addr().String())
	for i := range times {
		for before := v.asked(); v.asked() < before+int64(requests) && v.failed.Load() < 100; {
			time.Sleep(10 * time.Millisecond)
		}
		p = r.turn(i, p)
	}
	cancel()
	r.leave(p, v)
	for _, pid := range r.old {
		apptest.Eventually(t, 20*time.Second, "a proxy before has ended", func() bool { return syscall.Kill(pid, 0) != nil })
	}
	c := &v.counts
	t.Logf("%d takeovers, %d of them by another build: %d requests over kept connections, %d over new ones, %d of %s, %d over WebSockets, %d failed", times, r.builds,
		c[overKept].Load(), c[overNew].Load(), c[slowly].Load(), slowAnswer, c[overSockets].Load(), v.failed.Load())
	if v.failed.Load() > 0 || v.asked() == 0 {
		t.Errorf("%d of %d requests failed", v.failed.Load(), v.asked())
	}
}

// turn ends a gitd in one of three ways, and returns the next one.
func (r *restarts) turn(i int, p *Proxy) *Proxy {
	r.Helper()
	switch i % 3 {
	case 0: // kill -9
		p.Close()
		time.Sleep(20 * time.Millisecond)
	case 1: // a restart
		r.end(p, time.Minute)
		time.Sleep(20 * time.Millisecond)
	case 2: // an upgrade
		r.build()
		r.end(p, time.Minute)
	}
	return r.next(nil)
}

// leave ends what serves when the visitors have gone.
func (r *restarts) leave(p *Proxy, v *visitors) {
	r.Helper()
	v.wait.Wait()
	p.Shutdown(r.Context())
	p.Close()
	r.gone("with its gitd")
}

// The next gitd may have other settings, by which the proxy serves in another way from then on: no request finds it without its table.
func TestTakeover_Settings(t *testing.T) {
	r := newRestarts(t)
	p := r.next(nil)
	ctx, cancel := context.WithCancel(t.Context())
	v := visit(t, ctx, r.l.Addr().String())
	for i := range 20 {
		for before := v.asked(); v.asked() < before+50 && v.failed.Load() < 100; {
			time.Sleep(time.Millisecond)
		}
		p.Close()
		r.trusted = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32)}
		p = r.next(nil)
	}
	cancel()
	r.leave(p, v)
	if v.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", v.failed.Load(), v.asked())
	}
}
