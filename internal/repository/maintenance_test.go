package repository

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
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
	fx.T.Helper()
	packs, err := listPacks(fx.f.Of(name).packDir())
	if err != nil {
		fx.T.Fatal(err)
	}
	for _, p := range packs {
		names = append(names, p.name)
	}
	return names
}

// maintained waits until no more than n packs are left and maintenance has ended.
func (fx *fixture) maintained(name string, n int) {
	fx.T.Helper()
	gittest.Eventually(fx.T, fmt.Sprintf("at most %d packs of %s", n, name), func() bool {
		return !fx.f.Of(name).packs.running() && len(fx.packs(name)) <= n
	})
}

func TestMaintenanceBesidePush(t *testing.T) {
	fx := start(t, func(o *Options) { o.Limits.Packs = 3 })
	dir := fx.Work("busy")
	large := strings.Repeat("a line that stays the same\n", 5000)
	fx.Commit(dir, "big.txt", large)
	fx.push(dir, "busy")
	slow := filepath.Join(t.TempDir(), "slow")
	fx.Git("/", "clone", "-q", dir, slow)
	fx.Git(slow, "checkout", "-q", "-b", "slow")
	fx.Commit(slow, "mine", "mine")
	r := fx.f.Of("busy")
	done := r.Read()
	q, commit := fx.begin(slow, "busy")
	before := fx.packs("busy")
	for i := range 3 {
		fx.Commit(dir, "new", fmt.Sprint(i))
		fx.push(dir, "busy")
	}
	gittest.Eventually(t, "the new pack beside the old ones", func() bool { return len(fx.packs("busy")) > 4 })
	if !r.packs.running() {
		t.Error("maintenance did not wait for the push under way")
	}
	for _, p := range before {
		if _, err := os.Stat(filepath.Join(r.packDir(), p+".pack")); err != nil {
			t.Errorf("deleted beside a reader: %v", err)
		}
	}
	to := t.TempDir()
	if err := q.Source().Checkout(t.Context(), to, 0, 0); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(to, "big.txt")); err != nil || string(b) != large {
		t.Errorf("big.txt has %d bytes (%v)", len(b), err)
	}
	fx.end(q)
	done()
	fx.maintained("busy", 2)
	if err := fx.f.SetLive(app.App{Name: "busy"}, commit); err != nil {
		t.Error(err)
	}
	fx.live("busy", commit)
}

func TestStopMaintenance(t *testing.T) {
	fx := start(t, func(o *Options) { o.Limits.Packs = 1 })
	dir := fx.Work("ended")
	fx.f.upkeep.turn <- struct{}{} // another repository's, which never ends
	fx.push(dir, "ended")
	fx.Commit(dir, "a", "a")
	c := fx.push(dir, "ended")
	r := fx.f.Of("ended")
	gittest.Eventually(t, "maintenance has begun", r.packs.running)
	fx.f.StopMaintenance()
	if r.packs.running() {
		t.Error("maintenance goes on")
	}
	if n := len(fx.packs("ended")); n != 2 {
		t.Errorf("%d packs", n)
	}
	r.Maintain()
	if r.packs.running() {
		t.Error("maintenance begins after the end")
	}
	fx.live("ended", c)
}

// TestKilledMaintenance leaves a repository as a kill -9 does: with packs that hold the same, and with a pack half deleted.
func TestKilledMaintenance(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("killed")
	fx.push(dir, "killed")
	fx.Commit(dir, "a", "a")
	c := fx.push(dir, "killed")
	before := fx.everything("killed")
	small, joined, err := fx.f.Of("killed").makeJoined(context.Background())
	if err != nil || len(small) != 2 || joined == "" {
		t.Fatalf("%v %q %v", small, joined, err)
	}
	packs := fx.f.Of("killed").packDir()
	if err := os.Remove(filepath.Join(packs, small[0].name+".idx")); err != nil {
		t.Fatal(err)
	}
	orphan := filepath.Join(packs, "pack-12.rev")
	if err := os.WriteFile(orphan, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(fx.f.opts); err != nil {
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
	if err := fx.f.Delete("killed"); err != nil {
		t.Fatal(err)
	}
	fx.push(dir, "killed")
	if err := fx.f.Of("killed").deletePacks(small, joined); err == nil {
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

// running says whether maintenance runs.
func (p *packState) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.maintained
}
