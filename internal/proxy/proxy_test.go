package proxy

import (
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
	"testing"
	"time"
)

// newFor makes a proxy within this process.
func newFor(t *testing.T, o Options) *Proxy {
	t.Helper()
	o.Inside, o.Log = true, t.Logf
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
	p.serveTest(t)
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
