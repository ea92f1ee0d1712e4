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

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/repository"
)

// waiting makes deployments wait for the end of their context. The channels tell when one starts, and its cause at the end.
func (fx *fixture) waiting() (started chan *Push, ended chan error) {
	started, ended = make(chan *Push, 16), make(chan error, 16)
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
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
	gittest.Eventually(t, name+" runs", func() bool {
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
	fx := start(t, nil)
	dir := fx.Work("gone")
	started, ended := fx.waiting()
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
			git := fx.Cmd(dir, "git", "push", "platform", "main")
			if err := git.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL); _ = git.Wait() }()
			p := gittest.Receive(t, "the deployment starts", started)
			c.kill(t, git)
			at := time.Now()
			if err := gittest.Receive(t, "the deployment is cancelled", ended); app.CodeOf(err) != app.CodeCancelled {
				t.Errorf("cause: %v", err)
			}
			t.Logf("noticed after %v", time.Since(at))
			gittest.Eventually(t, "no git process is left", func() bool { return len(gittest.Children(fx.bare("gone"))) == 0 })
			fx.live("gone", "")
			if err := p.Source.Checkout(context.Background(), t.TempDir(), 0, 0); err == nil {
				t.Error("the source outlives the push")
			}
		})
	}
	fx.h.setDeploy(nil)
	fx.Git(dir, "push", "platform", "main")
	fx.live("gone", fx.Git(dir, "rev-parse", "HEAD"))
}

func TestMultiplexedClientGoes(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("mux")
	started, ended := fx.waiting()
	socket := filepath.Join(fx.Home, "mux")
	host, port, _ := net.SplitHostPort(fx.Addr)
	master := fx.Cmd(fx.Home, "ssh", append(fx.SSHArgs(fx.Key), "-M", "-S", socket, "-N", "-p", port, "git@"+host)...)
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = master.Process.Kill(); _ = master.Wait() }()
	gittest.Eventually(t, "the master listens", func() bool { _, err := os.Stat(socket); return err == nil })
	git := fx.Cmd(dir, "git", "push", "platform", "main")
	git.Env = append(git.Env, "GIT_SSH_COMMAND=ssh -S "+socket+" "+strings.Join(fx.SSHArgs(fx.Key), " "))
	if err := git.Start(); err != nil {
		t.Fatal(err)
	}
	gittest.Receive(t, "the deployment starts", started)
	_ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL)
	_ = git.Wait()
	if err := gittest.Receive(t, "the deployment is cancelled", ended); app.CodeOf(err) != app.CodeCancelled {
		t.Errorf("cause: %v", err)
	}
	fx.live("mux", "")
	if n := fx.s.Connections(); n != 1 {
		t.Errorf("%d connections; the master's must be there still", n)
	}
	fx.h.setDeploy(nil)
	git = fx.Cmd(dir, "git", "push", "platform", "main")
	git.Env = append(git.Env, "GIT_SSH_COMMAND=ssh -S "+socket+" "+strings.Join(fx.SSHArgs(fx.Key), " "))
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := fx.s.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestClientGoesInThePack(t *testing.T) {
	held := &holding{limit: 8 << 20, more: make(chan struct{})}
	fx := start(t, func(o *options) { o.repo.Indexer = held })
	dir := fx.Work("pack")
	junk := make([]byte, 24<<20)
	_, _ = rand.Read(junk)
	fx.Commit(dir, "junk", string(junk))
	fx.h.setDeploy(func(context.Context, *Push) error { return errors.New("must not be deployed") })

	t.Run("kill -9", func(t *testing.T) {
		held.holds.Store(true) // the pack is on its way when the client is killed
		defer func() { held.holds.Store(false); close(held.more) }()
		git := fx.Cmd(dir, "git", "push", "platform", "main")
		if err := git.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL); _ = git.Wait() }()
		gittest.Eventually(t, "a part of the pack is here", func() bool {
			found, _ := filepath.Glob(filepath.Join(fx.bare("pack"), "objects/tmp_objdir-*/pack/tmp_pack_*"))
			for _, f := range found {
				if i, err := os.Stat(f); err == nil && i.Size() > 1000 {
					return true
				}
			}
			return false
		})
		_ = syscall.Kill(-git.Process.Pid, syscall.SIGKILL)
		fx.Logged("push pack", "failed")
		gittest.Eventually(t, "no git process is left", func() bool { return len(gittest.Children(fx.bare("pack"))) == 0 })
		fx.live("pack", "")
	})
	t.Run("end of input", func(t *testing.T) {
		client := fx.Dial()
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
		head := fx.Git(dir, "rev-parse", "HEAD")
		_, _ = in.Write(append(pktline.Append(nil, repository.ZeroID+" "+head+" refs/heads/main\x00report-status"), "0000PACK\x00\x00\x00\x02\x00\x00\x00\x03abc"...))
		_ = in.Close()
		if err := ss.Wait(); err != nil {
			t.Error(err)
		}
		gittest.MustHold(t, out.String(), "unpack the pack is damaged", "ng refs/heads/main the pack is damaged")
		fx.live("pack", "")
	})
	if n := fx.h.count(); n > 0 {
		t.Errorf("%d deployments", n)
	}
}

// holding is the indexer on a line that stalls after limit bytes.
type holding struct {
	holds atomic.Bool
	limit int64
	more  chan struct{}
}

func (h *holding) Index(ctx context.Context, r io.Reader, to repository.PackTarget, limits repository.PackLimits, progress repository.Progress) (repository.PackStats, error) {
	if !h.holds.Load() {
		return repository.NewGitIndexer().Index(ctx, r, to, limits, progress)
	}
	stalled := readerFunc(func(p []byte) (int, error) { <-h.more; return 0, io.EOF })
	return repository.NewGitIndexer().Index(ctx, io.MultiReader(io.LimitReader(r, h.limit), stalled), to, limits, progress)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
