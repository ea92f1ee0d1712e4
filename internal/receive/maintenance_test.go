package receive

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSmallPacks(t *testing.T) {
	for _, c := range []struct {
		sizes string
		want  int // how many of the last become one
	}{
		{"", 0}, {"5", 0}, {"5 5", 2}, {"10 5", 0}, {"100 10 1", 0}, {"100 1 1 1", 3}, {"100 30 10 8", 3},
		{"100 40 10 8 4", 5}, {"1000 40 10 8 4", 4}, {"30 20 10 8 4", 5}, {"1000 1 1 1 1", 4}, {"8 4 2 1", 0}, {"8 4 2 2", 4}, {"0 0", 0},
	} {
		var packs []packFile
		for i, s := range strings.Fields(c.sizes) {
			p := packFile{name: fmt.Sprint(i)}
			_, _ = fmt.Sscan(s, &p.bytes)
			packs = append(packs, p)
		}
		if got := smallPacks(packs); len(got) != c.want {
			t.Errorf("%s: %d become one; want %d", c.sizes, len(got), c.want)
		}
	}
}

// packs returns the names of the app's packs.
func (fx *fixture) packs(name string) (names []string) {
	fx.t.Helper()
	packs, err := listPacks(fx.s.store.packs(name))
	if err != nil {
		fx.t.Fatal(err)
	}
	for _, p := range packs {
		names = append(names, p.name)
	}
	return names
}

// maintained waits until no more than n packs are left and maintenance has ended.
func (fx *fixture) maintained(name string, n int) {
	fx.t.Helper()
	st := fx.s.store.state(name)
	eventually(fx.t, fmt.Sprintf("at most %d packs of %s", n, name), func() bool {
		st.mu.Lock()
		running := st.maintained
		st.mu.Unlock()
		return !running && len(fx.packs(name)) <= n
	})
}

// everything lists all objects of the app's repository.
func (fx *fixture) everything(name string) string {
	fx.t.Helper()
	return fx.git("/", "--git-dir="+fx.bare(name), "cat-file", "--batch-check", "--batch-all-objects")
}

func TestMaintenanceKeepsEverything(t *testing.T) {
	fx := start(t, func(o *Options) { o.MaxPacks = 5 })
	dir := fx.work("many")
	old := fx.commit(dir, "big.txt", strings.Repeat("a line that stays the same\n", 5000))
	fx.git(dir, "push", "platform", "main")
	fx.git(dir, "checkout", "-q", "--orphan", "other")
	fx.git(dir, "rm", "-rfq", ".")
	fx.commit(dir, "new", "unrelated")
	fx.git(dir, "push", "-f", "platform", "other:main") // now nothing leads to old
	var before, last string
	for i := range 4 {
		before = fx.everything("many")
		last = fx.commit(dir, "new", fmt.Sprint(i))
		fx.git(dir, "push", "platform", "other:main")
	}
	fx.maintained("many", 2)
	after := fx.everything("many")
	for line := range strings.SplitSeq(before, "\n") {
		if !strings.Contains(after, line) {
			t.Errorf("lost: %s", line)
		}
	}
	fx.live("many", last)
	if err := fx.s.SetLive("many", old); err != nil {
		t.Fatal(err)
	}
	clone := filepath.Join(t.TempDir(), "clone")
	fx.git("/", "clone", "-q", fx.url("many"), clone)
	if got := fx.git(clone, "rev-parse", "HEAD"); got != old {
		t.Errorf("the clone has %s", got)
	}
	fx.git(clone, "fsck", "--strict")
	fx.live("many", old)

	// what comes next builds on the new pack
	fx.git(clone, "checkout", "-q", "main")
	c := fx.commit(clone, "big.txt", strings.Repeat("a line that stays the same\n", 5000)+"and one more\n")
	fx.git(clone, "push", "--thin", "origin", "main")
	fx.live("many", c)
}

func TestMaintenanceOfShallowRepository(t *testing.T) {
	fx := start(t, func(o *Options) { o.MaxPacks = 2 })
	dir := fx.work("cut")
	fx.commit(dir, "a", "a")
	clone := filepath.Join(t.TempDir(), "clone")
	fx.git("/", "clone", "-q", "--depth=1", "file://"+dir, clone)
	var c string
	for i := range 3 {
		c = fx.commit(clone, "a", fmt.Sprint(i))
		fx.git(clone, "push", fx.url("cut"), "main")
	}
	fx.maintained("cut", 1)
	fx.live("cut", c)
}

