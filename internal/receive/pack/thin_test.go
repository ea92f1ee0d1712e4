package pack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestThinPack pushes the second half of a history, as git does, to repositories that have the first.
func TestThinPack(t *testing.T) {
	dir := repository(t)
	older := git(t, dir, "", "rev-parse", "main~15")
	newer := git(t, dir, "", "rev-parse", "main")
	for _, args := range [][]string{{"--delta-base-offset"}, {}, {"--window=0"}} {
		thin := packObjects(t, dir, newer+"\n^"+older+"\n", append([]string{"--thin"}, args...)...)
		for _, loose := range []bool{false, true} {
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
