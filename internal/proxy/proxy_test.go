package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app/apptest"
	"github.com/gitd-io/gitd/internal/proxy/process"
)

// newFor makes a proxy within this process.
func newFor(t *testing.T, o Options) *Proxy {
	t.Helper()
	o.Inside, o.Log = process.Inside(t.Logf), t.Logf
	p := New(o)
	t.Cleanup(p.Close)
	return p
}

// serveTest serves, and returns the URL.
func (p *Proxy) serveTest(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := p.Serve(l, nil); err != nil {
		t.Fatal(err)
	}
	return "http://" + l.Addr().String()
}

// instance is one that is reached in this network namespace.
func instance(t *testing.T, r *Revision, h http.HandlerFunc) *Instance {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return r.NewInstance(s.Listener.Addr().String(), false, Way{Port: s.Listener.Addr().(*net.TCPAddr).Port})
}

func selfSigned(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func get(t *testing.T, url, host string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	a, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}).Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer a.Body.Close()
	b, _ := io.ReadAll(a.Body)
	return a.StatusCode, string(b)
}

// Calls and deliveries reach an app that has HTTPS, and cannot pass for what a trusted proxy says: the address that gitd gives them may be one's own.
func TestRoundTrip(t *testing.T) {
	p := newFor(t, Options{Secure: &Secure{Port: 443}, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	r := p.NewRevision("shop/1", RevisionOptions{})
	r.SetInstances([]*Instance{instance(t, r, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto"), " ", r.Header["X-Forwarded-For"], r.Header["Remote-User"], r.Header["Gitd-Split"], r.Header["User-Agent"])
	})})
	p.Publish(&Table{Hosts: map[string]Route{"shop.test": {Split: Split{{r, 100}}}}, Named: map[string]Split{"blue": {{r, 100}}}})
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{"*.test": selfSigned(t, "*.test")}})
	if code, body := roundTrip(t, p); code != http.StatusOK || body != "https [127.0.0.1] [] [] []" { // of a command, without a server
		t.Errorf("before it serves: %d %q", code, body)
	}
	const want = "https [127.0.0.1] [] [] []"
	for _, split := range []string{"", "blue"} {
		q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://shop.test/", nil)
		q.RemoteAddr = "127.0.0.1:0"
		q.Header.Set("X-Forwarded-For", "6.6.6.6")
		q.Header.Set("Remote-User", "ada")
		q.Header.Set("Gitd-Split", "red")
		a, err := p.RoundTrip(split, q)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		if b, err := io.ReadAll(a.Body); err != nil || a.StatusCode != http.StatusOK || string(b) != want || len(a.Header["Date"]) != 1 {
			t.Errorf("by split %q: %d %q, %v", split, a.StatusCode, b, err)
		}
	}
}

