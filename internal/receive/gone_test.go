package receive

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
)

// waiting makes deployments wait for the end of their context. The channels tell when one starts, and its cause at the end.
func (l *lab) waiting() (started chan *Push, ended chan error) {
	started, ended = make(chan *Push, 16), make(chan error, 16)
	l.h.setDeploy(func(ctx context.Context, p *Push) error {
		started <- p
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return context.Cause(ctx)
	})
	return started, ended
}

// processOf returns the process of that name in a process group.
func processOf(t testing.TB, group int, name string) int {
	t.Helper()
	found := 0
	eventually(t, name+" runs", func() bool {
		all, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, f := range all {
			b, err := os.ReadFile(f)
			if err != nil {
				continue
			}
			head, rest, ok := strings.Cut(string(b), ") ")
			fields := strings.Fields(rest)
			if !ok || len(fields) < 3 {
				continue
			}
			pid, comm, _ := strings.Cut(head, " (")
			if comm == name && fields[2] == strconv.Itoa(group) {
				found, _ = strconv.Atoi(pid)
				return true
			}
		}
		return false
	})
	return found
}

func TestClientGoesWhileDeploying(t *testing.T) {
	l := start(t, nil)
	dir := l.work("gone")
	started, ended := l.waiting()
	for _, c := range []struct {
		name string
		kill func(t *testing.T, git *exec.Cmd)
	}{
		{"Ctrl-C", func(t *testing.T, git *exec.Cmd) { _ = syscall.Kill(-git.Process.Pid, syscall.SIGINT) }},
		{"kill -9 of all", func(t *testing.T, git *exec.Cmd) { _ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL) }},
		{"kill -9 of git alone", func(t *testing.T, git *exec.Cmd) { _ = git.Process.Kill() }},
		{"kill -9 of ssh alone", func(t *testing.T, git *exec.Cmd) {
			_ = syscall.Kill(processOf(t, git.Process.Pid, "ssh"), syscall.SIGKILL)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			git := l.cmd(dir, "git", "push", "platform", "main")
			if err := git.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL); _ = git.Wait() }()
			p := receiveOr(t, "the deployment starts", started)
			c.kill(t, git)
			at := time.Now()
			if err := receiveOr(t, "the deployment is cancelled", ended); app.CodeOf(err) != app.Cancelled {
				t.Errorf("cause: %v", err)
			}
			t.Logf("noticed after %v", time.Since(at))
			eventually(t, "no git process is left", func() bool { return len(children(l.bare("gone"))) == 0 })
			l.live("gone", "")
			if err := p.Source.Checkout(context.Background(), t.TempDir(), 0, 0); err == nil {
				t.Error("the source outlives the push")
			}
		})
	}
	l.h.setDeploy(nil)
	l.git(dir, "push", "platform", "main")
	l.live("gone", l.git(dir, "rev-parse", "HEAD"))
}

func TestMultiplexedClientGoes(t *testing.T) {
	l := start(t, nil)
	dir := l.work("mux")
	started, ended := l.waiting()
	socket := filepath.Join(l.home, "mux")
	host, port, _ := net.SplitHostPort(l.addr)
	master := l.cmd(l.home, "ssh", append(l.sshArgs(l.key), "-M", "-S", socket, "-N", "-p", port, "git@"+host)...)
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = master.Process.Kill(); _ = master.Wait() }()
	eventually(t, "the master listens", func() bool { _, err := os.Stat(socket); return err == nil })
	git := l.cmd(dir, "git", "push", "platform", "main")
	git.Env = append(git.Env, "GIT_SSH_COMMAND=ssh -S "+socket+" "+strings.Join(l.sshArgs(l.key), " "))
	if err := git.Start(); err != nil {
		t.Fatal(err)
	}
	receiveOr(t, "the deployment starts", started)
	_ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL)
	_ = git.Wait()
	if err := receiveOr(t, "the deployment is cancelled", ended); app.CodeOf(err) != app.Cancelled {
		t.Errorf("cause: %v", err)
	}
	l.live("mux", "")
	if n := l.connections(); n != 1 {
		t.Errorf("%d connections; the master's must be there still", n)
	}
	l.h.setDeploy(nil)
	git = l.cmd(dir, "git", "push", "platform", "main")
	git.Env = append(git.Env, "GIT_SSH_COMMAND=ssh -S "+socket+" "+strings.Join(l.sshArgs(l.key), " "))
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := l.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func (l *lab) connections() int {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return len(l.s.connections)
}

func TestClientGoesInThePack(t *testing.T) {
	held := &holding{limit: 8 << 20, more: make(chan struct{})}
	l := start(t, func(o *Options) { o.Indexer = held })
	dir := l.work("pack")
	junk := make([]byte, 24<<20)
	_, _ = rand.Read(junk)
	l.commit(dir, "junk", string(junk))
	l.h.setDeploy(func(context.Context, *Push) error { return errors.New("must not be deployed") })

	t.Run("kill -9", func(t *testing.T) {
		held.holds.Store(true) // the pack is on its way when the client is killed
		defer func() { held.holds.Store(false); close(held.more) }()
		git := l.cmd(dir, "git", "push", "platform", "main")
		if err := git.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL); _ = git.Wait() }()
		eventually(t, "a part of the pack is here", func() bool {
			found, _ := filepath.Glob(filepath.Join(l.bare("pack"), "objects/tmp_objdir-*/pack/tmp_pack_*"))
			for _, f := range found {
				if i, err := os.Stat(f); err == nil && i.Size() > 1000 {
					return true
				}
			}
			return false
		})
		_ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL)
		l.logged("push pack", "failed")
		eventually(t, "no git process is left", func() bool { return len(children(l.bare("pack"))) == 0 })
		l.live("pack", "")
	})
	t.Run("end of input", func(t *testing.T) {
		client := l.dial()
		defer client.Close()
		ss, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		ss.Stdout = &out
		in, _ := ss.StdinPipe()
		if err := ss.Start("git-receive-pack '/pack'"); err != nil {
			t.Fatal(err)
		}
		head := l.git(dir, "rev-parse", "HEAD")
		_, _ = in.Write(append(appendPacket(nil, zeroID+" "+head+" refs/heads/main\x00report-status"), "0000PACK\x00\x00\x00\x02\x00\x00\x00\x03abc"...))
		_ = in.Close()
		if err := ss.Wait(); err != nil {
			t.Error(err)
		}
		mustHold(t, out.String(), "unpack the pack is damaged", "ng refs/heads/main the pack is damaged")
		l.live("pack", "")
	})
	if n := l.h.count(); n > 0 {
		t.Errorf("%d deployments", n)
	}
}

// dial connects as the user with a client of our own.
func (l *lab) dial() *gossh.Client {
	l.t.Helper()
	c, err := gossh.Dial("tcp", l.addr, &gossh.ClientConfig{User: "git", HostKeyCallback: gossh.FixedHostKey(l.hostKey),
		Auth: []gossh.AuthMethod{gossh.PublicKeys(l.signer(l.key))}})
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// holding is the indexer on a line that stalls after limit bytes.
type holding struct {
	holds atomic.Bool
	limit int64
	more  chan struct{}
}

func (h *holding) Index(ctx context.Context, r io.Reader, to PackTarget, limits PackLimits, progress func(string, int)) (PackStats, error) {
	if !h.holds.Load() {
		return gitIndexer{}.Index(ctx, r, to, limits, progress)
	}
	stalled := readerFunc(func(p []byte) (int, error) { <-h.more; return 0, io.EOF })
	return gitIndexer{}.Index(ctx, io.MultiReader(io.LimitReader(r, h.limit), stalled), to, limits, progress)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
