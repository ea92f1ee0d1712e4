package command

import (
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

// The attack: a commit whose author and subject have control characters, and white space that makes them look like the columns of another release.
func TestAttack_CommitLooksLikeColumns(t *testing.T) {
	s, dev := ledger(t)
	_, err := s.Store.AddRelease(t.Context(), app.Release{App: "hello", Commit: strings.Repeat("d", 40), Key: "dev",
		Author: "Eve\x1b[2J\t  signed", Subject: "Fix\nv9       live     \u202eccccccc  " + strings.Repeat("x", 100)})
	if err != nil {
		t.Fatal(err)
	}
	status, out, errs := run(s, dev, "releases hello", "")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if status != 0 || len(lines) != 5 || !strings.Contains(lines[0], "AUTHOR") || strings.ContainsAny(out, "\x1b\t\u202e") {
		t.Fatalf("%d %q %s", status, out, errs)
	}
	at := strings.Index(lines[0], "AUTHOR")
	if got := lines[1][at:]; !strings.HasPrefix(got, "Eve signed  Fix v9 live ccccccc xxxx") || len(got) > 120 {
		t.Errorf("%q", got)
	}
	if got := lines[2][at:]; !strings.HasPrefix(got, "-") {
		t.Errorf("a release without them: %q", got)
	}
}
