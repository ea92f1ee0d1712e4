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
	res, err := t.RoundTrip(q)
	if err != nil {
		return output{stderr: err.Error() + "\n"}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	leaf := res.TLS.PeerCertificates[0]
	return output{stdout: fmt.Sprintf("%s %d\n%s\nissuer: %s\nserial: %x\nhsts: %s\n", res.Proto, res.StatusCode, body, leaf.Issuer.CommonName, leaf.SerialNumber, res.Header.Get("Strict-Transport-Security"))}, err
}

// cmdPEM makes a certificate of its own for names: pem FILE [-days N] NAME…, with the key in FILE.key.
func cmdPEM(_ *world, ts *testscript.TestScript, args []string) (output, error) {
	fs := flag.NewFlagSet("pem", flag.ContinueOnError)
	days := fs.Int("days", 30, "it is good for")
	ts.Check(fs.Parse(args[1:]))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "made by hand"}, DNSNames: fs.Args(), NotBefore: now.AddDate(0, 0, -60), NotAfter: now.AddDate(0, 0, *days)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return output{}, nil
}
