package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestSplit(t *testing.T) {
	var a, b atomic.Int64
	count := func(n *atomic.Int64) string {
		return serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n.Add(1) }))
	}
	p := route(map[string]Split{name: {{revisionAt(count(&a), false, RevisionOptions{}), 80}, {revisionAt(count(&b), false, RevisionOptions{}), 20}}})
	c := client(t, serve(t, p), false)
	for range 1000 {
		get(t, c, "http://"+name)
	}
	if a.Load() != 800 || b.Load() != 200 {
		t.Errorf("80/20 became %d/%d", a.Load(), b.Load())
	}
}

// Each hundred draws are all numbers from 0 to 99, in orders of their own.
func TestDraw(t *testing.T) {
	orders := map[[100]int64]bool{}
	for block := range uint64(200) {
		var order [100]int64
		seen := map[int64]bool{}
		for i := range uint64(100) {
			order[i] = draw(100*block + i)
			seen[order[i]] = true
			if order[i] < 0 || order[i] > 99 {
				t.Fatal(order[i])
			}
		}
		if len(seen) != 100 {
			t.Fatalf("block %d: %d different numbers", block, len(seen))
		}
		orders[order] = true
	}
	if len(orders) < 150 {
		t.Errorf("%d different orders in 200", len(orders))
	}
}

// load has a number of clients ask one request after the other. The function that it returns ends that, and checks that none failed.
func load(t *testing.T, c *http.Client, clients int) (end func()) {
	var ok, failed atomic.Int64
	var stop atomic.Bool
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for !stop.Load() {
				res, err := c.Get("http://" + name)
				if err != nil {
					failed.Add(1)
					t.Log(err)
					continue
				}
				_, err = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != http.StatusOK {
					failed.Add(1)
					t.Log(res.Status, err)
					continue
				}
				ok.Add(1)
			}
		})
	}
	return func() {
		t.Helper()
		stop.Store(true)
		all.Wait()
		if failed.Load() != 0 || ok.Load() == 0 {
			t.Errorf("%d requests were answered, %d failed", ok.Load(), failed.Load())
		}
	}
}

// Revisions are replaced and stopped hard under load: no request fails.
func TestSwapAndDrainUnderLoad(t *testing.T) {
	type backend struct {
		r *Revision
		s *httptest.Server
	}
	start := func() backend {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Millisecond)
			_, _ = io.WriteString(w, "ok")
		}))
		return backend{revisionAt(s.Listener.Addr().String(), false, RevisionOptions{Concurrency: 50, Timeout: time.Minute}), s}
	}
	now := start()
	p := route(map[string]Split{name: {{now.r, 100}}})
	c := client(t, serve(t, p), false)
	end := load(t, c, 8)
	for range 60 {
		next := start()
		p.Publish(&Table{Hosts: map[string]Split{name: {{now.r, 50}, {next.r, 50}}}})
		time.Sleep(5 * time.Millisecond)
		p.Publish(&Table{Hosts: map[string]Split{name: {{next.r, 100}}}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := now.r.Close(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		now.s.CloseClientConnections()
		now.s.Close()
		now = next
	}
	end()
	now.s.Close()
}

// Instances come and go while requests run: no slot is lost, and none fails.
func TestInstancesChangeUnderLoad(t *testing.T) {
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { time.Sleep(time.Millisecond) }))
	r := NewRevision(RevisionOptions{Concurrency: 2, Timeout: time.Minute}, time.Now())
	c := client(t, serve(t, route(map[string]Split{name: {{r, 100}}})), false)
	end := load(t, c, 16)
	for i := range 200 {
		list := make([]*Instance, i%4)
		for k := range list {
			list[k] = NewInstance(addr, false, to(addr))
		}
		r.SetInstances(list)
		time.Sleep(2 * time.Millisecond)
	}
	r.SetInstances([]*Instance{NewInstance(addr, false, to(addr))})
	end()
}

// A request that could not be sent goes to another instance, with its body.
func TestRetryOnDialError(t *testing.T) {
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	r := NewRevision(RevisionOptions{Timeout: time.Minute}, time.Now())
	var dead atomic.Int64
	broken := NewInstance("dead", false, func(context.Context) (net.Conn, error) {
		dead.Add(1)
		return nil, errors.New("connection refused")
	})
	r.SetInstances([]*Instance{broken, NewInstance(addr, false, to(addr))})
	c := client(t, serve(t, route(map[string]Split{name: {{r, 100}}})), false)
	for i := range 40 {
		body := fmt.Sprint("body ", i)
		res, err := c.Post("http://"+name, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 200 || string(b) != body {
			t.Fatalf("%d %q", res.StatusCode, b)
		}
	}
	if dead.Load() == 0 {
		t.Error("the dead instance was never tried")
	}
	if n := broken.InFlight(); n != 0 {
		t.Errorf("%d slots are lost", n)
	}
}
