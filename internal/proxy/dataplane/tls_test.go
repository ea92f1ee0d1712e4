package dataplane

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func selfSigned(t *testing.T, names ...string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: c}
}

// secured serves an app at name with HTTPS, and returns the addresses.
func secured(t *testing.T, o Secure, limits Limits, h http.Handler) (p *Plane, plain, secure string) {
	t.Helper()
	p = route(map[string]Split{name: {{Revision: revisionAt(serve(t, h), false, RevisionOptions{}), Percent: 100}}})
	p.ServeTLS(o)
	plain, secure = servedBy(t, p, limits)
	return p, plain, secure
}

func tlsClient(t *testing.T, front string, h2 bool, config *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: h2, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", front)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func trusts(certificates ...*tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	for _, c := range certificates {
		pool.AddCert(c.Leaf)
	}
	return &tls.Config{RootCAs: pool}
}

func TestTLS(t *testing.T) {
	told := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hsts" {
			w.Header().Set("Strict-Transport-Security", "max-age=1")
		}
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-Proto"))
	})
	p, plain, secure := secured(t, Secure{Port: 8443, HSTS: time.Hour}, Limits{}, told)
	own, wild := selfSigned(t, name), selfSigned(t, "*.wild.example")
	over := func(config *tls.Config, h2 bool, url string) *http.Response {
		t.Helper()
		res, err := tlsClient(t, secure, h2, config).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode == http.StatusOK && string(b) != "https" {
			t.Errorf("%s: %q, %v", url, b, err)
		}
		return res
	}
	if res, err := tlsClient(t, plain, false, nil).Get("http://" + name + "/x"); err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Strict-Transport-Security") != "" {
		t.Errorf("a name without a certificate is served: %v, %v", res, err)
	}
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{name: own, "*.wild.example": wild}, Tokens: map[string]string{"abc": "abc.key"}})
	for _, h2 := range []bool{false, true} {
		res := over(trusts(own), h2, "https://"+name+"/")
		if (res.ProtoMajor == 2) != h2 || res.TLS.Version < tls.VersionTLS12 || res.Header.Get("Strict-Transport-Security") != "max-age=3600" {
			t.Errorf("%s, %v", res.Proto, res.Header)
		}
	}
	if v := over(trusts(own), true, "https://"+name+"/hsts").Header.Values("Strict-Transport-Security"); len(v) != 1 || v[0] != "max-age=1" {
		t.Errorf("the app's own: %q", v)
	}
	if res := over(trusts(wild), true, "https://a.wild.example/"); res.StatusCode != http.StatusNotFound {
		t.Errorf("no app: %d", res.StatusCode)
	}
	c := tlsClient(t, plain, false, nil)
	for url, want := range map[string]string{
		"http://" + name + "/a%2Fb?x=%zz":                            "https://" + name + ":8443/a%2Fb?x=%zz",
		"http://" + strings.ToUpper(name) + ".:80/":                  "https://" + name + ":8443/",
		"http://" + name + "/.well-known/acme-challenge/abc":         "200 abc.key",
		"http://nobody.example/.well-known/acme-challenge/abc":       "200 abc.key",
		"http://nobody.example/.well-known/acme-challenge/other":     "404",
		"http://" + name + "/.well-known/acme-challenge/not-of-gitd": "https://" + name + ":8443/.well-known/acme-challenge/not-of-gitd",
	} {
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		got := res.Header.Get("Location")
		if res.StatusCode == http.StatusOK {
			got = "200 " + string(b)
		} else if res.StatusCode != http.StatusPermanentRedirect {
			got = http.StatusText(res.StatusCode)
			want = strings.Replace(want, "404", "Not Found", 1)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

// gitd's own requests come over no connection: they are not sent to HTTPS, and the app is told what it is told of clients that come that way.
func TestTLS_OwnRequests(t *testing.T) {
	for _, tt := range []struct {
		secure      Secure
		certificate bool
		want        string
	}{
		{Secure{Port: 8443, HSTS: time.Hour}, true, "https"},
		{Secure{Port: 8443}, false, "http"},
		{Secure{Port: 8443, Stay: true}, true, "http"},
	} {
		p, _, _ := secured(t, tt.secure, Limits{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-Proto"))
		}))
		table := *p.table.Load()
		table.Named = map[string]Split{"check": table.Hosts[name]}
		p.Publish(&table)
		if tt.certificate {
			p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{name: selfSigned(t, name)}})
		}
		for kind, ctx := range map[string]context.Context{"a call": WithMark(t.Context()), "a check": WithSplit(t.Context(), "check")} {
			w := httptest.NewRecorder()
			p.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "http://"+name+"/", nil))
			if w.Code != http.StatusOK || w.Body.String() != tt.want {
				t.Errorf("%s, %+v: %d %q, want %s", kind, tt.secure, w.Code, w.Body, tt.want)
			}
		}
	}
}

