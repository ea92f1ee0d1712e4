package dataplane

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Idle WebSockets take no place of a request, and ask for no more instances.
func TestSocketsTakeNoSlots(t *testing.T) {
	for _, concurrency := range []int{0, 2} {
		r := revisionAt(serve(t, app(nil)), false, RevisionOptions{Concurrency: concurrency, Timeout: 2 * time.Second})
		front := serve(t, route(map[string]Split{name: {{r, 100}}}))
		const n = 1100 // more than the thousand of which the proxy once thought that it is no limit
		open := make([]net.Conn, n)
		var wait sync.WaitGroup
		for i := range n {
			if i%100 == 0 {
				wait.Wait()
			}
			wait.Go(func() {
				c, err := net.Dial("tcp", front)
				if err != nil {
					t.Error(err)
					return
				}
				open[i] = c
				fmt.Fprintf(c, "GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", name)
				if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 101 {
					t.Errorf("socket %d: %v, %v", i, res, err)
				}
			})
		}
		wait.Wait()
		if code, body := get(t, client(t, front, false), "http://"+name); code != 200 {
			t.Errorf("beside them: %d %s", code, body)
		}
		now := time.Now()
		r.Report(now)
		if got := r.Report(now.Add(time.Second)).AverageConcurrency; got != 0 {
			t.Errorf("they count as %v requests at once", got)
		}
		in := (*r.instances.Load())[0]
		if r.InFlight() < n || in.Sockets() != n || in.InFlight() != n {
			t.Errorf("%d in flight at the revision, %d at its instance, %d sockets; there are %d", r.InFlight(), in.InFlight(), in.Sockets(), n)
		}
		for _, c := range open {
			c.Close()
		}
		for deadline := time.Now().Add(10 * time.Second); r.InFlight() > 0 || in.InFlight() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d and %d are left", r.InFlight(), in.InFlight())
			}
		}
	}
}

// Where an app sets no limit there is none.
func TestNoLimitIsNone(t *testing.T) {
	const n = 1500
	var inside sync.WaitGroup
	inside.Add(n)
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside.Done()
		inside.Wait() // answers none before all are there
		_, _ = io.WriteString(w, "together")
	}))
	r := revisionAt(addr, false, RevisionOptions{Timeout: 20 * time.Second})
	c := client(t, serve(t, route(map[string]Split{name: {{r, 100}}})), true)
	var wait sync.WaitGroup
	for range n {
		wait.Go(func() {
			res, err := c.Get("http://" + name)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if b, _ := io.ReadAll(res.Body); string(b) != "together" {
				t.Errorf("%d %s", res.StatusCode, b)
			}
		})
	}
	wait.Wait()
}

// Requests that wait for a first instance are bounded, also where an instance has no limit.
func TestQueueIsBounded(t *testing.T) {
	r := NewRevision(RevisionOptions{}, time.Now())
	r.waiting.Store(queueDepth)
	c := client(t, serve(t, route(map[string]Split{name: {{r, 100}}})), false)
	if code, body := get(t, c, "http://"+name); code != 503 || body != "the app has too many requests waiting: try again in a moment\n" {
		t.Errorf("%d %s", code, body)
	}
	r.waiting.Store(0)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := r.pick(ctx, nil); err == nil || r.waiting.Load() != 0 {
		t.Errorf("%v; %d wait", err, r.waiting.Load())
	}
}
