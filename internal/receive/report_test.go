package receive

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gitd-io/gitd/internal/gittest"
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/repository"
)

func TestReport(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("report")
	head := fx.Git(dir, "rev-parse", "HEAD")

	t.Run("git", func(t *testing.T) { // which asks for the second form alone
		c := fx.Cmd(dir, "git", "push", "platform", "main", "HEAD:refs/tags/t")
		c.Env = append(c.Env, "GIT_TRACE_PACKET=1")
		out, _ := c.CombinedOutput()
		gittest.MustHold(t, string(out), "report-status report-status-v2 delete-refs", "push> "+repository.ZeroID+" "+head+" refs/heads/main\\0 report-status-v2 ",
			"< unpack ok", "< ok refs/heads/main", "< ng refs/tags/t tags are not deployed", "* [new branch]      main -> main", "! [remote rejected] HEAD -> t")
		if strings.Contains(string(out), "< option ") {
			t.Errorf("an option where nothing differs:\n%s", out)
		}
		fx.live("report", head)
	})
	for capabilities, want := range map[string]string{
		"report-status":                     packets("unpack ok\n", "ok refs/heads/main\n"),
		"report-status-v2":                  packets("unpack ok\n", "ok refs/heads/main\n"),
		"report-status report-status-v2":    packets("unpack ok\n", "ok refs/heads/main\n"),
		"report-status quiet agent=old/1.0": packets("unpack ok\n", "ok refs/heads/main\n"),
	} {
		t.Run(capabilities, func(t *testing.T) {
			pack, commit := packOf(blobTree(), nil, [][]byte{[]byte("x")})
			if got := fx.sendAs(capabilities, "by-hand", commit, pack); !strings.HasSuffix(got, "0000"+want) { // what comes before is the advertisement
				t.Errorf("%q", got)
			}
			_, commit = packOf(blobTree(), nil, nil)
			if got := fx.sendAs(capabilities, "by-hand-broken", commit, []byte("PACK\x00\x00\x00\x02\x00\x00\x00\x03abc")); !strings.Contains(got, "ng refs/heads/main ") {
				t.Errorf("%q", got)
			}
			if err := fx.repos.Delete("by-hand"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func packets(lines ...string) string {
	var b []byte
	for _, l := range lines {
		b = pktline.Append(b, l)
	}
	return string(b) + "0000"
}

// blobTree is a tree with one file, "x".
func blobTree() []byte { return append([]byte("100644 x\x00"), id("blob", []byte("x"))...) }

// TestReportOfARefThatMovedMeanwhile has another push go live while a pack is on its way.
func TestReportOfARefThatMovedMeanwhile(t *testing.T) {
	between := &interposed{}
	fx := start(t, func(o *options) { o.repo.Indexer = between })
	dir := fx.Work("moved")
	fx.Git(dir, "push", "platform", "main")
	for _, tt := range []struct {
		name  string
		mine  string // what this push's commit stands on
		words []string
	}{
		{"beside", "HEAD", []string{"< option old-oid ", "< option forced-update", "(forced update)"}},
		{"on top", "other", []string{"< option old-oid "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := filepath.Join(t.TempDir(), "other")
			fx.Git("/", "clone", "-q", dir, other)
			theirs := fx.Commit(other, "theirs", tt.name)
			if tt.mine == "other" {
				fx.Git(dir, "pull", "-q", other, "main")
			}
			mine := fx.Commit(dir, "mine", tt.name)
			before := fx.Git(dir, "rev-parse", "platform/main")
			f := func() { fx.Git(other, "push", fx.URL("moved"), "main") }
			between.do.Store(&f)
			c := fx.Cmd(dir, "git", "push", "platform", "main")
			c.Env = append(c.Env, "GIT_TRACE_PACKET=1")
			b, err := c.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, b)
			}
			gittest.MustHold(t, string(b), append(tt.words, theirs[:7]+"..", ".."+mine[:7])...)
			if tt.mine == "other" && (strings.Contains(string(b), "forced") || strings.Contains(string(b), before[:7]+"..")) {
				t.Errorf("%s", b)
			}
			fx.live("moved", mine)
			if got := fx.Git(dir, "rev-parse", "platform/main"); got != mine {
				t.Errorf("the tracking branch is at %s", got)
			}
		})
	}
}

// interposed runs do once, before it takes in a pack.
type interposed struct {
	do atomic.Pointer[func()]
}

func (i *interposed) Index(ctx context.Context, r io.Reader, to repository.PackTarget, limits repository.PackLimits, progress repository.Progress) (repository.PackStats, error) {
	if do := i.do.Swap(nil); do != nil {
		(*do)()
	}
	return repository.NewGitIndexer().Index(ctx, r, to, limits, progress)
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1.0k", 9999: "9.9k", 10000: "10k", 542999: "542k", 2000000: "2000k"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
