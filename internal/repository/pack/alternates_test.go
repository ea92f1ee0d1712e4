package pack

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestAlternates takes a thin pack into a repository whose objects are elsewhere: in an alternate of an alternate.
func TestAlternates(t *testing.T) {
	dir, root := repository(t), t.TempDir()
	older, newer := git(t, dir, "", "rev-parse", "main~15"), git(t, dir, "", "rev-parse", "main")
	thin := packObjects(t, dir, newer+"\n^"+older+"\n", "--thin", "--delta-base-offset")
	for _, name := range []string{"far", "near", "here"} {
		git(t, root, "", "init", "-q", "--bare", name)
	}
	far := filepath.Join(root, "far", "objects")
	git(t, dir, "", "push", "-q", filepath.Join(root, "far"), older+":refs/heads/main")
	write(t, filepath.Join(root, "near/objects/info/alternates"), "# a comment\n\n/no/such/folder\n\""+far+"\"\n../../here/objects\n")
	here := filepath.Join(root, "here/objects")
	if _, _, err := take(t, thin, Options{Repository: here}); err == nil {
		t.Fatal("it was taken without the objects that it builds on")
	}
	write(t, filepath.Join(here, "info/alternates"), "../../near/objects\n")
	for _, loose := range []bool{true, false} {
		res, in, err := take(t, thin, Options{Repository: here})
		if err != nil {
			t.Fatal(err)
		}
		if res.Completed == 0 || res.Connected {
			t.Errorf("%+v", res)
		}
		sameIndex(t, in, res)
		if loose {
			git(t, filepath.Join(root, "far"), "", "repack", "-q", "-ad")
			continue
		}
		for _, ext := range []string{".pack", ".idx"} {
			if err := os.Rename(filepath.Join(in, res.Name+ext), filepath.Join(here, "pack", res.Name+ext)); err != nil {
				t.Fatal(err)
			}
		}
		git(t, filepath.Join(root, "here"), "", "update-ref", "refs/heads/main", newer)
		if out := git(t, filepath.Join(root, "here"), "", "fsck", "--strict", "--full"); out != "" {
			t.Error(out)
		}
	}
	if got := withAlternates(nil, here, 0); !slices.Equal(got, []string{here, filepath.Join(root, "near/objects"), far}) {
		t.Errorf("%q", got)
	}
	// As git does, not deeper than 5.
	at := t.TempDir()
	chain := []string{at}
	for range 9 {
		next := filepath.Join(at, "x")
		write(t, filepath.Join(at, "info/alternates"), "x\n")
		if err := os.MkdirAll(next, 0o755); err != nil {
			t.Fatal(err)
		}
		at = next
		chain = append(chain, at)
	}
	if got := withAlternates(nil, chain[0], 0); len(got) != 7 {
		t.Errorf("%d folders: %q", len(got), got)
	}
}

// TestConnected: a sound pack is connected, and one that leads to nothing is not taken.
func TestConnected(t *testing.T) {
	res, _, err := take(t, packObjects(t, repository(t), "", "--all"), Options{})
	if err != nil || !res.Connected {
		t.Error(res, err)
	}
}