// TestAttack_DomainFronting: a connection begins with the name of one app, which is all that what stands in between sees, and asks for another. Names of one
// certificate may share a connection, and those that come through a trusted proxy may.
func TestAttack_DomainFronting(t *testing.T) {
	p, _, secure := secured(t, Secure{Port: 443}, Limits{}, app(nil))
	split := p.table.Load().Hosts[name]
	p.Publish(&Table{Hosts: map[string]Split{name: split, "a.wild.example": split, "b.wild.example": split, "one.example": split, "two.example": split, "bare.example": split}})
	own, wild, both := selfSigned(t, name), selfSigned(t, "*.wild.example"), selfSigned(t, "one.example", "two.example")
	again := *both // kept with each of its names
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{name: own, "*.wild.example": wild, "one.example": both, "two.example": &again}})
	for _, h2 := range []bool{false, true} {
		c := tlsClient(t, secure, h2, trusts(own, wild, both))
		for _, tt := range []struct {
			sni, host string
			status    int
		}{
			{name, "", http.StatusOK}, {name, strings.ToUpper(name) + ".:443", http.StatusOK},
			{name, "a.wild.example", http.StatusMisdirectedRequest}, {"a.wild.example", name, http.StatusMisdirectedRequest},
			{name, "bare.example", http.StatusMisdirectedRequest}, {name, "nobody.example", http.StatusMisdirectedRequest},
			{"a.wild.example", "b.wild.example", http.StatusOK}, {"a.wild.example", "no.wild.example", http.StatusNotFound}, {"one.example", "two.example", http.StatusOK},
		} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+tt.sni+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = tt.host
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != tt.status {
				t.Errorf("HTTP/2 %t, %q over %s: %d, want %d", h2, tt.host, tt.sni, res.StatusCode, tt.status)
			}
		}
	}
	p.trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+name+"/", nil)
	r.RemoteAddr, r.TLS = "127.0.0.1:7", &tls.ConnectionState{ServerName: "a.wild.example"}
	w := httptest.NewRecorder()
	if p.ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Errorf("from a proxy: %d", w.Code)
	}
}

// A name that no app has, or none at all, costs no certificate; those who issue certificates get the proof and no other.
func TestTLS_NamesWithoutCertificate(t *testing.T) {
	var asked atomic.Int64
	p, _, secure := secured(t, Secure{Wanted: func(string) bool { asked.Add(1); return true }}, Limits{}, app(nil))
	own, proof := selfSigned(t, name), selfSigned(t, name)
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{"other.example": own}, Challenges: map[string]*tls.Certificate{name: proof}})
	for _, sni := range []string{"", "nobody.example", "a\x00b", strings.Repeat("a.", 120) + "example"} {
		_, err := tls.Dial("tcp", secure, &tls.Config{ServerName: sni, InsecureSkipVerify: true})
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%q: %v", sni, err)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("%d were asked for", asked.Load())
	}
	if _, err := tls.Dial("tcp", secure, &tls.Config{ServerName: "other.example", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	c, err := tls.Dial("tcp", secure, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{acmeProtocol}})
	if err != nil || c.ConnectionState().NegotiatedProtocol != acmeProtocol || c.ConnectionState().PeerCertificates[0].SerialNumber.Cmp(proof.Leaf.SerialNumber) != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	c.Close()
	if _, err := tls.Dial("tcp", secure, &tls.Config{ServerName: "other.example", InsecureSkipVerify: true, NextProtos: []string{acmeProtocol}}); err == nil {
		t.Error("a certificate is presented as a proof")
	}
}

