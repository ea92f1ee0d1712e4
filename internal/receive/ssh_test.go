package receive

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
)

func TestIdentityIsTheVerifiedKey(t *testing.T) {
	fx := start(t, nil)
	admin := fx.signer(fx.key)
	guest := fx.signer(fx.newKey("guest", app.Key{Name: "guest", Apps: []app.Scope{{Name: "one"}}}))
	fx.h.command = func(_ context.Context, k app.Key, _ []string, _ io.Reader, out, _ io.Writer) int {
		fmt.Fprint(out, k.Name)
		return 0
	}
	// The admin's public key is known to all. A guest offers it first, is told that it would do, and proves another.
	public, err := os.ReadFile(fx.key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	fx.write("stolen/admin.pub", string(public))
	out, errs, _ := fx.ssh(filepath.Join(fx.home, "stolen", "admin.pub"), "", "-v", "-i", filepath.Join(fx.home, "guest"), "whoami")
	if n := strings.Count(errs, "Server accepts key"); out != "guest" || n != 2 {
		t.Errorf("%d keys were accepted, and the server takes the guest for %q\n%s", n, out, errs)
	}
	// And without a proof for the offered key there is no way in.
	_, err = gossh.Dial("tcp", fx.addr, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(fx.hostKey),
		Auth: []gossh.AuthMethod{gossh.PublicKeys(forger{admin.PublicKey(), guest})}})
	if err == nil {
		t.Error("a guest's signature went for the admin's key")
	}
	for _, a := range [][]gossh.AuthMethod{nil, {gossh.Password("x")}, {gossh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) { return nil, nil })}} {
		if _, err := gossh.Dial("tcp", fx.addr, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(fx.hostKey), Auth: a}); err == nil {
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
	fingerprint := gossh.FingerprintSHA256(fx.signer(stranger).PublicKey())
	_, errs, status := fx.ssh(stranger, "", "apps")
	mustHold(t, errs, "gitd: no key with fingerprint "+fingerprint+" is registered: ask the operator to run: gitd keys add NAME", "Permission denied (publickey)")
	if status != 255 {
		t.Errorf("status %d", status)
	}
	fx.logged(fingerprint, "not authenticated")
	dir := fx.work("x")
	good := fx.key
	fx.key = stranger
	fx.rejected(dir, []string{fingerprint}, "push", "platform", "main")
	fx.key = good
	fx.git(dir, "push", "platform", "main")
	// a key that was removed has no rights, not even on a connection that is open
	client := fx.dial()
	defer client.Close()
	fx.h.mu.Lock()
	clear(fx.h.keys)
	fx.h.mu.Unlock()
	ss, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := ss.CombinedOutput("apps")
	if err == nil {
		t.Error("a removed key runs commands")
	}
	mustHold(t, string(out), "no key with fingerprint")
}

func TestCommands(t *testing.T) {
	fx := start(t, nil)
	fx.h.command = func(ctx context.Context, k app.Key, args []string, in io.Reader, out, errw io.Writer) int {
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
	}
	out, errs, status := fx.ssh(fx.key, "input\n", "echo 'a b' c\\ d \"e'f\"")
	if out != "input\n" || status != 42 {
		t.Errorf("%q, status %d", out, status)
	}
	mustHold(t, errs, `laptop ["echo" "a b" "c d" "e'f"]`)
	eventually(t, "the connection is over", func() bool { return fx.connections() == 0 })
	fx.mu.Lock()
	if len(fx.log) != 1 {
		t.Errorf("a connection with one command has one line in the log:\n%s", strings.Join(fx.log, "\n"))
	}
	fx.mu.Unlock()
	_, errs, status = fx.ssh(fx.key, "", "frobnicate")
	mustHold(t, errs, `unknown command "frobnicate"`)
	if status != 127 {
		t.Errorf("status %d", status)
	}
	out, _, status = fx.ssh(fx.key, "")
	mustHold(t, out, "Hello laptop, this is gitd", "help")
	if status != 0 {
		t.Errorf("status %d", status)
	}
	out, _, _ = fx.ssh(fx.key, "", "-tt")
	mustHold(t, out, "Hello laptop", "\r\n")
	_, errs, status = fx.ssh(fx.key, "", "echo 'open")
	mustHold(t, errs, "a quote that is not closed")
	if status != 2 {
		t.Errorf("status %d", status)
	}
	_, errs, _ = fx.ssh(fx.key, "", "-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1")
	mustHold(t, errs, "remote port forwarding failed")
	_, errs, status = fx.ssh(fx.key, "", "-W", "127.0.0.1:1")
	if status == 0 {
		t.Error("forwarded")
	}
	mustHold(t, errs, "unsupported channel type")
	_, errs, _ = fx.ssh(fx.key, "", "-s", "sftp")
	mustHold(t, errs, "subsystem request failed")
	_, _, _ = fx.ssh(fx.key, "", "git-receive-pack")
	fx.logged("git-receive-pack takes the name of an app")

	client := fx.dial()
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
		c, err := net.Dial("tcp", fx.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	for _, c := range silent {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadAll(c); err != nil { // the version, and then the end
			t.Errorf("a silent connection: %v", err)
		}
	}
	eventually(t, "their places are free", func() bool { return fx.connections() == 0 })

	fx = start(t, func(o *Options) { o.MaxConnections = 4 })
	for range 2 {
		c, err := net.Dial("tcp", fx.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(t, "two are waiting", func() bool { return fx.connections() == 2 })
	c, err := net.Dial("tcp", fx.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, _ := io.ReadAll(c)
	mustHold(t, string(b), "too many connections")
	fx.logged("too many connections")
}

func TestFrozenClient(t *testing.T) {
	fx := start(t, func(o *Options) {
		o.HandshakeTimeout, o.IdleTimeout, o.KeepAlive = 500*time.Millisecond, time.Second, 100*time.Millisecond
	})
	started, ended := fx.waiting()
	dir := fx.work("frozen")
	git := fx.cmd(dir, "git", "push", "platform", "main")
	if err := git.Start(); err != nil {
		t.Fatal(err)
	}
	receiveOr(t, "the deployment starts", started)
	stopGroup(git.Process.Pid)
	defer killGroupAndWait(git)
	if err := receiveOr(t, "the deployment is cancelled", ended); app.CodeOf(err) != app.CodeCancelled {
		t.Errorf("cause: %v", err)
	}
	fx.live("frozen", "")
}

func TestSilentBuildLives(t *testing.T) {
	fx := start(t, func(o *Options) {
		o.HandshakeTimeout, o.IdleTimeout, o.KeepAlive = 500*time.Millisecond, time.Second, 100*time.Millisecond
	})
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		select {
		case <-time.After(3 * time.Second): // far longer than the idle timeout
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	dir := fx.work("silent")
	fx.git(dir, "push", "platform", "main")
	fx.live("silent", fx.git(dir, "rev-parse", "HEAD"))
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