func TestMaintenanceBesidePush(t *testing.T) {
	fx := start(t, func(o *Options) { o.MaxPacks = 3 })
	dir := fx.work("busy")
	large := strings.Repeat("a line that stays the same\n", 5000)
	fx.commit(dir, "big.txt", large)
	fx.git(dir, "push", "platform", "main")
	slow := filepath.Join(t.TempDir(), "slow")
	fx.git("/", "clone", "-q", dir, slow)
	fx.git(slow, "checkout", "-q", "-b", "slow")
	fx.commit(slow, "mine", "mine")

	arrived, release := make(chan struct{}), make(chan struct{})
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		if !p.Options.ClearCache {
			return p.Accept()
		}
		close(arrived)
		select {
		case <-release:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		to := t.TempDir()
		if err := p.Source.Checkout(ctx, to, 0, 0); err != nil {
			return err
		}
		if b, err := os.ReadFile(filepath.Join(to, "big.txt")); err != nil || string(b) != large {
			t.Errorf("big.txt has %d bytes (%v)", len(b), err)
		}
		return p.Accept()
	})
	done := make(chan string, 1)
	go func() {
		out, err := fx.try(slow, "push", "-f", "-o", "clear-cache", fx.url("busy"), "slow:main")
		done <- fmt.Sprint(err, out)
	}()
	receiveOr(t, "the slow push", arrived)
	before := fx.packs("busy")
	for i := range 3 {
		fx.commit(dir, "new", fmt.Sprint(i))
		fx.git(dir, "push", "platform", "main")
	}
	eventually(t, "the new pack beside the old ones", func() bool { return len(fx.packs("busy")) > 4 })
	st := fx.s.store.state("busy")
	st.mu.Lock()
	if !st.maintained {
		t.Error("maintenance did not wait for the push under way")
	}
	st.mu.Unlock()
	for _, p := range before {
		if _, err := os.Stat(filepath.Join(fx.s.store.packs("busy"), p+".pack")); err != nil {
			t.Errorf("deleted beside a reader: %v", err)
		}
	}
	close(release)
	if out := receiveOr(t, "the end of the slow push", done); !strings.HasPrefix(out, "<nil>") {
		t.Error(out)
	}
	fx.maintained("busy", 2)
	if err := fx.s.SetLive("busy", fx.git(slow, "rev-parse", "HEAD")); err != nil {
		t.Error(err)
	}
	fx.live("busy", fx.git(slow, "rev-parse", "HEAD"))
}

// TestMaintenanceUnderLoad pushes and clones while packs come and go all the time.
func TestMaintenanceUnderLoad(t *testing.T) {
	fx := start(t, func(o *Options) { o.MaxPacks = 1 })
	dir := fx.work("load")
	fx.git(dir, "push", "platform", "main")
	pushed := make(chan struct{})
	var cloning sync.WaitGroup
	for range 2 {
		cloning.Go(func() {
			for {
				clone := filepath.Join(t.TempDir(), "clone")
				if out, err := fx.try("/", "clone", "-q", fx.url("load"), clone); err != nil {
					t.Errorf("clone: %v\n%s", err, out)
				}
				select {
				case <-pushed:
					return
				default:
				}
			}
		})
	}
	var c string
	for i := range 12 {
		c = fx.commit(dir, "large", strings.Repeat(fmt.Sprintf("%d and some more\n", i%3), 2000)+fmt.Sprint(i))
		if out, err := fx.try(dir, "push", "-f", "platform", "main"); err != nil {
			t.Errorf("push: %v\n%s", err, out)
		}
		if i%4 == 3 {
			fx.git(dir, "reset", "-q", "--hard", "HEAD~2")
		}
	}
	close(pushed)
	cloning.Wait()
	fx.maintained("load", 12)
	fx.live("load", c)
}

func TestShutdownEndsMaintenance(t *testing.T) {
	fx := start(t, func(o *Options) { o.MaxPacks = 1 })
	dir := fx.work("ended")
	fx.s.upkeep.turn <- struct{}{} // another repository's, which never ends
	fx.git(dir, "push", "platform", "main")
	c := fx.commit(dir, "a", "a")
	fx.git(dir, "push", "platform", "main")
	st := fx.s.store.state("ended")
	eventually(t, "maintenance has begun", func() bool { st.mu.Lock(); defer st.mu.Unlock(); return st.maintained })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := fx.s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if st.maintained {
		t.Error("maintenance goes on")
	}
	if n := len(fx.packs("ended")); n != 2 {
		t.Errorf("%d packs", n)
	}
	fx.s.maintain("ended")
	if st.maintained {
		t.Error("maintenance begins after the end")
	}
	fx.live("ended", c)
}

// TestKilledMaintenance leaves a repository as a kill -9 does: with packs that hold the same, and with a pack half deleted.
func TestKilledMaintenance(t *testing.T) {
	fx := start(t, nil)
	dir := fx.work("killed")
	fx.git(dir, "push", "platform", "main")
	c := fx.commit(dir, "a", "a")
	fx.git(dir, "push", "platform", "main")
	before := fx.everything("killed")
	small, joined, err := fx.s.makeJoined(context.Background(), "killed")
	if err != nil || len(small) != 2 || joined == "" {
		t.Fatalf("%v %q %v", small, joined, err)
	}
	packs := fx.s.store.packs("killed")
	if err := os.Remove(filepath.Join(packs, small[0].name+".idx")); err != nil {
		t.Fatal(err)
	}
	orphan := filepath.Join(packs, "pack-12.rev")
	if err := os.WriteFile(orphan, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := New(fx.s.opts); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{orphan, filepath.Join(packs, small[0].name+".pack")} {
		if _, err := os.Lstat(f); err == nil {
			t.Errorf("%s is still there", f)
		}
	}
	if after := fx.everything("killed"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	fx.live("killed", c)

	// an app of the same name with the same packs, but not the joined one: nothing of it may be deleted
	if err := fx.s.DeleteRepository("killed"); err != nil {
		t.Fatal(err)
	}
	fx.git(dir, "push", "platform", "main")
	if err := fx.s.store.deletePacks("killed", small, joined); err == nil {
		t.Error("packs of another repository were deleted")
	}
	fx.live("killed", c)
}

func TestLowPriority(t *testing.T) {
	c := exec.Command("cat")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = c.Wait() }()
	if err := lowPriority(c.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Getpriority(unix.PRIO_PROCESS, c.Process.Pid); err != nil || 20-n != 19 { // the system call adds 20
		t.Errorf("nice is %d (%v)", 20-n, err)
	}
	if n, _, _ := unix.Syscall(unix.SYS_IOPRIO_GET, 1, uintptr(c.Process.Pid), 0); n>>13 != 3 {
		t.Errorf("the class of input and output is %d", n>>13)
	}
}
