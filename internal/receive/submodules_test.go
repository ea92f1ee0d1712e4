package receive

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// A submodule may be at an address of IPv6.
func TestSubmoduleAtIPv6(t *testing.T) {
	fx := start(t, func(o *options) { o.repo.ModulesFrom = []netip.Prefix{netip.MustParsePrefix("::1/128")} })
	root := t.TempDir()
	inner := fx.Library(root, "inner")
	url := gittest.ServeHTTPS(t, "[::1]:0", root, nil)
	dir := fx.Work("six")
	fx.Embed(dir, "inner", url+"/inner", fx.Git(inner, "rev-parse", "HEAD"))
	fx.Git(dir, "push", "platform", "main")
	fx.live("six", fx.Git(dir, "rev-parse", "HEAD"))
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func TestSubmodulesOverHTTPS(t *testing.T) {
	root := t.TempDir()
	var requests atomic.Int32
	url := gittest.ServeHTTPS(t, "127.0.0.1:0", root, func(w http.ResponseWriter, r *http.Request) bool {
		requests.Add(1)
		switch {
		case strings.HasPrefix(r.URL.Path, "/moved"):
			http.Redirect(w, r, strings.Replace(r.URL.String(), "/moved", "/inner", 1), http.StatusMovedPermanently)
			return true
		case strings.HasPrefix(r.URL.Path, "/private"):
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		case strings.HasPrefix(r.URL.Path, "/slow"):
			<-r.Context().Done()
			return true
		}
		return false
	})
	fx := start(t, func(o *options) { o.repo.ModulesFrom = loopback; o.repo.Limits.Modules = 5 })
	inner := fx.Library(root, "inner")
	outer := fx.Library(root, "outer")
	fx.Embed(outer, "deps/inner", "../inner", fx.Git(inner, "rev-parse", "HEAD"))
	if err := os.Symlink("../inner-of-app", filepath.Join(outer, "up")); err != nil {
		t.Fatal(err)
	}
	fx.Commit(outer, "bin/run", "x")
	var out string
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		out = fx.checkedOut(p)
		return p.Accept()
	})
	dir := fx.Work("modules")
	fx.Embed(dir, "lib/outer", url+"/outer", fx.Git(outer, "rev-parse", "HEAD"))
	good := fx.Git(dir, "rev-parse", "HEAD")

	said := fx.Git(dir, "push", "platform", "main")
	gittest.MustHold(t, said, "Fetching submodule "+url+"/outer", "Fetching submodule "+url+"/inner")
	fx.live("modules", good)
	mustBe(t, filepath.Join(out, "hello.txt"), []byte("hello\n"))
	mustBe(t, filepath.Join(out, "lib/outer/outer.txt"), []byte("this is outer\n"))
	mustBe(t, filepath.Join(out, "lib/outer/deps/inner/inner.txt"), []byte("this is inner\n"))
	if target, err := os.Readlink(filepath.Join(out, "lib/outer/up")); target != "../inner-of-app" {
		t.Error(target, err)
	}

	t.Run("what is here is not fetched again", func(t *testing.T) {
		before := requests.Load()
		fx.Commit(dir, "hello.txt", "hello again\n")
		if out := fx.Git(dir, "push", "platform", "main"); strings.Contains(out, "Fetching") || requests.Load() != before {
			t.Errorf("fetched again:\n%s", out)
		}
	})
	t.Run("a newer commit", func(t *testing.T) {
		c := fx.Commit(outer, "outer.txt", "a newer outer\n")
		fx.Git(dir, "update-index", "--cacheinfo", "160000,"+c+",lib/outer")
		fx.Git(dir, "commit", "-qm", "newer")
		gittest.MustHold(t, fx.Git(dir, "push", "platform", "main"), "Fetching submodule "+url+"/outer")
		mustBe(t, filepath.Join(out, "lib/outer/outer.txt"), []byte("a newer outer\n"))
	})
	good = fx.Git(dir, "rev-parse", "HEAD")

	innerCommit := fx.Git(inner, "rev-parse", "HEAD")
	for _, c := range []struct {
		name, url, commit string
		want              []string
	}{
		{"no such commit", url + "/inner", strings.Repeat("12", 20), []string{"has no commit 121212121212", "git push --recurse-submodules=on-demand"}},
		{"no such repository", url + "/nothere", innerCommit, []string{"/nothere cannot be fetched: ", "see whether you can: git fetch"}},
		{"redirection", url + "/moved", innerCommit, []string{"is a redirection, which is not followed"}},
		{"login", url + "/private", innerCommit, []string{"cannot be read without a login", "deploy-key modules"}},
		{"password is not shown", strings.Replace(url, "://", "://me:s3cret@", 1) + "/private", innerCommit, []string{"cannot be read without a login"}},
		{"relative", "../inner", innerCommit, []string{"its URL is relative, and a push does not say to what", "name it by https://"}},
		{"file", "file://" + inner, innerCommit, []string{"begins with file://, which gitd does not fetch from"}},
		{"path", inner, innerCommit, []string{"is a path"}},
		{"ext", "ext::true", innerCommit, []string{"is a path"}},
		{"no host", "https://no-such-host.invalid/x", innerCommit, []string{"no-such-host.invalid"}},
		{"this machine", "https://[::1]/x", innerCommit, []string{"host ::1 resolves to ::1, which the server may not connect to"}},
		{"metadata", "https://169.254.169.254/latest", innerCommit, []string{"which the server may not connect to"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fx.Embed(dir, "bad", c.url, c.commit)
			out := fx.Rejected(dir, append(c.want, `submodule "bad": `), "push", "platform", "main")
			if strings.Contains(out, "s3cret") {
				t.Errorf("the password is shown:\n%s", out)
			}
			fx.live("modules", good)
			fx.noModuleLeft("modules")
			fx.Git(dir, "reset", "-q", "--hard", good)
		})
	}
	t.Run("not in .gitmodules", func(t *testing.T) {
		fx.Git(dir, "update-index", "--add", "--cacheinfo", "160000,"+innerCommit+",nowhere")
		fx.Git(dir, "commit", "-qm", "x")
		fx.Rejected(dir, []string{`submodule "nowhere": .gitmodules does not say where it comes from`, "git submodule add"}, "push", "platform", "main")
		fx.Git(dir, "reset", "-q", "--hard", good)
	})
	t.Run("too many", func(t *testing.T) {
		for i := range 5 {
			fx.Embed(dir, fmt.Sprintf("m%d", i), url+"/inner", innerCommit)
		}
		fx.Rejected(dir, []string{"there are more than 5 submodules"}, "push", "platform", "main")
		fx.Git(dir, "reset", "-q", "--hard", good)
	})
	t.Run("too deep", func(t *testing.T) {
		c := fx.Git(inner, "rev-parse", "HEAD")
		for i := range 5 { // each commit has the one before as a submodule
			fx.Embed(inner, "self", url+"/inner", c)
			c = fx.Git(inner, "rev-parse", "HEAD")
			_ = i
		}
		fx.Embed(dir, "deep", url+"/inner", c)
		fx.Rejected(dir, []string{"submodules are nested more than 4 deep"}, "push", "platform", "main")
		fx.Git(dir, "reset", "-q", "--hard", good)
	})
	t.Run("symlink out of the app", func(t *testing.T) {
		evil := fx.Library(root, "evil")
		if err := os.Symlink("../../etc/passwd", filepath.Join(evil, "link")); err != nil {
			t.Fatal(err)
		}
		fx.Embed(dir, "evil", url+"/evil", fx.Commit(evil, "x", "x"))
		fx.Rejected(dir, []string{`the symlink "evil/link" points outside of the app`}, "push", "platform", "main")
		fx.Git(dir, "reset", "-q", "--hard", good)
	})
	t.Run("the client goes", func(t *testing.T) {
		fx.Embed(dir, "slow", url+"/slow", innerCommit)
		git := fx.Cmd(dir, "git", "push", "platform", "main")
		if err := git.Start(); err != nil {
			t.Fatal(err)
		}
		defer gittest.KillGroup(git)
		gittest.Eventually(t, "git fetches", func() bool {
			return strings.Contains(strings.Join(gittest.Children(fx.bare("modules")), "\n"), "remote-https")
		})
		gittest.KillGroup(git)
		gittest.Eventually(t, "no git process is left", func() bool { return len(gittest.Children(fx.bare("modules"))) == 0 })
		fx.live("modules", good)
		fx.noModuleLeft("modules")
		fx.Git(dir, "reset", "-q", "--hard", good)
	})
	t.Run("what is not needed any more goes", func(t *testing.T) {
		fx.Git(dir, "rm", "-q", "-f", "--cached", "lib/outer")
		fx.Git(dir, "commit", "-qm", "without")
		fx.Git(dir, "push", "platform", "main")
		if found, _ := os.ReadDir(filepath.Join(fx.bare("modules"), "submodules")); len(found) > 0 {
			t.Errorf("%d folders are left", len(found))
		}
	})
}

