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
	l := start(t, nil)
	admin := l.signer(l.key)
	guest := l.signer(l.newKey("guest", app.Key{Name: "guest", Apps: []string{"one"}}))
	l.h.command = func(_ context.Context, k app.Key, _ []string, _ io.Reader, out, _ io.Writer) int {
		fmt.Fprint(out, k.Name)
		return 0
	}
	// The admin's public key is known to all. A guest offers it first, is told that it would do, and proves another.
	public, err := os.ReadFile(l.key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	l.write("stolen/admin.pub", string(public))
	out, errs, _ := l.ssh(filepath.Join(l.home, "stolen", "admin.pub"), "", "-v", "-i", filepath.Join(l.home, "guest"), "whoami")
	if n := strings.Count(errs, "Server accepts key"); out != "guest" || n != 2 {
		t.Errorf("%d keys were accepted, and the server takes the guest for %q\n%s", n, out, errs)
	}
	// And without a proof for the offered key there is no way in.
	_, err = gossh.Dial("tcp", l.addr, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(l.hostKey),
		Auth: []gossh.AuthMethod{gossh.PublicKeys(forger{admin.PublicKey(), guest})}})
	if err == nil {
		t.Error("a guest's signature went for the admin's key")
	}
	for _, a := range [][]gossh.AuthMethod{nil, {gossh.Password("x")}, {gossh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) { return nil, nil })}} {
		if _, err := gossh.Dial("tcp", l.addr, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(l.hostKey), Auth: a}); err == nil {
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
	l := start(t, nil)
	stranger := l.newKey("stranger", app.Key{})
	fingerprint := gossh.FingerprintSHA256(l.signer(stranger).PublicKey())
	_, errs, status := l.ssh(stranger, "", "apps")
	mustHold(t, errs, "gitd: no key with fingerprint "+fingerprint+" is registered: ask the operator to run: gitd keys add NAME", "Permission denied (publickey)")
	if status != 255 {
		t.Errorf("status %d", status)
	}
	l.logged(fingerprint, "not authenticated")
	dir := l.work("x")
	good := l.key
	l.key = stranger
	l.rejected(dir, []string{fingerprint}, "push", "platform", "main")
	l.key = good
	l.git(dir, "push", "platform", "main")
	// a key that was removed has no rights, not even on a connection that is open
	client := l.dial()
	defer client.Close()
	l.h.mu.Lock()
	clear(l.h.keys)
	l.h.mu.Unlock()
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
	l := start(t, nil)
	l.h.command = func(ctx context.Context, k app.Key, args []string, in io.Reader, out, errw io.Writer) int {
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
	out, errs, status := l.ssh(l.key, "input\n", "echo 'a b' c\\ d \"e'f\"")
	if out != "input\n" || status != 42 {
		t.Errorf("%q, status %d", out, status)
	}
	mustHold(t, errs, `laptop ["echo" "a b" "c d" "e'f"]`)
	eventually(t, "the connection is over", func() bool { return l.connections() == 0 })
	l.mu.Lock()
	if len(l.log) != 1 {
		t.Errorf("a connection with one command has one line in the log:\n%s", strings.Join(l.log, "\n"))
	}
	l.mu.Unlock()
	_, errs, status = l.ssh(l.key, "", "frobnicate")
	mustHold(t, errs, `unknown command "frobnicate"`)
	if status != 127 {
		t.Errorf("status %d", status)
	}
	out, _, status = l.ssh(l.key, "")
	mustHold(t, out, "Hello laptop, this is gitd", "help")
	if status != 0 {
		t.Errorf("status %d", status)
	}
	out, _, _ = l.ssh(l.key, "", "-tt")
	mustHold(t, out, "Hello laptop", "\r\n")
	_, errs, status = l.ssh(l.key, "", "echo 'open")
	mustHold(t, errs, "a quote that is not closed")
	_, errs, _ = l.ssh(l.key, "", "-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1")
	mustHold(t, errs, "remote port forwarding failed")
	_, errs, status = l.ssh(l.key, "", "-W", "127.0.0.1:1")
	if status == 0 {
		t.Error("forwarded")
	}
	mustHold(t, errs, "unsupported channel type")
	_, errs, _ = l.ssh(l.key, "", "-s", "sftp")
	mustHold(t, errs, "subsystem request failed")
	_, errs, _ = l.ssh(l.key, "", "git-receive-pack")
	l.logged("git-receive-pack takes the name of an app")

	client := l.dial()
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
	l := start(t, func(o *Options) { o.HandshakeTimeout = 300 * time.Millisecond; o.MaxConnections = 4 })
	var silent []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", l.addr)
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
	eventually(t, "their places are free", func() bool { return l.connections() == 0 })

	l = start(t, func(o *Options) { o.MaxConnections = 4 })
	for range 2 {
		c, err := net.Dial("tcp", l.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(t, "two are waiting", func() bool { return l.connections() == 2 })
	c, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, _ := io.ReadAll(c)
	mustHold(t, string(b), "too many connections")
	l.logged("too many connections")
}

func TestFrozenClient(t *testing.T) {
	l := start(t, func(o *Options) {
		o.HandshakeTimeout, o.IdleTimeout, o.KeepAlive = 500*time.Millisecond, time.Second, 100*time.Millisecond
	})
	started, ended := l.waiting()
	dir := l.work("frozen")
	git := l.cmd(dir, "git", "push", "platform", "main")
	if err := git.Start(); err != nil {
		t.Fatal(err)
	}
	receiveOr(t, "the deployment starts", started)
	stopGroup(git.Process.Pid)
	defer killGroupAndWait(git)
	if err := receiveOr(t, "the deployment is cancelled", ended); app.CodeOf(err) != app.Cancelled {
		t.Errorf("cause: %v", err)
	}
	l.live("frozen", "")
}

func TestSilentBuildLives(t *testing.T) {
	l := start(t, func(o *Options) {
		o.HandshakeTimeout, o.IdleTimeout, o.KeepAlive = 500*time.Millisecond, time.Second, 100*time.Millisecond
	})
	l.h.setDeploy(func(ctx context.Context, p *Push) error {
		select {
		case <-time.After(3 * time.Second): // far longer than the idle timeout
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	dir := l.work("silent")
	l.git(dir, "push", "platform", "main")
	l.live("silent", l.git(dir, "rev-parse", "HEAD"))
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
	if _, err := hostKey(p); app.CodeOf(err) != app.Unavailable || !strings.Contains(err.Error(), "damaged") {
		t.Error(err)
	}
}
