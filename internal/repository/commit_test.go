package repository

import (
	"os/exec"
	"strings"
	"testing"
)

// Author and subject are those that git log shows.
func TestDescribe_AsGit(t *testing.T) {
	dir := t.TempDir()
	git := func(stdin string, args ...string) string {
		t.Helper()
		c := exec.Command("git", append([]string{"-C", dir}, args...)...)
		c.Stdin = strings.NewReader(stdin)
		out, err := c.Output()
		if err != nil {
			t.Fatalf("git %v: %v", args, err)
		}
		return strings.TrimSuffix(string(out), "\n")
	}
	git("", "init", "-q", "--bare")
	head := "tree " + git("", "hash-object", "-w", "-t", "tree", "--stdin") + "\n"
	const by = "author Ada Lovelace <ada@example.org> 1700000000 +0100\ncommitter Bob <b@example.org> 1700000000 +0100\n"
	for name, text := range map[string]string{
		"Plain":      head + by + "\nAdd the engine\n\nIt computes.\n",
		"TwoLines":   head + by + "\nAdd the\n  engine \nnow\n\nIt computes.\n",
		"BlankFirst": head + by + "\n\n\nAdd the engine\n",
		"NoMessage":  head + by + "\n",
		"NoEnd":      head + by + "\nAdd the engine",
		"Signed":     head + by + "gpgsig -----BEGIN SSH SIGNATURE-----\n author Eve <e> 1 +0000\n -----END SSH SIGNATURE-----\n\nAdd the engine\n",
		"InMessage":  head + by + "\nauthor Eve <e> 1 +0000\n",
		"NoName":     head + strings.Replace(by, "Ada Lovelace ", "", 1) + "\nAdd the engine\n",
		"Angles":     head + strings.Replace(by, "Ada", "Ada <x> ", 1) + "\nAdd the engine\n",
	} {
		id := git(text, "hash-object", "-w", "-t", "commit", "--stdin", "--literally")
		author, subject := describe([]byte(text))
		if want := git("", "log", "-1", "--format=%an|%s", id); author+"|"+subject != want {
			t.Errorf("%s: %q, git says %q", name, author+"|"+subject, want)
		}
	}
}

// The attack: a commit whose message is one subject without end.
func TestAttack_LongSubject(t *testing.T) {
	if _, subject := describe([]byte("tree x\n\n" + strings.Repeat("a long subject\n", 1<<20))); len(subject) > maxSubject {
		t.Errorf("%d bytes", len(subject))
	}
}
