package receive

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestShallowOfWhatIsNotHere has a commit in the shallow file that is not here: that of a push which was killed before its pack was visible.
func TestShallowOfWhatIsNotHere(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("early")
	fx.Commit(dir, "a", "a")
	fx.Git(dir, "push", "platform", "main")
	top := fx.Commit(dir, "b", "b")
	if err := os.WriteFile(filepath.Join(fx.bare("early"), "shallow"), []byte(strings.Repeat("12", 20)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	fx.Git(dir, "push", "platform", "main")
	fx.live("early", top)
	for _, version := range []string{"0", "1", "2"} {
		for _, depth := range []string{"--no-single-branch", "--depth=2"} {
			clone := filepath.Join(t.TempDir(), "clone")
			fx.Git("/", "-c", "protocol.version="+version, "clone", "-q", depth, fx.URL("early"), clone)
			want := "3"
			if depth == "--depth=2" {
				want = "2"
			}
			if n := fx.Git(clone, "rev-list", "--count", "HEAD"); n != want {
				t.Errorf("version %s, %s: %s commits", version, depth, n)
			}
			fx.Git(clone, "fsck", "--strict")
			fx.Git(clone, "-c", "protocol.version="+version, "fetch", "-q")
			c := fx.Commit(clone, "c", version+depth)
			fx.Git(clone, "push", "-f", "origin", "main")
			fx.live("early", c)
			fx.Git(dir, "push", "-f", "platform", "main")
		}
	}
	// The commit comes after all.
	clone := filepath.Join(t.TempDir(), "clone")
	fx.Git("/", "clone", "-q", "--depth=1", "file://"+dir, clone)
	fx.Git(clone, "push", fx.URL("late"), "main")
	fx.live("late", top)
	if cut, err := fx.repos.Of("late").Shallow(); err != nil || len(cut) != 1 || cut[0] != top {
		t.Errorf("%v %v", cut, err)
	}
}
