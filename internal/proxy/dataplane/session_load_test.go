package dataplane

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Clients that send no request twice, over kept connections and over TLS, see nothing of what changes under them: the table, splits, instances that come and go, maintenance that holds, a stop of
// revisions, certificates. No request fails, and a WebSocket stays.
func TestSessionsUnderChange(t *testing.T) {
	addr := serve(t, app(nil))
	now := revisionAt(addr, false, RevisionOptions{HTTP1: true, Timeout: time.Minute, Concurrency: 4})
	p := route(map[string]Split{name: {{now, 100}}})
	p.ServeTLS(Secure{Port: 443, Stay: true, HSTS: time.Hour})
	own := selfSigned(t, name)
	p.PublishCertificates(byName(own))
	plain, secure := servedBy(t, p, Limits{})

	var stop atomic.Bool
	var asked atomic.Int64
	var wait sync.WaitGroup
	for i := range 8 {
		a := dialed(t, plain)
		if i%2 == 1 {
			a = overTLS(t, secure, own)
		}
		wait.Go(func() {
			for k := 0; !stop.Load(); k++ {
				bytes := "GET /" + asks + "\r\n"
				if k%3 == 1 {
					bytes = "POST /" + asks + "Content-Length: 4\r\n\r\nbody"
				}
				if _, err := io.WriteString(a.Conn, bytes); err != nil {
					t.Errorf("request %d: %v", k, err)
					return
				}
				res, err := http.ReadResponse(a.b, nil)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
				}
				if err != nil || res.StatusCode != 200 {
					t.Errorf("request %d: %v, %v", k, res, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	ws := dialed(t, plain)
	ws.send("GET /socket" + asks + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if res, err := http.ReadResponse(ws.b, nil); err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	for i := range 100 {
		now = change(t, p, now, addr, i)
		word := fmt.Sprintf("%04d", i)
		ws.send(word)
		b := make([]byte, 4)
		if _, err := io.ReadFull(ws.b, b); err != nil || string(b) != word {
			t.Fatalf("the WebSocket: %q, %v", b, err)
		}
	}
	stop.Store(true)
	wait.Wait()
	t.Logf("%d requests", asked.Load())
	if asked.Load() < 200 {
		t.Errorf("%d requests", asked.Load())
	}
}

// change changes what the plane goes by in the i-th way, and returns the revision that serves.
func change(t *testing.T, p *Plane, now *Revision, addr string, i int) *Revision {
	t.Helper()
	table := func(s Split, m *Maintenance) {
		next := &Table{Hosts: map[string]Split{name: s}}
		if m != nil {
			next.Maintenance = map[string]*Maintenance{name: m}
		}
		p.Publish(next)
	}
	switch i % 4 {
	case 0: // another revision, by way of a split
		next := revisionAt(addr, false, RevisionOptions{HTTP1: true, Timeout: time.Minute, Concurrency: 4})
		p.Publish(&Table{Hosts: map[string]Split{name: {{now, 50}, {next, 50}}}})
		time.Sleep(5 * time.Millisecond)
		table(Split{{next, 100}}, nil)
		if i > 0 { // the first has the WebSocket
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := now.Close(ctx); err != nil {
				t.Error(err)
			}
			(*now.instances.Load())[0].Close()
		}
		return next
	case 1: // no instance for a moment, then others
		now.SetInstances(nil)
		time.Sleep(5 * time.Millisecond)
		now.SetInstances([]*Instance{NewInstance("a", false, to(addr)), NewInstance("b", false, to(addr))})
	case 2: // maintenance
		m := NewMaintenance("hello", time.Minute)
		table(Split{{now, 100}}, m)
		time.Sleep(5 * time.Millisecond)
		table(Split{{now, 100}}, nil)
		m.End()
	case 3:
		p.PublishCertificates(byName(selfSigned(t, name)))
	}
	time.Sleep(5 * time.Millisecond)
	return now
}

// servedBy serves a plane without TLS and with it, and returns the addresses.
func servedBy(t *testing.T, p *Plane, limits Limits) (plain, secure string) {
	t.Helper()
	s := Serving(func() *Plane { return p }, func() bool { return false })
	var at [2]net.Listener
	for i := range at {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at[i] = l
	}
	one, two := BoundBoth(at[0], at[1], limits)
	go func() { _ = s.Serve(one) }()
	go func() { _ = s.Serve(p.TLS(two)) }()
	t.Cleanup(func() { _ = one.Close(); _ = two.Close(); _ = s.Close() })
	return at[0].Addr().String(), at[1].Addr().String()
}
