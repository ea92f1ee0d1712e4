package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

func TestIdentityIsTheVerifiedKey(t *testing.T) {
	fx := start(t, nil)
	admin := fx.Signer(fx.Key)
	guest := fx.Signer(fx.newKey("guest", app.Key{Name: "guest", Apps: []app.Scope{{Name: "one"}}}))
	fx.h.SetCommand(func(_ context.Context, k app.Key, _ []string, _ io.Reader, out, _ io.Writer) int {
		fmt.Fprint(out, k.Name)
		return 0
	})
	// The admin's public key is known to all. A guest offers it first, is told that it would do, and proves another.
	public, err := os.ReadFile(fx.Key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	fx.Write("stolen/admin.pub", string(public))
	out, errs, _ := fx.SSH(filepath.Join(fx.Home, "stolen", "admin.pub"), "", "-v", "-i", filepath.Join(fx.Home, "guest"), "whoami")
	if n := strings.Count(errs, "Server accepts key"); out != "guest" || n != 2 {
		t.Errorf("%d keys were accepted, and the server takes the guest for %q\n%s", n, out, errs)
	}
	// And without a proof for the offered key there is no way in.
	_, err = gossh.Dial("tcp", fx.Addr, fx.Client(forger{admin.PublicKey(), guest}))
	if err == nil {
		t.Error("a guest's signature went for the admin's key")
	}
	for _, a := range [][]gossh.AuthMethod{nil, {gossh.Password("x")}, {gossh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) { return nil, nil })}} {
		if _, err := gossh.Dial("tcp", fx.Addr, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(fx.HostKey), Auth: a}); err == nil {
			t.Errorf("let in by %v", a)
		}
	}
}

// forger signs for one key with another.
type forger struct {
	key  gossh.PublicKey
	with gossh.Signer
}

func (f forger) PublicKey() gossh.PublicKey { return f.key }
func (f forger) Sign(r io.Reader, b []byte) (*gossh.Signature, error) {
	return f.with.Sign(r, b)
}

func TestUnknownKey(t *testing.T) {
	fx := start(t, nil)
	stranger := fx.newKey("stranger", app.Key{})
	fingerprint := gossh.FingerprintSHA256(fx.Signer(stranger).PublicKey())
	_, errs, status := fx.SSH(stranger, "", "apps")
	gittest.MustHold(t, errs, "gitd: no key with fingerprint "+fingerprint+" is registered: ask the operator to run: gitd keys add NAME", "Permission denied (publickey)")
	if status != 255 {
		t.Errorf("status %d", status)
	}
	fx.Logged(fingerprint, "not authenticated")
	// a key that was removed has no rights, not even on a connection that is open
	client := fx.Dial()
	defer client.Close()
	fx.h.Clear()
	ss, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := ss.CombinedOutput("apps")
	if err == nil {
		t.Error("a removed key runs commands")
	}
	gittest.MustHold(t, string(out), "no key with fingerprint")
}

func TestCommands(t *testing.T) {
	fx := start(t, nil)
	fx.h.SetCommand(func(ctx context.Context, k app.Key, args []string, in io.Reader, out, errw io.Writer) int {
		switch args[0] {
		case "echo":
			_, _ = io.Copy(out, in)
			fmt.Fprintf(errw, "%s %q\n", k.Name, args)
			return 42
		case "wait":
			fmt.Fprintln(out, "waiting")
			<-ctx.Done()
			return 0
		}
		fmt.Fprintf(errw, "unknown command %q\n", args[0])
		return 127
	})
	out, errs, status := fx.SSH(fx.Key, "input\n", "echo 'a b' c\\ d \"e'f\"")
	if out != "input\n" || status != 42 {
		t.Errorf("%q, status %d", out, status)
	}
	gittest.MustHold(t, errs, `laptop ["echo" "a b" "c d" "e'f"]`)
	gittest.Eventually(t, "the connection is over", func() bool { return fx.s.Connections() == 0 })
	if lines := fx.Lines(); len(lines) != 1 {
		t.Errorf("a connection with one command has one line in the log:\n%s", strings.Join(lines, "\n"))
	}
	_, errs, status = fx.SSH(fx.Key, "", "frobnicate")
	gittest.MustHold(t, errs, `unknown command "frobnicate"`)
	if status != 127 {
		t.Errorf("status %d", status)
	}
	out, _, status = fx.SSH(fx.Key, "")
	gittest.MustHold(t, out, "Hello laptop", "help")
	if status != 0 {
		t.Errorf("status %d", status)
	}
	out, _, _ = fx.SSH(fx.Key, "", "-tt")
	gittest.MustHold(t, out, "Hello laptop", "\r\n")
	_, errs, status = fx.SSH(fx.Key, "", "echo 'open")
	gittest.MustHold(t, errs, "a quote that is not closed")
	if status != 2 {
		t.Errorf("status %d", status)
	}
	_, errs, _ = fx.SSH(fx.Key, "", "-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1")
	gittest.MustHold(t, errs, "remote port forwarding failed")
	_, errs, status = fx.SSH(fx.Key, "", "-W", "127.0.0.1:1")
	if status == 0 {
		t.Error("forwarded")
	}
	gittest.MustHold(t, errs, "unsupported channel type")
	_, errs, _ = fx.SSH(fx.Key, "", "-s", "sftp")
	gittest.MustHold(t, errs, "subsystem request failed")

	client := fx.Dial()
	defer client.Close()
	var open []*gossh.Session
	for range maxChannels {
		ss, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, ss)
	}
	if _, err := client.NewSession(); err == nil {
		t.Error("no limit on channels")
	}
	for i := range maxEnv + 2 {
		if err := open[0].Setenv(fmt.Sprint("A", i), "b"); errors.Is(err, io.EOF) {
			break
		} else if i == maxEnv+1 {
			t.Error("no limit on the environment")
		}
	}
}

func TestHandshakeTimeoutAndConnectionCap(t *testing.T) {
	fx := start(t, func(o *Options) { o.HandshakeTimeout = 300 * time.Millisecond; o.MaxConnections = 4 })
	var silent []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", fx.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	for _, c := range silent {
		_ = c.SetReadDeadline(time.Now().Add(gittest.Patience))
		if _, err := io.ReadAll(c); err != nil { // the version, and then the end
			t.Errorf("a silent connection: %v", err)
		}
	}
	gittest.Eventually(t, "their places are free", func() bool { return fx.s.Connections() == 0 })

	fx = start(t, func(o *Options) { o.MaxConnections = 4 })
	for range 2 {
		c, err := net.Dial("tcp", fx.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	gittest.Eventually(t, "two are waiting", func() bool { return fx.s.Connections() == 2 })
	c, err := net.Dial("tcp", fx.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, _ := io.ReadAll(c)
	gittest.MustHold(t, string(b), "too many connections")
	fx.Logged("too many connections")
}

func TestHostKeyIsMadeOnce(t *testing.T) {
	p := filepath.Join(t.TempDir(), "a", "host")
	one, err := hostKey(p)
	if err != nil {
		t.Fatal(err)
	}
	two, err := hostKey(p)
	if err != nil || string(one.PublicKey().Marshal()) != string(two.PublicKey().Marshal()) || one.PublicKey().Type() != gossh.KeyAlgoED25519 {
		t.Errorf("%v %v", two, err)
	}
	if i, err := os.Stat(p); err != nil || i.Mode() != 0o600 {
		t.Errorf("%v %v", i, err)
	}
	if err := os.WriteFile(p, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := hostKey(p); app.CodeOf(err) != app.CodeUnavailable || !strings.Contains(err.Error(), "damaged") {
		t.Error(err)
	}
}
