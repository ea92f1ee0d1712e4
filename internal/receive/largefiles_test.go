package receive

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// trackLarge makes the repository keep *.bin in Git LFS.
func (fx *fixture) trackLarge(dir string) {
	fx.T.Helper()
	fx.Git(dir, "lfs", "install", "--local")
	fx.Git(dir, "lfs", "track", "*.bin")
	fx.Git(dir, "config", "lfs.transfer.maxretries", "1")
}

func randomBytes(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// checkedOut checks out what was pushed last.
func (fx *fixture) checkedOut(p *Push) string {
	fx.T.Helper()
	dir := fx.T.TempDir()
	if err := p.Source.Checkout(context.Background(), dir, os.Getuid(), os.Getgid()); err != nil {
		fx.T.Fatal(err)
	}
	return dir
}

func mustBe(t testing.TB, file string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes (%v), beginning with %q; it must have %d", file, len(got), err, got[:min(len(got), 40)], len(want))
	}
}

func TestLargeFiles(t *testing.T) {
	fx := start(t, func(o *options) { o.repo.Limits.Large = 3 << 20; o.repo.Limits.LargeApp = 8 << 20 })
	dir := fx.Work("large")
	fx.trackLarge(dir)
	big := randomBytes(t, 2<<20)
	fx.Commit(dir, "data/big.bin", string(big))
	fx.Commit(dir, "empty.bin", "")
	fx.Commit(dir, "looks-like-one.txt", fx.Git(dir, "cat-file", "blob", "HEAD:data/big.bin")+"\n")
	var out string
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		out = fx.checkedOut(p)
		b, err := p.Source.ReadFile("hello.txt", 100)
		if err != nil || string(b) != "hello\n" {
			t.Errorf("%q %v", b, err)
		}
		return p.Accept()
	})

	said := fx.Git(dir, "push", "platform", "main")
	gittest.MustHold(t, said, "1 file from Git LFS")
	fx.live("large", fx.Git(dir, "rev-parse", "HEAD"))
	mustBe(t, filepath.Join(out, "data/big.bin"), big)
	mustBe(t, filepath.Join(out, "empty.bin"), nil)
	if b, _ := os.ReadFile(filepath.Join(out, "looks-like-one.txt")); !bytes.HasPrefix(b, []byte("version https://git-lfs")) {
		t.Errorf("a file that .gitattributes does not name was replaced: %.40q", b)
	}
	fx.Logged("lfs upload large: ok; 1 object, 2 MiB (status 0")

	t.Run("what is live comes back", func(t *testing.T) {
		clone := filepath.Join(t.TempDir(), "clone")
		fx.Git("/", "-c", "filter.lfs.smudge=git-lfs smudge -- %f", "-c", "filter.lfs.process=git-lfs filter-process", "-c", "filter.lfs.required=true",
			"clone", "-q", fx.URL("large"), clone)
		mustBe(t, filepath.Join(clone, "data/big.bin"), big)
	})
	t.Run("a change sends only what changed", func(t *testing.T) {
		small := randomBytes(t, 1000)
		c := fx.Commit(dir, "small.bin", string(small))
		gittest.MustHold(t, fx.Git(dir, "push", "platform", "main"), "2 files from Git LFS")
		fx.live("large", c)
		mustBe(t, filepath.Join(out, "small.bin"), small)
		mustBe(t, filepath.Join(out, "data/big.bin"), big)
		fx.Logged("lfs upload large: ok; 1 object, 1000 bytes")
	})
	t.Run("missing", func(t *testing.T) {
		content := randomBytes(t, 5000)
		c := fx.Commit(dir, "deep/in/lost.bin", string(content))
		fx.Commit(dir, "other.bin", "other content\n")
		before, _ := fx.repos.Live(app.App{Name: "large"})
		fx.Rejected(dir, []string{`the content of "deep/in/lost.bin" (and 1 other file) is not here`, "git lfs push --all platform main", "[remote rejected]"},
			"push", "--no-verify", "platform", "main")
		fx.live("large", before)
		fx.Git(dir, "lfs", "push", "--all", "platform", "main")
		fx.Git(dir, "push", "--no-verify", "platform", "main")
		mustBe(t, filepath.Join(out, "deep/in/lost.bin"), content)
		fx.live("large", fx.Git(dir, "rev-parse", "HEAD"))
		_ = c
	})
	t.Run("too large", func(t *testing.T) {
		fx.Git(dir, "checkout", "-q", "-b", "toolarge")
		fx.Commit(dir, "huge.bin", string(randomBytes(t, 4<<20)))
		fx.Rejected(dir, []string{"a large file of 4 MiB is more than the limit of 3 MiB"}, "push", "platform", "toolarge:main")
		fx.Git(dir, "checkout", "-q", "main")
	})
	t.Run("too much", func(t *testing.T) {
		fx.Git(dir, "checkout", "-q", "-b", "toomuch")
		for _, name := range []string{"a.bin", "b.bin", "c.bin"} {
			fx.Commit(dir, name, string(randomBytes(t, 5<<19)))
		}
		fx.Rejected(dir, []string{"would be over its limit of 8 MiB"}, "push", "platform", "toomuch:main")
		fx.Git(dir, "checkout", "-q", "main")
		gittest.Eventually(t, "no part of an upload is left", func() bool { return len(fx.largeParts("large")) == 0 })
	})
	t.Run("locks", func(t *testing.T) {
		out, err := fx.Try(dir, "lfs", "lock", "--remote=platform", "small.bin")
		if err == nil {
			t.Error("locked")
		}
		t.Log(out)
	})
	t.Run("damaged on the disk", func(t *testing.T) {
		pointer := fx.Git(dir, "cat-file", "blob", "HEAD:small.bin")
		_, oid, _ := strings.Cut(pointer, "sha256:")
		oid = oid[:64]
		if err := os.WriteFile(fx.bare("large")+"/lfs/objects/"+oid[:2]+"/"+oid[2:4]+"/"+oid, randomBytes(t, 1000), 0o644); err != nil {
			t.Fatal(err)
		}
		fx.h.setDeploy(func(ctx context.Context, p *Push) error {
			return p.Source.Checkout(ctx, t.TempDir(), os.Getuid(), os.Getgid())
		})
		fx.Commit(dir, "hello.txt", "hello again\n")
		fx.Rejected(dir, []string{`the server's copy of "small.bin" in Git LFS is damaged`, "git lfs push --all"}, "push", "platform", "main")
		fx.Git(dir, "lfs", "push", "--all", "platform", "main")
		fx.Git(dir, "push", "platform", "main")
	})
	t.Run("destroyed", func(t *testing.T) {
		if err := fx.repos.Delete("large"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(fx.bare("large")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

// largeParts returns the files of uploads that are under way.
func (fx *fixture) largeParts(name string) []string {
	found, _ := filepath.Glob(filepath.Join(fx.bare(name), "lfs", "tmp_*"))
	return found
}

func TestLargeFilesAreRefused(t *testing.T) {
	fx := start(t, nil)
	other := fx.newKey("ci", app.Key{Name: "ci", Apps: []app.Scope{{Name: "theirs"}}})
	for _, c := range []struct {
		key, line, want string
	}{
		{fx.Key, "git-lfs-authenticate large upload", "install Git LFS 3.0 or newer"},
		{fx.Key, "git-lfs-transfer large", "takes the name of an app"},
		{fx.Key, "git-lfs-transfer large delete", `unknown operation "delete"; use upload or download`},
		{fx.Key, "git-lfs-transfer ../../x upload", "invalid app name"},
		{fx.Key, "git-lfs-transfer nothere download", "app nothere does not exist"},
		{other, "git-lfs-transfer large upload", "the key ci may not push large"},
		{other, "git-lfs-transfer large download", "the key ci may not read large"},
	} {
		_, errOut, status := fx.SSH(c.key, "", c.line)
		if status == 0 || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: status %d, %q; it must say %q", c.line, status, errOut, c.want)
		}
	}
	if _, err := os.Stat(fx.bare("large")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("who may not push has made a repository")
	}
	if a, _ := fx.h.Authorize(context.Background(), app.Key{}, "large", app.VerbRead); a.ID != 0 {
		t.Error("who may not push has made an app")
	}
}

func TestLargeFilesBelongToAnApp(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("new")
	fx.trackLarge(dir)
	fx.Commit(dir, "a.bin", "large\n")
	fx.Git(dir, "lfs", "push", "--all", "platform", "main") // nothing but that
	if a, _ := fx.h.Authorize(context.Background(), app.Key{}, "new", app.VerbRead); a.ID == 0 {
		t.Error("objects are there, and no app")
	}
	fx.Git(dir, "push", "platform", "main")
	fx.live("new", fx.Git(dir, "rev-parse", "HEAD"))

	fx.h.mu.Lock() // the app is destroyed, and its repository is still there
	delete(fx.h.apps, "new")
	fx.h.mu.Unlock()
	_, errOut, status := fx.SSH(fx.Key, "", "git-lfs-transfer new download")
	if status == 0 || !strings.Contains(errOut, "app new does not exist") {
		t.Errorf("%d %s", status, errOut)
	}
	_, _, _ = fx.SSH(fx.Key, "", "git-lfs-transfer new upload")
	if ref, err := fx.repos.Live(app.App{Name: "new"}); ref != "" || err != nil {
		t.Errorf("%q %v: another's repository was taken over", ref, err)
	}
	if found, _ := filepath.Glob(filepath.Join(fx.bare("new"), "lfs", "objects/*/*/*")); len(found) > 0 {
		t.Errorf("another's objects were taken over: %v", found)
	}
}
