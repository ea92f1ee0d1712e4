package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// Gitds and proxies that speak other versions take over from each other under load, newer ones and older ones, and such that have none in common. No request fails and no WebSocket is cut.
func TestTakeover_Versions(t *testing.T) {
	r := newRestarts(t)
	p := r.next(nil)
	ctx, cancel := context.WithCancel(t.Context())
	v := visit(t, ctx, r.l.Addr().String())
	for _, next := range []wire.Versions{{Newest: 2, Oldest: 1}, {Newest: 1, Oldest: 1}, {Newest: 3, Oldest: 3}, {Newest: 4, Oldest: 2}, {Newest: 1, Oldest: 1}} {
		for before := v.asked(); v.asked() < before+100 && v.failed.Load() < 100; {
			time.Sleep(10 * time.Millisecond)
		}
		r.speak(next)
		r.end(p, time.Minute)
		p = r.next(nil)
	}
	cancel()
	r.leave(p, v)
	for _, pid := range r.old {
		apptest.Eventually(t, 20*time.Second, "a proxy before has ended", func() bool { return syscall.Kill(pid, 0) != nil })
	}
	t.Logf("%d requests, %d failed", v.asked(), v.failed.Load())
	if v.failed.Load() > 0 || v.asked() == 0 {
		t.Errorf("%d of %d requests failed", v.failed.Load(), v.asked())
	}
}

// A proxy that speaks no version that the next gitd does leaves as one of another build. What it has under way at an instance is not known, so that the instance is not taken for idle before it has left; gitd stop ends it too.
func TestUpgrade_NoVersionInCommon(t *testing.T) {
	r := newRestarts(t)
	p := r.next(nil)
	socket, frames := r.open("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n")
	r.speak(wire.Versions{Newest: 3, Oldest: 3})
	r.end(p, time.Minute)
	p = r.next(nil)
	time.Sleep(lookTwice) // it says what it has counted
	p.mu.Lock()
	before := p.keys["shop/1"]
	p.mu.Unlock()
	had := before.instances[0]
	before.SetInstances(nil)
	p.Refresh()
	if n := had.InFlight(); n != 1 {
		t.Errorf("an instance with a WebSocket has %d requests", n)
	}
	r.echoes(socket, frames)
	_ = socket.Close()
	apptest.Eventually(t, 20*time.Second, "the instance is idle", func() bool { return had.InFlight() == 0 })
	apptest.Eventually(t, 20*time.Second, "the proxy before has ended", func() bool { return syscall.Kill(r.old[0], 0) != nil })
	before.SetInstances([]*Instance{had})
	r.open("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n")
	r.speak(wire.Versions{Newest: 1, Oldest: 1})
	r.end(p, time.Minute)
	p = r.next(nil)
	p.Shutdown(t.Context())
	p.Close()
	r.gone("with its gitd")
	apptest.Eventually(t, 20*time.Second, "the second proxy has ended", func() bool { return syscall.Kill(r.old[1], 0) != nil })
}

// overTLS loads a proxy over TLS until ctx ends: kept and new connections of HTTP/1, and a client of HTTP/2, which sends again what a server that leaves has said (GOAWAY) it did not take. Each
// client has many requests at a time.
func (v *visitors) overTLS(address string, own *tls.Certificate) (h1, h2 *atomic.Int64) {
	h1, h2 = new(atomic.Int64), new(atomic.Int64)
	for _, kind := range []struct {
		two, keep bool
		asked     *atomic.Int64
	}{{true, true, h2}, {false, true, h1}, {false, false, h1}} {
		config := &tls.Config{ServerName: "shop.test", InsecureSkipVerify: true} //nolint:gosec // the test's own
		c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: kind.two, DisableKeepAlives: !kind.keep,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", address)
			}}}
		v.Cleanup(c.CloseIdleConnections)
		for i := range 4 {
			path := []string{"/", "/slow"}[i%2]
			v.wait.Go(func() {
				for v.ctx.Err() == nil {
					kind.asked.Add(1)
					if err := askOverTLS(c, path, kind.two); err != nil {
						v.failure(err)
					}
				}
			})
		}
	}
	return h1, h2
}

// askOverTLS sends one request, by a method that no client sends again by itself.
func askOverTLS(c *http.Client, path string, two bool) error {
	a, err := c.Post("https://shop.test"+path, "text/plain", strings.NewReader("hello"))
	if err != nil {
		return err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err == nil && (a.StatusCode != http.StatusOK || string(b) != "hello" || (a.ProtoMajor == 2) != two) {
		err = fmt.Errorf("%s %d %q", a.Proto, a.StatusCode, b)
	}
	return err
}

// Over TLS too, whatever the clients speak, no request fails when gitds are killed, restarted and replaced by another build.
func TestTakeover_TLS(t *testing.T) {
	r := newRestarts(t)
	var err error
	if r.secure, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer r.secure.Close()
	r.own = selfSigned(t, "shop.test")
	p := r.next(nil)
	ctx, cancel := context.WithCancel(t.Context())
	v := &visitors{T: t, ctx: ctx}
	h1, h2 := v.overTLS(r.secure.Addr().String(), r.own)
	for i := range number("GITD_TEST_TAKEOVERS", 6) {
		for a, b := h1.Load(), h2.Load(); (h1.Load() < a+100 || h2.Load() < b+100) && v.failed.Load() < 100; {
			time.Sleep(10 * time.Millisecond)
		}
		p = r.turn(i, p)
	}
	cancel()
	r.leave(p, v)
	t.Logf("%d upgrades: %d requests in HTTP/1, %d in HTTP/2, %d failed", r.builds, h1.Load(), h2.Load(), v.failed.Load())
	if v.failed.Load() > 0 || h1.Load() == 0 || h2.Load() == 0 {
		t.Error(errors.New("requests failed"))
	}
}
