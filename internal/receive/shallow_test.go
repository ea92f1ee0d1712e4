package receive

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// TestShallowOfWhatIsNotHere has a commit in the shallow file that is not here: that of a push which was killed before its pack was visible.
func TestShallowOfWhatIsNotHere(t *testing.T) {
	fx := start(t, nil)
	dir := fx.work("early")
	fx.commit(dir, "a", "a")
	fx.git(dir, "push", "platform", "main")
	top := fx.commit(dir, "b", "b")
	if err := os.WriteFile(filepath.Join(fx.bare("early"), "shallow"), []byte(strings.Repeat("12", 20)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	fx.git(dir, "push", "platform", "main")
	fx.live("early", top)
	for _, version := range []string{"0", "1", "2"} {
		for _, depth := range []string{"--no-single-branch", "--depth=2"} {
			clone := filepath.Join(t.TempDir(), "clone")
			fx.git("/", "-c", "protocol.version="+version, "clone", "-q", depth, fx.url("early"), clone)
			want := "3"
			if depth == "--depth=2" {
				want = "2"
			}
			if n := fx.git(clone, "rev-list", "--count", "HEAD"); n != want {
				t.Errorf("version %s, %s: %s commits", version, depth, n)
			}
			fx.git(clone, "fsck", "--strict")
			fx.git(clone, "-c", "protocol.version="+version, "fetch", "-q")
			c := fx.commit(clone, "c", version+depth)
			fx.git(clone, "push", "-f", "origin", "main")
			fx.live("early", c)
			fx.git(dir, "push", "-f", "platform", "main")
		}
	}
	// The commit comes after all.
	clone := filepath.Join(t.TempDir(), "clone")
	fx.git("/", "clone", "-q", "--depth=1", "file://"+dir, clone)
	fx.git(clone, "push", fx.url("late"), "main")
	fx.live("late", top)
	if cut, err := readShallow(fx.bare("late")); err != nil || len(cut) != 1 || cut[0] != top {
		t.Errorf("%v %v", cut, err)
	}
}

func TestParentThatIsNoCommit(t *testing.T) {
	fx := start(t, nil)
	repository, blob, tree := fx.bareWith()
	hash := fx.cmd(repository, "git", "hash-object", "-t", "commit", "-w", "--literally", "--stdin")
	hash.Stdin = strings.NewReader("tree " + tree("") + "\nparent " + blob + "\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n")
	id, err := hash.Output()
	if err != nil {
		t.Fatal(err)
	}
	q := &quarantine{objects: objects{repository: repository}, cut: []string{strings.TrimSpace(string(id))}}
	q.cat = &catFile{ctx: context.Background(), objects: q.objects, limits: fx.s.opts}
	defer q.cat.close()
	if err := q.accept(); app.CodeOf(err) != app.CodeInvalidInput || !strings.Contains(err.Error(), "is a blob where a parent of commit") {
		t.Error(err)
	}
}