// noModuleLeft checks that a fetch has left nothing half done.
func (fx *fixture) noModuleLeft(name string) {
	fx.T.Helper()
	gittest.Eventually(fx.T, "nothing half done is left", func() bool {
		for _, pattern := range []string{".new-*", "*/*.lock", "*/objects/pack/tmp_*", "*/objects/pack/.tmp*", "*/refs/commits/*.lock"} {
			if found, _ := filepath.Glob(filepath.Join(fx.bare(name), "submodules", pattern)); len(found) > 0 {
				return false
			}
		}
		return true
	})
	dirs, _ := filepath.Glob(filepath.Join(fx.bare(name), "submodules", "*"))
	for _, dir := range dirs {
		if out, err := fx.Try("/", "--git-dir="+dir, "fsck", "--strict"); err != nil {
			fx.T.Errorf("fsck of %s: %v\n%s", dir, err, out)
		}
	}
}

func TestSubmoduleLimits(t *testing.T) {
	root := t.TempDir()
	url := gittest.ServeHTTPS(t, "127.0.0.1:0", root, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/slow") {
			<-r.Context().Done()
			return true
		}
		return false
	})
	fx := start(t, func(o *options) {
		o.repo.ModulesFrom = loopback
		o.repo.Limits.Pack = 1 << 20
		o.repo.Limits.ModulesTime = 2 * time.Second
	})
	big := fx.Library(root, "big")
	c := fx.Commit(big, "big", string(randomBytes(t, 2<<20)))
	dir := fx.Work("limits")
	first := fx.Git(dir, "rev-parse", "HEAD")
	fx.Embed(dir, "big", url+"/big", c)
	fx.Rejected(dir, []string{"is too large: more than 1 MiB"}, "push", "platform", "main")
	fx.noModuleLeft("limits")
	fx.Git(dir, "reset", "-q", "--hard", first)
	fx.Embed(dir, "slow", url+"/slow", c)
	fx.Rejected(dir, []string{"fetching the submodules took longer than 2s"}, "push", "platform", "main")
	gittest.Eventually(t, "no git process is left", func() bool { return len(gittest.Children(fx.bare("limits"))) == 0 })
	fx.live("limits", "")
	fx.noModuleLeft("limits")
}

