package receive

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// sshd runs OpenSSH's server, which lets in the keys of the file authorized in dir.
func openSSH(t *testing.T, dir string) (address string, newHostKey func()) {
	t.Helper()
	path, err := exec.LookPath("sshd")
	if err != nil {
		path = "/usr/sbin/sshd"
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("this test needs sshd: apt-get install openssh-server")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where it keeps its unprivileged child
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(address)
	config := filepath.Join(dir, "sshd_config")
	hostKey := filepath.Join(dir, "host_key")
	text := fmt.Sprintf("ListenAddress 127.0.0.1:%s\nHostKey %s\nAuthorizedKeysFile %s/authorized\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\n", port, hostKey, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var server *exec.Cmd
	stop := func() {
		if server != nil {
			_ = server.Process.Kill()
			_ = server.Wait()
		}
	}
	newHostKey = func() {
		stop()
		_, _ = os.Remove(hostKey), os.Remove(hostKey+".pub")
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", hostKey).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		server = exec.Command(path, "-D", "-e", "-f", config)
		log, err := os.OpenFile(filepath.Join(dir, "sshd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		server.Stderr = log
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		gittest.Eventually(t, "sshd listens", func() bool {
			c, err := net.Dial("tcp", address)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
	}
	newHostKey()
	t.Cleanup(stop)
	return address, newHostKey
}

func TestPrivateSubmodulesOverSSH(t *testing.T) {
	root := t.TempDir()
	address, newHostKey := openSSH(t, root)
	fx := start(t, func(o *options) { o.repo.ModulesFrom = loopback })
	secret := fx.Library(root, "secret")
	dir := fx.Work("private")
	url := "ssh://root@" + address + secret
	fx.Embed(dir, "secret", url, fx.Git(secret, "rev-parse", "HEAD"))

	fx.Rejected(dir, []string{"app private does not exist yet", "apps create private"}, "push", "platform", "main")
	if _, err := os.Stat(filepath.Join(fx.bare("private"), "deploy_key")); err == nil {
		t.Error("a key was made for an app without an owner")
	}
	fx.h.create("private", "other")
	out := fx.Rejected(dir, []string{`submodule "secret": ` + url + " cannot be read: it does not exist, or is private", "let the app's deploy key read it: ssh-ed25519 "}, "push", "platform", "main")
	public, err := fx.repos.DeployKey("private", false)
	if err != nil || !strings.Contains(out, public) || !strings.HasSuffix(public, " gitd:private") {
		t.Fatalf("the deploy key is %q (%v)", public, err)
	}
	if info, err := os.Stat(filepath.Join(fx.bare("private"), "deploy_key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key: %v %v", info.Mode(), err)
	}
	authorize := func(public string) {
		if err := os.WriteFile(filepath.Join(root, "authorized"), []byte(public+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	authorize(public)
	var built string
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		built = fx.checkedOut(p)
		return p.Accept()
	})
	gittest.MustHold(t, fx.Git(dir, "push", "platform", "main"), "Fetching submodule "+url)
	mustBe(t, filepath.Join(built, "secret/secret.txt"), []byte("this is secret\n"))
	live := fx.Git(dir, "rev-parse", "HEAD")
	fx.live("private", live)

	update := func() {
		c := fx.Commit(secret, "secret.txt", time.Now().String())
		fx.Git(dir, "update-index", "--cacheinfo", "160000,"+c+",secret")
		fx.Git(dir, "commit", "-qm", "newer")
	}
	t.Run("another host key", func(t *testing.T) {
		newHostKey()
		update()
		fx.Rejected(dir, []string{"shows another host key than before", "deploy-key private --forget-hosts"}, "push", "platform", "main")
		fx.live("private", live)
		if err := fx.repos.ForgetHosts("private"); err != nil {
			t.Fatal(err)
		}
		fx.Git(dir, "push", "platform", "main")
	})
	t.Run("another deploy key", func(t *testing.T) {
		next, err := fx.repos.DeployKey("private", true)
		if err != nil || next == public {
			t.Fatalf("%s %v", next, err)
		}
		update()
		fx.Rejected(dir, []string{"is private", next}, "push", "platform", "main")
		authorize(next)
		fx.Git(dir, "push", "platform", "main")
	})
	t.Run("of another app", func(t *testing.T) {
		other := fx.Work("other")
		fx.Embed(other, "secret", url, fx.Git(secret, "rev-parse", "HEAD"))
		fx.Rejected(other, []string{"is private", "gitd:other"}, "push", "platform", "main")
	})
	for _, name := range []string{"../x", ""} {
		if _, err := fx.repos.DeployKey(name, true); app.CodeOf(err) != app.CodeInvalidName {
			t.Errorf("a deploy key for %q: %v", name, err)
		}
	}
}