func roundTrip(t *testing.T, p *Proxy) (int, string) {
	t.Helper()
	a, err := p.RoundTrip("", httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://shop.test/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, _ := io.ReadAll(a.Body)
	return a.StatusCode, string(b)
}

// The story of a revision: it is asked for at zero, its instance is taken out with a request in it, and it is closed.
func TestRevision(t *testing.T) {
	p := newFor(t, Options{})
	woken := make(chan struct{}, 100)
	r := p.NewRevision("shop/1", RevisionOptions{App: "shop", Timeout: time.Minute, Wake: func() { woken <- struct{}{} }})
	p.Publish(&Table{Hosts: map[string]Route{"shop.test": {Split: Split{{r, 100}}}}})
	url := p.serveTest(t)
	answered := make(chan string, 1)
	go func() { _, body := get(t, url, "shop.test"); answered <- body }()
	select {
	case <-woken:
	case <-time.After(time.Minute):
		t.Fatal("no one is told that it is asked for")
	}
	if n := r.InFlight(); n != 1 {
		t.Errorf("%d requests in flight, of one that waits", n)
	}
	release := make(chan struct{})
	in := instance(t, r, func(w http.ResponseWriter, _ *http.Request) { <-release; _, _ = io.WriteString(w, "hello") })
	r.SetInstances([]*Instance{in})
	apptest.Eventually(t, time.Minute, "the request is at the instance", func() bool { p.Refresh(); return in.InFlight() == 1 })
	r.SetInstances(nil)
	time.Sleep(20 * time.Millisecond)
	if n := in.InFlight(); n != 1 {
		t.Errorf("%d requests at an instance that was taken out with one", n)
	}
	drained := make(chan error, 1)
	go func() { drained <- r.Drained(t.Context()) }()
	close(release)
	if body := <-answered; body != "hello" {
		t.Errorf("answered %q", body)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	apptest.Eventually(t, time.Minute, "it has no request", func() bool { return in.InFlight() == 0 })
	p.Refresh()
	if classes, latency := r.Counts(); classes[2] != 1 || len(latency) == 0 {
		t.Errorf("counted: %v %v", classes, latency)
	}
	in.Close()
	p.Publish(&Table{})
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if code, _ := get(t, url, "shop.test"); code != http.StatusNotFound {
		t.Errorf("after the end: %d", code)
	}
	if len(p.keys) != 0 {
		t.Errorf("kept: %v", p.keys)
	}
}

// What waits for the end of a maintenance goes on when it ends, and gitd's own hosts are gitd's, whatever the table says.
func TestMaintenanceAndOwn(t *testing.T) {
	own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Method, " ", r.Host, r.URL.RequestURI(), r.Header["Gitd-Host"])
	})
	p := newFor(t, Options{Own: map[string]http.Handler{"brokers.test": own}})
	r := p.NewRevision("shop/1", RevisionOptions{App: "shop"})
	r.SetInstances([]*Instance{instance(t, r, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })})
	route := Route{Split: Split{{r, 100}}, Maintenance: &Maintenance{App: "shop", Hold: time.Minute}}
	p.Publish(&Table{Hosts: map[string]Route{"shop.test": route, "brokers.test": route}})
	url := p.serveTest(t)
	if code, body := get(t, url+"/a?b=%20c", "brokers.test"); code != http.StatusOK || body != "GET brokers.test/a?b=%20c[]" {
		t.Errorf("a host of gitd's own: %d %q", code, body)
	}
	answered := make(chan string, 1)
	go func() { _, body := get(t, url, "shop.test"); answered <- body }()
	select {
	case body := <-answered:
		t.Fatalf("answered in maintenance: %q", body)
	case <-time.After(100 * time.Millisecond):
	}
	route.Maintenance = nil
	p.Publish(&Table{Hosts: map[string]Route{"shop.test": route}})
	if body := <-answered; body != "hello" {
		t.Errorf("answered %q", body)
	}
}

// A proxy that is killed costs what it has under way: what waits in the listener, and all that comes later, the next one answers, over HTTPS too.
func TestKilled(t *testing.T) {
	serving(t)
	p := newFor(t, Options{Secure: &Secure{Port: 443}})
	p.o.Inside = nil
	r := p.NewRevision("shop/1", RevisionOptions{App: "shop"})
	r.SetInstances([]*Instance{instance(t, r, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })})
	p.Publish(&Table{Hosts: map[string]Route{"shop.test": {Split: Split{{r, 100}}}}})
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{"shop.test": selfSigned(t, "shop.test")}})
	var listeners [2]net.Listener
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		listeners[i] = l
	}
	if err := p.Serve(listeners[0], listeners[1]); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "shop.test"}}} //nolint:gosec // the test's own
	ask := func(when string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+listeners[1].Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Host = "shop.test"
		a, err := client.Do(q)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		defer a.Body.Close()
		if b, err := io.ReadAll(a.Body); err != nil || string(b) != "hello" {
			t.Errorf("%s: %q, %v", when, b, err)
		}
	}
	ask("at first")
	p.Refresh()
	for range 2 {
		p.mu.Lock()
		pid := p.link.hello.PID
		p.mu.Unlock()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		ask("after a kill")
	}
	p.Refresh()
	if classes, _ := r.Counts(); classes[2] < 2 {
		t.Errorf("what killed proxies have counted is lost: %v", classes)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p.Shutdown(ctx)
	if c, err := net.Dial("tcp", listeners[0].Addr().String()); err == nil {
		_ = c.Close()
		t.Error("it still takes connections")
	}
}