func TestSubmodulesOfPushesThatFail(t *testing.T) {
	root := t.TempDir()
	url := gittest.ServeHTTPS(t, "127.0.0.1:0", root, nil)
	fx := start(t, func(o *options) { o.repo.ModulesFrom = loopback })
	folders := func(want int) {
		t.Helper()
		gittest.Eventually(t, fmt.Sprintf("%d folders", want), func() bool {
			found, _ := os.ReadDir(filepath.Join(fx.bare("fails"), "submodules"))
			return len(found) == want
		})
	}
	one, two := fx.Library(root, "one"), fx.Library(root, "two")
	dir := fx.Work("fails")
	fx.Embed(dir, "one", url+"/one", fx.Git(one, "rev-parse", "HEAD"))
	fx.h.setDeploy(func(context.Context, *Push) error { return app.Errorf(app.CodeInvalidInput, "", "it does not build") })
	fx.Rejected(dir, []string{"Fetching", "it does not build"}, "push", "platform", "main")
	folders(0)
	fx.h.setDeploy(nil)
	fx.Git(dir, "push", "platform", "main")
	folders(1)
	fx.h.setDeploy(func(context.Context, *Push) error { return app.Errorf(app.CodeInvalidInput, "", "it does not build") })
	fx.Embed(dir, "two", url+"/two", fx.Git(two, "rev-parse", "HEAD"))
	fx.Embed(dir, "older", url+"/one", fx.Commit(one, "x", "x")) // the same folder, again
	fx.Rejected(dir, []string{"it does not build"}, "push", "platform", "main")
	folders(1)
	fx.h.setDeploy(nil)
	fx.Git(dir, "push", "platform", "main")
	folders(2)
	fx.noModuleLeft("fails")

	full := start(t, func(o *options) { o.repo.ModulesFrom, o.repo.Limits.Pack = loopback, 1<<60 })
	dir = full.Work("fails")
	full.Embed(dir, "older", url+"/one", full.Commit(one, "z", "z"))
	full.Rejected(dir, []string{`submodule "older": the server's disk is nearly full`, "needed for fetching a submodule"}, "push", "platform", "main")
}

func TestModulesFileBomb(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("bomb")
	fx.Git(dir, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("12", 20)+",sub")
	name := "[submodule \"" + strings.Repeat("x", 40<<10) + "\"]\n"
	for _, c := range []struct{ text, want string }{
		{name + strings.Repeat("a\n", 10_000), ".gitmodules does not say where it comes from"}, // git would say 400 MB about it
		{name + strings.Repeat("url\n", 5_000), ".gitmodules does not say where it comes from"},
		{strings.Repeat("#", 65<<10), `".gitmodules" is larger than 64 KiB`},
	} {
		if err := os.WriteFile(filepath.Join(dir, ".gitmodules"), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		fx.Git(dir, "add", ".gitmodules")
		fx.Git(dir, "commit", "-qm", "bomb")
		fx.Rejected(dir, []string{c.want}, "push", "platform", "main")
	}
	gittest.Eventually(t, "no git process is left", func() bool { return len(gittest.Children(fx.bare("bomb"))) == 0 })
}
