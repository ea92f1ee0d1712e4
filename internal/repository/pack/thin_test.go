package pack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
)

// TestThinPack pushes the second half of a history, as git does, to repositories that have the first.
func TestThinPack(t *testing.T) {
	dir := repository(t)
	older := git(t, dir, "", "rev-parse", "main~15")
	newer := git(t, dir, "", "rev-parse", "main")
	for _, args := range [][]string{{"--delta-base-offset"}, {}, {"--window=0"}} {
		thin := packObjects(t, dir, newer+"\n^"+older+"\n", append([]string{"--thin"}, args...)...)
		for _, loose := range []bool{false, true} {
			if loose && len(args) == 0 {
				continue
			}
			ours, theirs := filepath.Join(t.TempDir(), "ours"), filepath.Join(t.TempDir(), "theirs")
			for _, to := range []string{ours, theirs} {
				git(t, dir, "", "init", "-q", "--bare", to)
				git(t, dir, "", "push", "-q", to, older+":refs/heads/main")
				if !loose {
					git(t, to, "", "repack", "-q", "-ad")
				}
			}
			res, in, err := take(t, thin, Options{Dir: t.TempDir(), Repository: filepath.Join(ours, "objects")})
			if err != nil {
				t.Fatal(err)
			}
			sameIndex(t, in, res)
			if len(args) == 1 && args[0] == "--delta-base-offset" && res.Completed == 0 {
				t.Error("the pack was not thin")
			}
			for _, ext := range []string{".pack", ".idx"} {
				if err := os.Rename(filepath.Join(in, res.Name+ext), filepath.Join(ours, "objects/pack", res.Name+ext)); err != nil {
					t.Fatal(err)
				}
			}
			git(t, ours, "", "update-ref", "refs/heads/main", newer)
			if out := git(t, ours, "", "fsck", "--strict", "--full"); out != "" {
				t.Error(out)
			}
			git(t, theirs, string(thin), "index-pack", "--stdin", "--fix-thin", "--strict")
			list := func(repository string) string {
				return git(t, repository, "", "cat-file", "--batch-check", "--batch-all-objects")
			}
			if list(ours) != list(theirs) {
				t.Error("the objects are not those that git takes")
			}
		}
		_, _, err := take(t, thin, Options{})
		if err == nil || !strings.Contains(err.Error(), "missing") {
			t.Errorf("without the repository: %v", err)
		}
	}
}

// TestShallow takes a history whose oldest commits have parents that are not there.
func TestShallow(t *testing.T) {
	dir := repository(t)
	shallow := filepath.Join(t.TempDir(), "shallow")
	git(t, dir, "", "clone", "-q", "--no-tags", "--depth=2", "file://"+dir, shallow)
	pack := packObjects(t, shallow, "", "--all")
	cut := map[ID]bool{}
	b, err := os.ReadFile(filepath.Join(shallow, ".git/shallow"))
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.FieldsSeq(string(b)) {
		id, err := ParseID(l)
		if err != nil {
			t.Fatal(err)
		}
		cut[id] = true
	}
	if _, _, err := take(t, pack, Options{Shallow: func(id ID) bool { return cut[id] }}); err != nil {
		t.Error(err)
	}
	if _, _, err := take(t, pack, Options{}); err == nil || !strings.Contains(err.Error(), "incomplete: commit") {
		t.Error(err)
	}
}

// TestManyPushes pushes a history a commit or two at a time: bases are found in many packs.
func TestManyPushes(t *testing.T) {
	dir := repository(t)
	to := filepath.Join(t.TempDir(), "to")
	git(t, dir, "", "init", "-q", "--bare", to)
	packs := filepath.Join(to, "objects/pack")
	have, completed := "", 0
	commits := strings.Fields(git(t, dir, "", "rev-list", "--reverse", "--topo-order", "--first-parent", "main"))
	for i, c := range commits {
		if i%5 == 3 && i != len(commits)-1 {
			continue
		}
		thin := packObjects(t, dir, c+"\n"+have, "--thin", "--delta-base-offset")
		res, _, err := takeInto(t, thin, Options{Dir: packs, Repository: filepath.Join(to, "objects"), Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		sameIndex(t, packs, res)
		completed += res.Completed
		have = "^" + c + "\n"
	}
	if completed == 0 {
		t.Error("no pack was thin")
	}
	git(t, to, "", "update-ref", "refs/heads/main", commits[len(commits)-1])
	if out := git(t, to, "", "fsck", "--strict", "--full"); out != "" {
		t.Error(out)
	}
}

// TestDiskFull takes a pack that the disk has no room for.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=600k"); err != nil {
		t.Fatalf("mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	pack := packObjects(t, repository(t), "", "--all")
	_, _, err := take(t, pack, Options{Dir: dir})
	if err == nil || codeOf(t, err) != app.CodeUnavailable || !strings.Contains(err.Error(), "disk is full") {
		t.Error(err)
	}
}