// The first request of an app's name waits for the certificate that is obtained for it.
func TestTLS_Wanted(t *testing.T) {
	own := selfSigned(t, name)
	asked := make(chan string, 100)
	p, _, secure := secured(t, Secure{Wanted: func(n string) bool { asked <- n; return true }}, Limits{}, app(nil))
	done := make(chan error, 8)
	p.Own("broker.example", http.NotFoundHandler())
	for range cap(done) {
		go func() {
			c, err := tls.Dial("tcp", secure, &tls.Config{ServerName: strings.ToUpper(name), InsecureSkipVerify: true})
			if err == nil {
				c.Close()
			}
			done <- err
		}()
	}
	for range cap(done) {
		if got := <-asked; got != name {
			t.Errorf("%q was asked for", got)
		}
	}
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{"x.example": own}}) // of another
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{name: own}})
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	go func() {
		c, err := tls.Dial("tcp", secure, &tls.Config{ServerName: "broker.example", InsecureSkipVerify: true})
		if err == nil {
			c.Close()
		}
		done <- err
	}()
	select {
	case got := <-asked:
		if got != "broker.example" {
			t.Errorf("%q was asked for", got)
		}
	case err := <-done:
		t.Fatalf("no certificate is obtained for a name of gitd's own: %v", err)
	}
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{"broker.example": selfSigned(t, "broker.example")}})
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Attack: hundreds of connections ask for a name whose certificate does not come. The others get theirs meanwhile, and a name whose last attempt failed has no
// handshake wait for nothing.
func TestAttack_WaitingHandshakes(t *testing.T) {
	const failed, other = "failed.localhost", "other.localhost"
	var asked atomic.Int64
	p, _, secure := secured(t, Secure{Wanted: func(n string) bool {
		if n == name {
			asked.Add(1)
		}
		return n != failed
	}}, Limits{}, app(nil))
	split := p.table.Load().Hosts[name]
	p.Publish(&Table{Hosts: map[string]Split{name: split, failed: split, other: split}})
	var clients sync.WaitGroup
	t.Cleanup(clients.Wait)
	dial := func(sni string, done func(error)) {
		clients.Go(func() {
			c, err := (&tls.Dialer{Config: &tls.Config{ServerName: sni, InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", secure)
			if err == nil {
				c.Close()
			}
			done(err)
		})
	}
	const many = 300
	for range many {
		dial(name, func(error) {})
	}
	for end := time.Now().Add(5 * time.Second); asked.Load() < many; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d were asked for", asked.Load(), many)
		}
	}
	got, refused := make(chan error, 1), make(chan error, 1)
	began := time.Now()
	dial(failed, func(err error) { refused <- err })
	if err := <-refused; err == nil || time.Since(began) > wantedTime/2 {
		t.Errorf("one that failed: %v in %s", err, time.Since(began))
	}
	dial(other, func(err error) { got <- err })
	select {
	case err := <-got:
		t.Fatalf("the other name does not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{"*.localhost": selfSigned(t, "*.localhost")}})
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// Attack: thousands of connections that begin a handshake and never end it. Those of the attacker displace each other; a client with another address gets in.
func TestAttack_HandshakeFlood(t *testing.T) {
	own := selfSigned(t, name)
	p, _, secure := secured(t, Secure{}, Limits{Connections: 300, PerAddress: 100}, app(nil))
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{name: own}})
	var held []net.Conn
	t.Cleanup(func() {
		for _, c := range held {
			c.Close()
		}
	})
	for i := range 1000 {
		from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i%2))}, Timeout: 5 * time.Second}
		c, err := from.Dial("tcp", secure)
		if err != nil {
			continue // closed for a newer one
		}
		_, _ = c.Write([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01}[:1+i%6])
		held = append(held, c)
	}
	began := time.Now()
	res, err := tlsClient(t, secure, true, trusts(own)).Get("https://" + name + "/")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", res, err)
	}
	res.Body.Close()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a client waited for %s", took)
	}
}

// Certificates change under load without a failed request.
func TestTLS_RenewedUnderLoad(t *testing.T) {
	first, second := selfSigned(t, name), selfSigned(t, name)
	p, _, secure := secured(t, Secure{}, Limits{}, app(nil))
	p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{name: first}})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	go func() {
		for n := 0; ctx.Err() == nil; n++ {
			p.PublishCertificates(&Certificates{ByName: map[string]*tls.Certificate{name: []*tls.Certificate{first, second}[n%2]}})
		}
	}()
	n := 0
	for ; ctx.Err() == nil; n++ {
		c := tlsClient(t, secure, n%2 == 0, trusts(first, second))
		res, err := c.Get("https://" + name + "/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		c.CloseIdleConnections()
	}
	t.Logf("%d requests", n)
}
