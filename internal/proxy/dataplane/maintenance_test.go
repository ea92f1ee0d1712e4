package dataplane

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// maintained is a plane with an app that can be maintained.
type maintained struct {
	*Plane
	revision *Revision
	hosts    map[string]Split
	client   *http.Client
}

func newMaintained(t *testing.T, h http.HandlerFunc) *maintained {
	r := revisionAt(serve(t, h), false, RevisionOptions{App: "hello"})
	p := &maintained{Plane: New(nil), revision: r, hosts: map[string]Split{name: {{r, 100}}, "green-" + name: {{r, 100}}}}
	p.client = client(t, serve(t, p), false)
	p.off()
	return p
}

func (p *maintained) off() { p.Publish(&Table{Hosts: p.hosts}) }

func (p *maintained) on(hold time.Duration) *Maintenance {
	m := NewMaintenance("hello", hold)
	p.Publish(&Table{Hosts: p.hosts, Maintenance: map[string]*Maintenance{name: m}})
	return m
}

// What is under way goes on; other clients get a page that they can read.
func TestMaintenance(t *testing.T) {
	slow, began := make(chan struct{}), make(chan struct{}, 1)
	p := newMaintained(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/slow" {
			began <- struct{}{}
			<-slow
		}
		_, _ = io.WriteString(w, "app")
	})
	var wait sync.WaitGroup
	wait.Go(func() {
		if code, body := get(t, p.client, "http://"+name+"/slow"); code != 200 || body != "app" {
			t.Errorf("under way: %d %q", code, body)
		}
	})
	<-began
	p.on(0)
	close(slow)
	wait.Wait()
	for accept, want := range map[string]string{"*/*": "text/plain; charset=utf-8", "text/html,application/xhtml+xml;q=0.9": "text/html; charset=utf-8"} {
		q, _ := http.NewRequest(http.MethodGet, "http://"+name+"/", nil)
		q.Header.Set("Accept", accept)
		res, err := p.client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Content-Type") != want || res.Header.Get("Retry-After") != "30" || res.Header.Get("Cache-Control") != "no-store" ||
			!strings.Contains(string(b), "hello is being maintained") {
			t.Errorf("%s: %d %v %s", accept, res.StatusCode, res.Header, b)
		}
	}
	if code, body := get(t, p.client, "http://green-"+name); code != 200 || body != "app" {
		t.Errorf("by its tag: %d %q", code, body)
	}
	if classes, _ := p.revision.Counts(); classes[5] != 0 {
		t.Errorf("the page is counted as the app's: %v", classes)
	}
}

// Requests wait for the end, and not for ever.
func TestMaintenanceHolds(t *testing.T) {
	p := newMaintained(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "app") })
	m := p.on(time.Minute)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if code, body := get(t, p.client, "http://"+name); code != 200 || body != "app" {
				t.Errorf("held: %d %q", code, body)
			}
		})
	}
	for m.waiting.Load() < 20 {
		time.Sleep(time.Millisecond)
	}
	p.off()
	m.End()
	wait.Wait()
	p.on(20 * time.Millisecond)
	if code, _ := get(t, p.client, "http://"+name); code != http.StatusServiceUnavailable {
		t.Errorf("held for too long: %d", code)
	}
}
