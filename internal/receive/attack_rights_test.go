package receive

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// wantEnded waits for a command that must fail, and soon.
func wantEnded(t *testing.T, c *exec.Cmd, out *bytes.Buffer, words ...string) {
	t.Helper()
	began := time.Now()
	if err := c.Wait(); err == nil {
		t.Errorf("it went well:\n%s", out)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	gittest.MustHold(t, out.String(), words...)
}

// A key is removed while its pushes and streams are under way: in the hook of git that runs before the push is said, in a build, detached from its
// client. All of them end.
func TestAttack_RemovedKeyGoesOn(t *testing.T) {
	begin := func(fx *fixture, key, dir string, args ...string) (*exec.Cmd, *bytes.Buffer) {
		c := fx.Cmd(dir, args[0], args[1:]...)
		c.Env = fx.Env(key)
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c, &out
	}
	building := make(chan struct{}, 10)
	block := func(ctx context.Context, p *Push) error {
		building <- struct{}{}
		<-ctx.Done()
		return context.Cause(ctx)
	}
	t.Run("Building", func(t *testing.T) {
		fx := start(t, nil)
		key := fx.newKey("temp", app.Key{Name: "temp"})
		fx.h.setDeploy(block)
		c, out := begin(fx, key, fx.Work("shop"), "git", "push", "platform", "main")
		gittest.Receive(t, "a build", building)
		fx.remove("temp")
		wantEnded(t, c, out, "the key temp was removed", "[remote rejected] main -> main (the key temp was removed)")
		fx.live("shop", "")
	})
	t.Run("Detached", func(t *testing.T) {
		fx := start(t, nil)
		key := fx.newKey("temp", app.Key{Name: "temp"})
		ended := make(chan error, 1)
		fx.h.setDeploy(func(ctx context.Context, p *Push) error { err := block(ctx, p); ended <- err; return err })
		c, _ := begin(fx, key, fx.Work("shop"), "git", "push", "-o", "detach", "platform", "main")
		gittest.Receive(t, "a build", building)
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
		fx.Logged("the detached release goes on")
		fx.remove("temp")
		if err := gittest.Receive(t, "the end of the build", ended); app.CodeOf(err) != app.CodeForbidden {
			t.Error(err)
		}
	})
	t.Run("BeforeTheCommands", func(t *testing.T) {
		fx := start(t, nil)
		key := fx.newKey("temp", app.Key{Name: "temp"})
		dir := fx.Work("shop")
		held := fx.Home + "/held"
		hook := fmt.Sprintf("#!/bin/sh\ntouch %s\nwhile [ ! -e %s/on ]; do sleep .05; done\n", held, fx.Home)
		w := exec.Command("sh", "-c", "cat > "+dir+"/.git/hooks/pre-push; chmod +x "+dir+"/.git/hooks/pre-push")
		w.Stdin = strings.NewReader(hook)
		if err := w.Run(); err != nil {
			t.Fatal(err)
		}
		c, out := begin(fx, key, dir, "git", "push", "platform", "main")
		gittest.Eventually(t, "the hook", func() bool { return exec.Command("test", "-e", held).Run() == nil })
		fx.remove("temp")
		fx.Logged("push shop: ended: the key temp was removed")
		fx.Write("on", "")
		wantEnded(t, c, out, "gitd: the key temp was removed")
		if fx.h.count() != 0 {
			t.Error("it was deployed")
		}
	})
	t.Run("Streaming", func(t *testing.T) {
		fx := start(t, nil)
		key := fx.newKey("temp", app.Key{Name: "temp"})
		fx.h.mu.Lock()
		fx.h.SetCommand(func(ctx context.Context, _ app.Key, _ []string, _ io.Reader, out, _ io.Writer) int {
			fmt.Fprintln(out, "a line")
			building <- struct{}{}
			<-ctx.Done()
			return 0
		})
		fx.h.mu.Unlock()
		host, port, _ := net.SplitHostPort(fx.Addr)
		c, out := begin(fx, key, fx.Home, append(append([]string{"ssh"}, fx.SSHArgs(key)...), "-p", port, "git@"+host, "logs", "shop", "-f")...)
		gittest.Receive(t, "the command", building)
		fx.remove("nobody") // another key's removal ends nothing
		fx.remove("temp")
		wantEnded(t, c, out, "a line", "gitd: the key temp was removed")
		gittest.Eventually(t, "the connection is cut", func() bool { return fx.s.Connections() == 0 })
	})
	t.Run("Idle", func(t *testing.T) {
		fx := start(t, nil)
		key := fx.newKey("temp", app.Key{Name: "temp"})
		conn, err := gossh.Dial("tcp", fx.Addr, fx.Client(fx.Signer(key)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		gone := make(chan error, 1)
		go func() { gone <- conn.Wait() }()
		fx.remove("temp")
		gittest.Receive(t, "the end of the connection", gone)
	})
}

// An app is destroyed while large files are sent to it, and the name becomes another's: the session ends.
func TestAttack_LargeFilesOutliveTheApp(t *testing.T) {
	fx := start(t, nil)
	fx.h.create("shop")
	s := fx.session(t, "git-lfs-transfer shop upload")
	defer s.Close()
	ended := make(chan error, 1)
	go func() { ended <- s.Wait() }()
	time.Sleep(100 * time.Millisecond)
	fx.h.mu.Lock()
	delete(fx.h.apps, "shop")
	fx.h.mu.Unlock()
	if err := fx.s.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := gittest.Receive(t, "the end of the session", ended); err == nil {
		t.Error("it ended well")
	}
	fx.Logged("lfs upload shop: ended: the app shop was destroyed meanwhile")
}

// session starts a command by hand, with its input left open.
func (fx *fixture) session(t *testing.T, command string) *gossh.Session {
	t.Helper()
	conn, err := gossh.Dial("tcp", fx.Addr, fx.Client(fx.Signer(fx.Key)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(command); err != nil {
		t.Fatal(err)
	}
	return s
}
