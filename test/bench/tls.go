package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// tlsName is the name under which the app is asked over TLS: it needs one, for the certificate.
const tlsName = "web.bench.example"

// What TLS is measured for, against nginx and Caddy.
var (
	tlsRates      = map[string]float64{"nginx": 0.7, "Caddy": 1.5}
	tlsHandshakes = map[string]float64{"Caddy": 1}
)

// tls measures requests over TLS and full handshakes through gitd, nginx and Caddy, with one certificate, TLS 1.3, AES-128-GCM and X25519.
func (b *bench) tls() error {
	s, _, err := b.web()
	if err != nil {
		return err
	}
	chain, key := filepath.Join(b.dir, "tls.pem"), filepath.Join(b.dir, "tls.key")
	if err := writeCertificate(chain, key); err != nil {
		return err
	}
	if err := s.run(nil, "domains", "add", "web", tlsName, "--no-check", "--certificate", chain, "--key", key, "--data", s.data); err != nil {
		return err
	}
	_, backend, end, err := b.behindProxies(s)
	if err != nil {
		return err
	}
	defer end()
	ways := []*way{{name: "gitd", used: s.carried, url: s.HTTPS}}
	for _, kind := range []string{"nginx", "Caddy"} {
		w, stop, err := b.serveTLS(kind, backend, chain, key)
		if err != nil {
			return err
		}
		defer stop()
		ways = append(ways, w)
	}
	if err := b.reachByName(ways); err != nil {
		return err
	}
	handshakes, cost, err := b.handshakes(ways)
	if err != nil {
		return err
	}
	for _, w := range ways {
		w.url, w.host = "https://"+tlsName+":"+port(w.url)+"/", tlsName
	}
	if err := b.load(ways, fewConnections); err != nil {
		return err
	}
	b.report.title("TLS 1.3: small responses over kept connections, wrk -t2 -c64, and full handshakes; one certificate (ECDSA P-256), AES-128-GCM, X25519")
	for n, w := range ways[1:] {
		b.report.rate("requests over TLS through gitd against "+w.name, ways[0].rates, w.rates, tlsRates[w.name])
		b.report.cost("  processor time a request, against "+w.name, ways[0].cpu, w.cpu, 0)
		b.report.rate("  handshakes a second, against "+w.name, handshakes[0], handshakes[n+1], tlsHandshakes[w.name])
		b.report.cost("  processor time a handshake, against "+w.name, cost[0], cost[n+1], 0)
	}
	b.report.count("failed requests through gitd", ways[0].failed, ways[0].requests)
	return nil
}

// handshakes measures how many full handshakes a second each of the ways does, and what one costs it, in seconds.
func (b *bench) handshakes(ways []*way) (rates, cost []samples, err error) {
	rates, cost = make([]samples, len(ways)), make([]samples, len(ways))
	for range b.rounds(5, 3) {
		for n, w := range ways {
			before := w.used()
			rate, took, err := handshakeRate("127.0.0.1:"+port(w.url), time.Duration(b.rounds(3, 1))*time.Second)
			if err != nil {
				return nil, nil, fmt.Errorf("handshakes with %s: %w", w.name, err)
			}
			rates[n] = append(rates[n], rate)
			cost[n] = append(cost[n], (w.used()-before)/(rate*took))
		}
	}
	return rates, cost, nil
}

// serveTLS starts a peer.
func (b *bench) serveTLS(kind, backend, chain, key string) (*way, func(), error) {
	dir := filepath.Join(b.dir, "tls-"+kind)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	if kind == "nginx" {
		w, stop, err := b.serveNginx(kind, dir, address, backend, fmt.Sprintf("listen %s ssl http2; server_name %s; ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519;",
			address, tlsName, chain, key))
		return at(w, address), stop, err
	}
	w, stop, err := b.serveCaddyfile(kind, dir, address, fmt.Sprintf("https://%s:%s {\n\tbind 127.0.0.1\n\ttls %s %s {\n\t\tcurves x25519\n\t}\n\treverse_proxy %s {\n\t\ttransport http {\n\t\t\tkeepalive_idle_conns_per_host 1024\n\t\t\tcompression off\n\t\t}\n\t}\n}\n",
		tlsName, port(address), chain, key, backend))
	return at(w, address), stop, err
}

// at sets where a peer listens.
func at(w *way, address string) *way {
	if w != nil {
		w.url = address
	}
	return w
}

// reachByName lets wrk reach the ways by the name, with one cipher and one curve: in a mount namespace of its own with another /etc/hosts.
func (b *bench) reachByName(ways []*way) error {
	hosts, openssl := filepath.Join(b.dir, "hosts"), filepath.Join(b.dir, "openssl.cnf")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost "+tlsName+"\n"), 0o644); err != nil {
		return err
	}
	config := "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nCiphersuites = TLS_AES_128_GCM_SHA256\nGroups = X25519\n"
	if err := os.WriteFile(openssl, []byte(config), 0o644); err != nil {
		return err
	}
	for _, w := range ways {
		w.before = []string{"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/hosts && OPENSSL_CONF="$1" && export OPENSSL_CONF && shift && exec "$@"`, hosts, openssl}
	}
	return nil
}

// handshakeRate is how many full handshakes a second eight clients get, and in how many seconds.
func handshakeRate(address string, length time.Duration) (rate, took float64, err error) {
	config := &tls.Config{ServerName: tlsName, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	began := time.Now()
	for range 8 {
		wait.Go(func() {
			for time.Since(began) < length {
				c, err := tls.Dial("tcp", address, config)
				if err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
				_ = c.NetConn().(*net.TCPConn).SetLinger(0) // no port waits for its end
				_ = c.NetConn().Close()
			}
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	took = time.Since(began).Seconds()
	return float64(done.Load()) / took, took, nil
}

// writeCertificate makes a certificate for tlsName.
func writeCertificate(chain, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{tlsName}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	if err != nil {
		return err
	}
	b, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	if err := os.WriteFile(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}), 0o600)
}
