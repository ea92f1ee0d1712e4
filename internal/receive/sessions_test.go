package receive

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

func TestFrozenClient(t *testing.T) {
	fx := start(t, func(o *options) {
		o.ssh.HandshakeTimeout, o.ssh.IdleTimeout, o.ssh.KeepAlive = 500*time.Millisecond, time.Second, 100*time.Millisecond
	})
	started, ended := fx.waiting()
	dir := fx.Work("frozen")
	git := fx.Cmd(dir, "git", "push", "platform", "main")
	if err := git.Start(); err != nil {
		t.Fatal(err)
	}
	gittest.Receive(t, "the deployment starts", started)
	gittest.StopGroup(git.Process.Pid)
	defer gittest.KillGroup(git)
	if err := gittest.Receive(t, "the deployment is cancelled", ended); app.CodeOf(err) != app.CodeCancelled {
		t.Errorf("cause: %v", err)
	}
	fx.live("frozen", "")
}

func TestSilentBuildLives(t *testing.T) {
	fx := start(t, func(o *options) {
		o.ssh.HandshakeTimeout, o.ssh.IdleTimeout, o.ssh.KeepAlive = 500*time.Millisecond, time.Second, 100*time.Millisecond
	})
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		select {
		case <-time.After(3 * time.Second): // far longer than the idle timeout
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	dir := fx.Work("silent")
	fx.Git(dir, "push", "platform", "main")
	fx.live("silent", fx.Git(dir, "rev-parse", "HEAD"))
}

func TestPushWithAnUnknownKey(t *testing.T) {
	fx := start(t, nil)
	good, stranger := fx.Key, fx.newKey("stranger", app.Key{})
	dir := fx.Work("x")
	fx.Key = stranger
	fx.Rejected(dir, []string{gossh.FingerprintSHA256(fx.Signer(stranger).PublicKey())}, "push", "platform", "main")
	fx.Key = good
	fx.Git(dir, "push", "platform", "main")
}

func TestVerbs(t *testing.T) {
	fx := start(t, nil)
	out, _, status := fx.SSH(fx.Key, "")
	gittest.MustHold(t, out, "Hello laptop, this is gitd", "help")
	if status != 0 {
		t.Errorf("status %d", status)
	}
	_, _, _ = fx.SSH(fx.Key, "", "git-receive-pack")
	fx.Logged("git-receive-pack takes the name of an app")
}

func TestPushWithACertificate(t *testing.T) {
	dir := t.TempDir()
	keygen := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
		}
	}
	keygen("-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "ca"))
	keygen("-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "user"))
	keygen("-s", filepath.Join(dir, "ca"), "-I", "alice@laptop", "-n", "alice", "-V", "-1m:+1h", filepath.Join(dir, "user.pub"))
	ca := gittest.NewUser(t).Signer(filepath.Join(dir, "ca")).PublicKey()
	fx := start(t, func(o *options) {
		o.ssh.UserCAs, o.ssh.KeyByName = []gossh.PublicKey{ca}, o.Handler.(*handler).ByName
	})
	fx.newKey("alice", app.Key{Name: "alice"})
	repo := fx.Work("certified")
	fx.Key = filepath.Join(dir, "user")
	fx.Git(repo, "push", "platform", "main")
	fx.live("certified", fx.Git(repo, "rev-parse", "HEAD"))
	fx.Logged("key=alice SHA256:", `certificate="alice@laptop"`, `client="OpenSSH_`, "push certified")
}
