package e2e

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"github.com/rogpeppe/go-internal/testscript"
)

// pebble is a real authority that speaks ACME, for one script.
type pebble struct {
	directory, management string
	dir                   string
	cmd                   *exec.Cmd
}

const pebbleVersion = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.8.0"

// buildPebble builds the program once, from the module proxy, with the dependencies that it was released with.
var buildPebble = sync.OnceValues(func() (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	c := exec.Command("go", "install", pebbleVersion)
	c.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return filepath.Join(dir, "pebble"), nil
})

// cmdPebble is an authority that speaks ACME:
//
//	pebble prepare          its directory's address is $ACME, what its own certificate is made with in acme-root.pem
//	pebble start [SECONDS] [VARIABLE=VALUE…]   it runs, and its certificates are good for so long; roots of what it issues are in acme.pem
//	pebble stop
//	pebble revoke NAME      the certificate that the server has
func cmdPebble(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if w.pebble == nil {
		w.pebble = &pebble{dir: ts.MkAbs(".")}
		ts.Check(w.pebble.prepare(ts))
		ts.Defer(w.pebble.stop)
		ts.Setenv("ACME", "https://"+w.pebble.directory+"/dir")
	}
	switch {
	case len(args) == 1 && args[0] == "prepare":
	case len(args) > 0 && args[0] == "start":
		ts.Check(w.pebble.start(w, args[1:]))
	case len(args) == 1 && args[0] == "stop":
		w.pebble.stop()
	case len(args) == 2 && args[0] == "revoke":
		ts.Check(w.pebble.revoke(w, args[1]))
	default:
		ts.Fatalf("pebble: not %s", strings.Join(args, " "))
	}
	return output{}, nil
}

func (p *pebble) prepare(ts *testscript.TestScript) error {
	for _, at := range []*string{&p.directory, &p.management} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		*at = l.Addr().String()
		l.Close()
	}
	c, key, err := handmade([]string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}, 30)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.dir, "acme-root.pem"), c, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.dir, "acme-root.pem.key"), key, 0o600)
}

func (p *pebble) start(w *world, args []string) error {
	program, err := buildPebble()
	if err != nil {
		return err
	}
	good := 90 * 24 * 3600
	if len(args) > 0 && !strings.Contains(args[0], "=") {
		if _, err := fmt.Sscan(args[0], &good); err != nil {
			return err
		}
		args = args[1:]
	}
	_, plain, _ := net.SplitHostPort(w.http)
	_, secure, _ := net.SplitHostPort(w.https)
	config := fmt.Sprintf(`{"pebble": {"listenAddress": %q, "managementListenAddress": %q, "certificate": "acme-root.pem", "privateKey": "acme-root.pem.key", "httpPort": %s, "tlsPort": %s,
		"retryAfter": {"authz": 1, "order": 1}, "profiles": {"default": {"description": "for tests", "validityPeriod": %d}}}}`, p.directory, p.management, plain, secure, good)
	if err := os.WriteFile(filepath.Join(p.dir, "pebble.json"), []byte(config), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(p.dir, "pebble.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(program, "-config", "pebble.json", "-dnsserver", w.dns.Address)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, log, log
	p.cmd.Env = append(os.Environ(), append([]string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0"}, args...)...)
	if err := p.cmd.Start(); err != nil {
		return err
	}
	for range 100 {
		if b, err := p.get("/roots/0"); err == nil {
			return os.WriteFile(filepath.Join(p.dir, "acme.pem"), b, 0o600)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("pebble does not answer")
}

func (p *pebble) stop() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

func (p *pebble) client() *http.Client {
	roots := x509.NewCertPool()
	b, _ := os.ReadFile(filepath.Join(p.dir, "acme-root.pem"))
	roots.AppendCertsFromPEM(b)
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
}

func (p *pebble) get(path string) ([]byte, error) {
	res, err := p.client().Get("https://" + p.management + path)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// revoke revokes the server's certificate for a name, by its own key.
func (p *pebble) revoke(w *world, name string) error {
	b, err := os.ReadFile(filepath.Join(w.data, "certificates", name+".pem"))
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(b, b)
	if err != nil {
		return err
	}
	c := acme.Client{Directory: "https://" + p.directory + "/dir", HTTPClient: p.client()}
	return c.RevokeCertificate(context.Background(), acme.Account{}, pair.Leaf, pair.PrivateKey.(crypto.Signer), acme.ReasonSuperseded)
}
