package receive

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// packs returns the names of the app's packs.
func (fx *fixture) packs(name string) []string {
	fx.T.Helper()
	names, err := filepath.Glob(filepath.Join(fx.bare(name), "objects/pack/pack-*.idx"))
	if err != nil {
		fx.T.Fatal(err)
	}
	return names
}

// maintained waits until no more than n packs are left and maintenance has ended.
func (fx *fixture) maintained(name string, n int) {
	fx.T.Helper()
	gittest.Eventually(fx.T, fmt.Sprintf("at most %d packs of %s", n, name), func() bool {
		under, _ := filepath.Glob(filepath.Join(fx.bare(name), "objects/tmp_objdir-joined-*"))
		return len(under) == 0 && len(fx.packs(name)) <= n
	})
}

// everything lists all objects of the app's repository.
func (fx *fixture) everything(name string) string {
	fx.T.Helper()
	return fx.Git("/", "--git-dir="+fx.bare(name), "cat-file", "--batch-check", "--batch-all-objects")
}

func TestMaintenanceKeepsEverything(t *testing.T) {
	fx := start(t, func(o *options) { o.repo.Limits.Packs = 5 })
	dir := fx.Work("many")
	old := fx.Commit(dir, "big.txt", strings.Repeat("a line that stays the same\n", 5000))
	fx.Git(dir, "push", "platform", "main")
	fx.Git(dir, "checkout", "-q", "--orphan", "other")
	fx.Git(dir, "rm", "-rfq", ".")
	fx.Commit(dir, "new", "unrelated")
	fx.Git(dir, "push", "-f", "platform", "other:main") // now nothing leads to old
	var before, last string
	for i := range 4 {
		before = fx.everything("many")
		last = fx.Commit(dir, "new", fmt.Sprint(i))
		fx.Git(dir, "push", "platform", "other:main")
	}
	fx.maintained("many", 2)
	after := fx.everything("many")
	for line := range strings.SplitSeq(before, "\n") {
		if !strings.Contains(after, line) {
			t.Errorf("lost: %s", line)
		}
	}
	fx.live("many", last)
	if err := fx.repos.SetLive(app.App{Name: "many"}, old); err != nil {
		t.Fatal(err)
	}
	clone := filepath.Join(t.TempDir(), "clone")
	fx.Git("/", "clone", "-q", fx.URL("many"), clone)
	if got := fx.Git(clone, "rev-parse", "HEAD"); got != old {
		t.Errorf("the clone has %s", got)
	}
	fx.Git(clone, "fsck", "--strict")
	fx.live("many", old)

	// what comes next builds on the new pack
	fx.Git(clone, "checkout", "-q", "main")
	c := fx.Commit(clone, "big.txt", strings.Repeat("a line that stays the same\n", 5000)+"and one more\n")
	fx.Git(clone, "push", "--thin", "origin", "main")
	fx.live("many", c)
}

func TestMaintenanceOfShallowRepository(t *testing.T) {
	fx := start(t, func(o *options) { o.repo.Limits.Packs = 2 })
	dir := fx.Work("cut")
	fx.Commit(dir, "a", "a")
	clone := filepath.Join(t.TempDir(), "clone")
	fx.Git("/", "clone", "-q", "--depth=1", "file://"+dir, clone)
	var c string
	for i := range 3 {
		c = fx.Commit(clone, "a", fmt.Sprint(i))
		fx.Git(clone, "push", fx.URL("cut"), "main")
	}
	fx.maintained("cut", 1)
	fx.live("cut", c)
}

// TestMaintenanceUnderLoad pushes and clones while packs come and go all the time.
func TestMaintenanceUnderLoad(t *testing.T) {
	fx := start(t, func(o *options) { o.repo.Limits.Packs = 1 })
	dir := fx.Work("load")
	fx.Git(dir, "push", "platform", "main")
	pushed := make(chan struct{})
	var cloning sync.WaitGroup
	for range 2 {
		cloning.Go(func() {
			for {
				clone := filepath.Join(t.TempDir(), "clone")
				if out, err := fx.Try("/", "clone", "-q", fx.URL("load"), clone); err != nil {
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
		c = fx.Commit(dir, "large", strings.Repeat(fmt.Sprintf("%d and some more\n", i%3), 2000)+fmt.Sprint(i))
		if out, err := fx.Try(dir, "push", "-f", "platform", "main"); err != nil {
			t.Errorf("push: %v\n%s", err, out)
		}
		if i%4 == 3 {
			fx.Git(dir, "reset", "-q", "--hard", "HEAD~2")
		}
	}
	close(pushed)
	cloning.Wait()
	fx.maintained("load", 12)
	fx.live("load", c)
}
