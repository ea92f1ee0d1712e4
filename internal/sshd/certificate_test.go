package sshd

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"math/big"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// login authenticates with one key, and returns who the server takes it for and the banners that it showed.
func (fx *fixture) login(signer gossh.Signer) (who, banner string, err error) {
	c, err := gossh.Dial("tcp", fx.Addr, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(fx.HostKey),
		Auth: []gossh.AuthMethod{gossh.PublicKeys(signer)}, BannerCallback: func(m string) error { banner += m; return nil }})
	if err != nil {
		return "", banner, err
	}
	defer c.Close()
	ss, err := c.NewSession()
	if err != nil {
		return "", banner, err
	}
	b, err := ss.CombinedOutput("whoami")
	return string(b), banner, err
}

func newSigner(t testing.TB, private any) gossh.Signer {
	t.Helper()
	s, err := gossh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newEd25519(t testing.TB) gossh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, private)
}

func newRSA(t testing.TB, bits int) gossh.Signer {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, private)
}

func TestUserCertificates(t *testing.T) {
	ca, rsaCA, stranger := newEd25519(t), newRSA(t, 2048), newEd25519(t)
	now := time.Now()
	fx := start(t, func(o *Options) {
		o.UserCAs = []gossh.PublicKey{ca.PublicKey(), rsaCA.PublicKey()}
		o.MaxAuthFailures = -1
		o.KeyByName = o.Handler.(*handler).ByName
		o.now = func() time.Time { return now }
	})
	fx.h.SetCommand(whoami)
	fx.newKey("alice", app.Key{Name: "alice", Apps: []app.Scope{{Name: "one"}}})
	user := newEd25519(t)
	weakUser := newRSA(t, 1024)
	sha1CA, err := gossh.NewSignerWithAlgorithms(rsaCA.(gossh.MultiAlgorithmSigner), []string{gossh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		user   gossh.Signer
		ca     gossh.Signer
		change func(c *gossh.Certificate)
		who    string // "" where it is refused
		banner string
	}{
		{name: "plain", who: "alice"},
		{name: "of an RSA CA", ca: rsaCA, who: "alice"},
		{name: "with a name that no key has as well", change: func(c *gossh.Certificate) { c.ValidPrincipals = []string{"git", "alice", "alice"} }, who: "alice"},
		{name: "from here", change: func(c *gossh.Certificate) {
			c.CriticalOptions = map[string]string{"source-address": "192.0.2.1,127.0.0.0/8"}
		}, who: "alice"},
		{name: "extensions", change: func(c *gossh.Certificate) {
			c.Extensions = map[string]string{"permit-pty": "", "permit-port-forwarding": "", "x@example.com": "y"}
		}, who: "alice"},
		{name: "for ever", change: func(c *gossh.Certificate) { c.ValidAfter, c.ValidBefore = 0, gossh.CertTimeInfinity }, who: "alice"},
		{name: "of another CA", ca: stranger, banner: "signed by a CA that is not trusted here: SHA256:"},
		{name: "of a CA by SHA-1", ca: sha1CA, banner: `signed with "ssh-rsa", which is not accepted`},
		{name: "over", change: func(c *gossh.Certificate) { c.ValidBefore = uint64(now.Unix()) }, banner: "cert has expired"},
		{name: "not yet", change: func(c *gossh.Certificate) { c.ValidAfter = uint64(now.Unix()) + 60 }, banner: "not yet valid"},
		{name: "for hosts", change: func(c *gossh.Certificate) { c.CertType = gossh.HostCert }, banner: "is not one for users"},
		{name: "from elsewhere", change: func(c *gossh.Certificate) { c.CriticalOptions = map[string]string{"source-address": "192.0.2.0/24"} },
			banner: "does not hold for connections from 127.0.0.1"},
		{name: "from nowhere", change: func(c *gossh.Certificate) { c.CriticalOptions = map[string]string{"source-address": ""} },
			banner: "does not hold for connections from 127.0.0.1"},
		{name: "with a forced command", change: func(c *gossh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "true"} },
			banner: "unsupported critical option"},
		{name: "with an unknown condition", change: func(c *gossh.Certificate) { c.CriticalOptions = map[string]string{"x@example.com": ""} },
			banner: "unsupported critical option"},
		{name: "without a principal", change: func(c *gossh.Certificate) { c.ValidPrincipals = nil }, banner: "names no principal"},
		{name: "for an unknown", change: func(c *gossh.Certificate) { c.ValidPrincipals = []string{"mal\x1bory"} }, banner: "is for: mal?ory"},
		{name: "for two", change: func(c *gossh.Certificate) { c.ValidPrincipals = []string{"alice", "laptop"} }, banner: "names several registered keys"},
		{name: "for many", change: func(c *gossh.Certificate) {
			c.ValidPrincipals = nil
			for i := range maxPrincipals + 1 {
				c.ValidPrincipals = append(c.ValidPrincipals, fmt.Sprint("n", i))
			}
		}, banner: "more than 16 principals"},
		{name: "for a weak key", user: weakUser, banner: "has 1024 bits, fewer than 2048"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.user == nil {
				c.user = user
			}
			if c.ca == nil {
				c.ca = ca
			}
			cert := &gossh.Certificate{Key: c.user.PublicKey(), KeyId: "100% " + c.name, Serial: 7, CertType: gossh.UserCert, ValidPrincipals: []string{"alice"},
				ValidAfter: uint64(now.Unix()) - 60, ValidBefore: uint64(now.Unix()) + 60}
			if c.change != nil {
				c.change(cert)
			}
			if err := cert.SignCert(rand.Reader, c.ca); err != nil {
				t.Fatal(err)
			}
			signer, err := gossh.NewCertSigner(cert, c.user)
			if err != nil {
				t.Fatal(err)
			}
			who, banner, err := fx.login(signer)
			if who != c.who || (err == nil) != (c.who != "") || !strings.Contains(banner, c.banner) {
				t.Errorf("%q %v\n%s", who, err, banner)
			}
			if c.who != "" {
				fx.Logged("key=alice "+gossh.FingerprintSHA256(c.user.PublicKey()), `certificate="100% `+c.name+`" serial=7 ca=SHA256:`, "ok (status 0")
			}
		})
	}
	// a signature that was tampered with
	cert := &gossh.Certificate{Key: user.PublicKey(), CertType: gossh.UserCert, ValidPrincipals: []string{"laptop"}, ValidBefore: gossh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	cert.ValidPrincipals = []string{"alice"}
	signer, _ := gossh.NewCertSigner(cert, user)
	if who, banner, err := fx.login(signer); err == nil || !strings.Contains(banner, "signature does not verify") {
		t.Errorf("a forged certificate: %q\n%s", who, banner)
	}
	// the certificate of another key
	cert.ValidPrincipals = []string{"laptop"}
	if who, _, err := fx.login(forger{cert, stranger}); err == nil {
		t.Errorf("a certificate without its key: %q", who)
	}
	// the certificate ends, or its user is removed, while a connection is open
	open := func() *gossh.Client {
		cert := &gossh.Certificate{Key: user.PublicKey(), CertType: gossh.UserCert, ValidPrincipals: []string{"alice"}, ValidBefore: uint64(now.Unix()) + 60}
		if err := cert.SignCert(rand.Reader, ca); err != nil {
			t.Fatal(err)
		}
		signer, _ := gossh.NewCertSigner(cert, user)
		client, err := gossh.Dial("tcp", fx.Addr, fx.Client(signer))
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	client := open()
	defer client.Close()
	fx.h.Remove("alice")
	ss, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := ss.CombinedOutput("whoami"); err == nil {
		t.Errorf("a removed user runs commands: %s", out)
	}
}

func TestCertificateWithRealSSH(t *testing.T) {
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "ca"))
	run("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", filepath.Join(dir, "user"))
	run("ssh-keygen", "-q", "-s", filepath.Join(dir, "ca"), "-I", "alice@laptop", "-n", "alice", "-V", "-1m:+1h", filepath.Join(dir, "user.pub"))
	ca := gittest.NewUser(t).Signer(filepath.Join(dir, "ca")).PublicKey()
	fx := start(t, func(o *Options) {
		o.UserCAs = []gossh.PublicKey{ca}
		o.KeyByName = o.Handler.(*handler).ByName
	})
	fx.h.SetCommand(whoami)
	fx.newKey("alice", app.Key{Name: "alice"})
	out, errs, status := fx.SSH(filepath.Join(dir, "user"), "", "whoami")
	if out != "alice" || status != 0 {
		t.Errorf("%q, status %d\n%s", out, status, errs)
	}
	fx.Logged("key=alice SHA256:", `certificate="alice@laptop"`, `client="OpenSSH_`, "whoami")

	// Without a CA the certificate is passed over without a word, and the key itself counts.
	fx = start(t, nil)
	fx.h.SetCommand(whoami)
	fx.h.Register(fx.Signer(filepath.Join(dir, "user")).PublicKey(), app.Key{Name: "bob"})
	out, errs, _ = fx.SSH(filepath.Join(dir, "user"), "", "whoami")
	if out != "bob" || strings.Contains(errs, "gitd:") {
		t.Errorf("%q\n%s", out, errs)
	}
}

func TestCAsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{UserCAs: []gossh.PublicKey{newEd25519(t).PublicKey()}},
		{UserCAs: []gossh.PublicKey{newRSA(t, 1024).PublicKey()}, KeyByName: (&handler{}).ByName},
		{UserCAs: []gossh.PublicKey{&gossh.Certificate{Key: newEd25519(t).PublicKey()}}, KeyByName: (&handler{}).ByName},
	} {
		o.HostKeyFile, o.Handler = filepath.Join(t.TempDir(), "host"), &handler{}
		if _, err := New(o); err == nil {
			t.Errorf("%v was taken", o.UserCAs)
		}
	}
}

func TestKeysOfUsers(t *testing.T) {
	fx := start(t, func(o *Options) { o.MaxAuthFailures = -1 })
	fx.h.SetCommand(whoami)
	ec := func(c elliptic.Curve) gossh.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return newSigner(t, k)
	}
	strong := newRSA(t, 2048)
	sha1, err := gossh.NewSignerWithAlgorithms(strong.(gossh.MultiAlgorithmSigner), []string{gossh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	touched, untouched := newSecurityKey(t, 1), newSecurityKey(t, 0)
	for _, c := range []struct {
		name   string
		signer gossh.Signer
		ok     bool
		banner string
	}{
		{"ed25519", newEd25519(t), true, ""},
		{"P-256", ec(elliptic.P256()), true, ""}, {"P-384", ec(elliptic.P384()), true, ""}, {"P-521", ec(elliptic.P521()), true, ""},
		{"RSA 2048", strong, true, ""},
		{"RSA 2048 with SHA-1", sha1, false, ""},
		{"RSA 1024", newRSA(t, 1024), false, "has 1024 bits, fewer than 2048\ngitd: make a new one: ssh-keygen -t ed25519"},
		{"sk-ssh-ed25519", touched, true, ""},
		{"sk-ssh-ed25519 without touch", untouched, false, ""},
		{"sk-ecdsa", newECSecurityKey(t, 1), true, ""},
		{"sk-ecdsa without touch", newECSecurityKey(t, 0), false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fx.h.Register(c.signer.PublicKey(), app.Key{Name: "user"})
			who, banner, err := fx.login(c.signer)
			if (err == nil) != c.ok || c.ok && who != "user" || !strings.Contains(banner, c.banner) {
				t.Errorf("%q %v\n%s", who, err, banner)
			}
		})
	}
}

