package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/dns/dnstest"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdDNS is a resolver at $DNS: dns set NAME RECORD…, with records such as "A 192.0.2.1"; dns delegate NAME ADDRESS; dns break; dns repair.
func cmdDNS(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if w.dns == nil {
		r, err := dnstest.Start()
		ts.Check(err)
		ts.Defer(r.Close)
		w.dns = r
		ts.Setenv("DNS", r.Address)
	}
	switch {
	case len(args) > 1 && args[0] == "set":
		return output{}, w.dns.Set(args[1], args[2:]...)
	case len(args) == 3 && args[0] == "delegate":
		w.dns.Delegate(args[1], args[2])
	case len(args) == 1 && (args[0] == "break" || args[0] == "repair"):
		w.dns.Break(args[0] == "break")
	default:
		ts.Fatalf("dns: not %s", strings.Join(args, " "))
	}
	return output{}, nil
}

// cmdHTTPS asks the server for a path of a name over TLS: the status, the protocol, the body, and who issued the certificate. -ca names a file with the roots to
// trust; -h1 keeps from HTTP/2.
func cmdHTTPS(w *world, ts *testscript.TestScript, args []string) (output, error) {
	fs := flag.NewFlagSet("https", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	host := fs.String("host", "", "name")
	ca := fs.String("ca", "", "file with roots")
	h1 := fs.Bool("h1", false, "HTTP/1.1")
	serial := fs.String("serial", "", "file with what the command told of the certificate that there must be")
	long := fs.Duration("for", 0, "ask all the time, over new connections")
	lost := fs.Int("lost", 0, "so many of these requests may fail")
	ts.Check(fs.Parse(args))
	if fs.NArg() != 1 || w.https == "" {
		ts.Fatalf("usage, with a server running that has HTTPS: https [-h1] -host NAME -ca FILE PATH")
	}
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(ts.MkAbs(*ca))
	ts.Check(err)
	roots.AppendCertsFromPEM(pem)
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	t := &http.Transport{ForceAttemptHTTP2: !*h1, TLSClientConfig: &tls.Config{RootCAs: roots}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", w.https)
	}}
	defer t.CloseIdleConnections()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+*host+fs.Arg(0), nil)
	ts.Check(err)
	if *long > 0 {
		return repeated(t, q, *long, *lost)
	}
	res, err := t.RoundTrip(q)
	if err != nil {
		return output{stderr: err.Error() + "\n"}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	leaf := res.TLS.PeerCertificates[0]
	number := fmt.Sprintf("serial: %x", leaf.SerialNumber)
	if *serial != "" {
		if told := ts.ReadFile(*serial); !strings.Contains(told, number) {
			return output{}, fmt.Errorf("%s, and not as in %s", number, *serial)
		}
	}
	return output{stdout: fmt.Sprintf("%s %d\n%s\nissuer: %s\n%s\nhsts: %s\n", res.Proto, res.StatusCode, body, leaf.Issuer.CommonName, number, res.Header.Get("Strict-Transport-Security"))}, err
}

// cmdPEM makes a certificate of its own for names: pem FILE [-days N] NAME…, with the key in FILE.key.
func cmdPEM(_ *world, ts *testscript.TestScript, args []string) (output, error) {
	fs := flag.NewFlagSet("pem", flag.ContinueOnError)
	days := fs.Int("days", 30, "it is good for")
	ts.Check(fs.Parse(args[1:]))
	c, key, err := handmade(fs.Args(), nil, *days)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), c, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), key, 0o600))
	return output{}, nil
}

// handmade is a certificate, signed by itself, and its key, in PEM. It has been good for 60 days, and is for so many more.
func handmade(names []string, addresses []net.IP, days int) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "made by hand"}, DNSNames: names, IPAddresses: addresses, NotBefore: now.AddDate(0, 0, -60), NotAfter: now.AddDate(0, 0, days)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	b, err := x509.MarshalPKCS8PrivateKey(private)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}), err
}

// repeated sends a request over and over, each over a connection of its own, and counts the failures, of which so many may be, and the certificates.
func repeated(t *http.Transport, q *http.Request, long time.Duration, lost int) (output, error) {
	t.DisableKeepAlives = true
	serials := map[string]bool{}
	n, failed, last := 0, 0, error(nil)
	for end := time.Now().Add(long); time.Now().Before(end); n++ {
		res, err := t.RoundTrip(q)
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("HTTP %d", res.StatusCode)
		}
		if err != nil {
			failed, last = failed+1, err
			continue
		}
		serials[res.TLS.PeerCertificates[0].SerialNumber.String()] = true
		_ = res.Body.Close()
	}
	out := output{stdout: fmt.Sprintf("%d requests, %d failed, %d certificates\n", n, failed, len(serials))}
	if failed > lost {
		return out, fmt.Errorf("%d of %d requests failed: %w", failed, n, last)
	}
	return out, nil
}