// securityKey is an authenticator in software (PROTOCOL.u2f of OpenSSH).
type securityKey struct {
	public gossh.PublicKey
	flags  byte // 1: the user was present
	sign   func(data []byte) ([]byte, error)
}

func (k *securityKey) PublicKey() gossh.PublicKey { return k.public }

func (k *securityKey) Sign(_ io.Reader, data []byte) (*gossh.Signature, error) {
	application, message := sha256.Sum256([]byte("ssh:")), sha256.Sum256(data)
	rest := []byte{k.flags, 0, 0, 0, 1}
	blob, err := k.sign(append(append(append([]byte(nil), application[:]...), rest...), message[:]...))
	return &gossh.Signature{Format: k.public.Type(), Blob: blob, Rest: rest}, err
}

func newSecurityKey(t testing.TB, flags byte) gossh.Signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.ParsePublicKey(gossh.Marshal(struct{ Type, Key, Application string }{gossh.KeyAlgoSKED25519, string(public), "ssh:"}))
	if err != nil {
		t.Fatal(err)
	}
	return &securityKey{key, flags, func(data []byte) ([]byte, error) { return ed25519.Sign(private, data), nil }}
}

func newECSecurityKey(t testing.TB, flags byte) gossh.Signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.ParsePublicKey(gossh.Marshal(struct{ Type, Curve, Point, Application string }{gossh.KeyAlgoSKECDSA256, "nistp256", string(point), "ssh:"}))
	if err != nil {
		t.Fatal(err)
	}
	return &securityKey{key, flags, func(data []byte) ([]byte, error) {
		digest := sha256.Sum256(data)
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		return gossh.Marshal(struct{ R, S *big.Int }{r, s}), err
	}}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		address, list string
		ok            bool
	}{
		{"192.0.2.1:5", "192.0.2.1", true}, {"192.0.2.1:5", "192.0.2.0/24", true}, {"[::ffff:192.0.2.1]:5", "192.0.2.0/24", true},
		{"[2001:db8::1]:5", "10.0.0.0/8,2001:db8::/32", true}, {"192.0.2.1:5", "192.0.2.2,10.0.0.0/8", false},
		{"192.0.2.1:5", "", false}, {"192.0.2.1:5", "junk,/,192.0.2.1/40", false},
	} {
		a, err := net.ResolveTCPAddr("tcp", c.address)
		if err != nil {
			t.Fatal(err)
		}
		if within(a, c.list) != c.ok {
			t.Errorf("%s in %q must be %v", c.address, c.list, c.ok)
		}
	}
	if within(nil, "0.0.0.0/0") || within(&net.UnixAddr{Name: "/x"}, "0.0.0.0/0,::/0") {
		t.Error("what has no address is within a network")
	}
}
