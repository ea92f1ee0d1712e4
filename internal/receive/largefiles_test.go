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
)

// trackLarge makes the repository keep *.bin in Git LFS.
func (fx *fixture) trackLarge(dir string) {
	fx.t.Helper()
	fx.git(dir, "lfs", "install", "--local")
	fx.git(dir, "lfs", "track", "*.bin")
	fx.git(dir, "config", "lfs.transfer.maxretries", "1")
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
	fx.t.Helper()
	dir := fx.t.TempDir()
	if err := p.Source.Checkout(context.Background(), dir, os.Getuid(), os.Getgid()); err != nil {
		fx.t.Fatal(err)
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
	fx := start(t, func(o *Options) { o.MaxLarge = 3 << 20; o.MaxLargeApp = 8 << 20 })
	dir := fx.work("large")
	fx.trackLarge(dir)
	big := randomBytes(t, 2<<20)
	fx.commit(dir, "data/big.bin", string(big))
	fx.commit(dir, "empty.bin", "")
	fx.commit(dir, "looks-like-one.txt", fx.git(dir, "cat-file", "blob", "HEAD:data/big.bin")+"\n")
	var out string
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		out = fx.checkedOut(p)
		b, err := p.Source.ReadFile("hello.txt", 100)
		if err != nil || string(b) != "hello\n" {
			t.Errorf("%q %v", b, err)
		}
		return p.Accept()
	})

	said := fx.git(dir, "push", "platform", "main")
	mustHold(t, said, "1 file from Git LFS")
	fx.live("large", fx.git(dir, "rev-parse", "HEAD"))
	mustBe(t, filepath.Join(out, "data/big.bin"), big)
	mustBe(t, filepath.Join(out, "empty.bin"), nil)
	if b, _ := os.ReadFile(filepath.Join(out, "looks-like-one.txt")); !bytes.HasPrefix(b, []byte("version https://git-lfs")) {
		t.Errorf("a file that .gitattributes does not name was replaced: %.40q", b)
	}
	fx.logged("lfs upload large: ok; 1 object, 2 MB (status 0")

	t.Run("what is live comes back", func(t *testing.T) {
		clone := filepath.Join(t.TempDir(), "clone")
		fx.git("/", "-c", "filter.lfs.smudge=git-lfs smudge -- %f", "-c", "filter.lfs.process=git-lfs filter-process", "-c", "filter.lfs.required=true",
			"clone", "-q", fx.url("large"), clone)
		mustBe(t, filepath.Join(clone, "data/big.bin"), big)
	})
	t.Run("a change sends only what changed", func(t *testing.T) {
		small := randomBytes(t, 1000)
		c := fx.commit(dir, "small.bin", string(small))
		mustHold(t, fx.git(dir, "push", "platform", "main"), "2 files from Git LFS")
		fx.live("large", c)
		mustBe(t, filepath.Join(out, "small.bin"), small)
		mustBe(t, filepath.Join(out, "data/big.bin"), big)
		fx.logged("lfs upload large: ok; 1 object, 1000 bytes")
	})
	t.Run("missing", func(t *testing.T) {
		content := randomBytes(t, 5000)
		c := fx.commit(dir, "deep/in/lost.bin", string(content))
		fx.commit(dir, "other.bin", "other content\n")
		before, _ := fx.s.Live("large")
		fx.rejected(dir, []string{`the content of "deep/in/lost.bin" (and 1 other file) is not here`, "git lfs push --all platform main", "[remote rejected]"},
			"push", "--no-verify", "platform", "main")
		fx.live("large", before)
		fx.git(dir, "lfs", "push", "--all", "platform", "main")
		fx.git(dir, "push", "--no-verify", "platform", "main")
		mustBe(t, filepath.Join(out, "deep/in/lost.bin"), content)
		fx.live("large", fx.git(dir, "rev-parse", "HEAD"))
		_ = c
	})
	t.Run("too large", func(t *testing.T) {
		fx.git(dir, "checkout", "-q", "-b", "toolarge")
		fx.commit(dir, "huge.bin", string(randomBytes(t, 4<<20)))
		fx.rejected(dir, []string{"a large file of 4 MB is more than the limit of 3 MB"}, "push", "platform", "toolarge:main")
		fx.git(dir, "checkout", "-q", "main")
	})
	t.Run("too much", func(t *testing.T) {
		fx.git(dir, "checkout", "-q", "-b", "toomuch")
		for _, name := range []string{"a.bin", "b.bin", "c.bin"} {
			fx.commit(dir, name, string(randomBytes(t, 5<<19)))
		}
		fx.rejected(dir, []string{"would be over its limit of 8 MB"}, "push", "platform", "toomuch:main")
		fx.git(dir, "checkout", "-q", "main")
		eventually(t, "no part of an upload is left", func() bool { return len(fx.largeParts("large")) == 0 })
	})
	t.Run("locks", func(t *testing.T) {
		out, err := fx.try(dir, "lfs", "lock", "--remote=platform", "small.bin")
		if err == nil {
			t.Error("locked")
		}
		t.Log(out)
	})
	t.Run("damaged on the disk", func(t *testing.T) {
		pointer := fx.git(dir, "cat-file", "blob", "HEAD:small.bin")
		_, oid, _ := strings.Cut(pointer, "sha256:")
		oid = oid[:64]
		if err := os.WriteFile(fx.bare("large")+"/lfs/objects/"+oid[:2]+"/"+oid[2:4]+"/"+oid, randomBytes(t, 1000), 0o644); err != nil {
			t.Fatal(err)
		}
		fx.h.setDeploy(func(ctx context.Context, p *Push) error {
			return p.Source.Checkout(ctx, t.TempDir(), os.Getuid(), os.Getgid())
		})
		fx.commit(dir, "hello.txt", "hello again\n")
		fx.rejected(dir, []string{`the server's copy of "small.bin" in Git LFS is damaged`, "git lfs push --all"}, "push", "platform", "main")
		fx.git(dir, "lfs", "push", "--all", "platform", "main")
		fx.git(dir, "push", "platform", "main")
	})
	t.Run("destroyed", func(t *testing.T) {
		if err := fx.s.DeleteRepository("large"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(fx.bare("large")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

// largeParts returns the files of uploads that are under way.
func (fx *fixture) largeParts(name string) []string {
	found, _ := filepath.Glob(filepath.Join(fx.bare(name), largeDir, "tmp_*"))
	return found
}

func TestLargeFilesAreRefused(t *testing.T) {
	fx := start(t, nil)
	other := fx.newKey("ci", app.Key{Name: "ci", Apps: []app.Scope{{Name: "theirs"}}})
	for _, c := range []struct {
		key, line, want string
	}{
		{fx.key, "git-lfs-authenticate large upload", "install Git LFS 3.0 or newer"},
		{fx.key, "git-lfs-transfer large", "takes the name of an app"},
		{fx.key, "git-lfs-transfer large delete", `unknown operation "delete"; use upload or download`},
		{fx.key, "git-lfs-transfer ../../x upload", "invalid app name"},
		{fx.key, "git-lfs-transfer nothere download", "there is no app nothere"},
		{other, "git-lfs-transfer large upload", "the key ci may not push large"},
		{other, "git-lfs-transfer large download", "the key ci may not read large"},
	} {
		_, errOut, status := fx.ssh(c.key, "", c.line)
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
	dir := fx.work("new")
	fx.trackLarge(dir)
	fx.commit(dir, "a.bin", "large\n")
	fx.git(dir, "lfs", "push", "--all", "platform", "main") // nothing but that
	if a, _ := fx.h.Authorize(context.Background(), app.Key{}, "new", app.VerbRead); a.ID == 0 {
		t.Error("objects are there, and nobody's")
	}
	fx.git(dir, "push", "platform", "main")
	fx.live("new", fx.git(dir, "rev-parse", "HEAD"))

	fx.h.mu.Lock() // the app is destroyed, and its repository is still there
	delete(fx.h.apps, "new")
	fx.h.mu.Unlock()
	_, errOut, status := fx.ssh(fx.key, "", "git-lfs-transfer new download")
	if status == 0 || !strings.Contains(errOut, "there is no app new") {
		t.Errorf("%d %s", status, errOut)
	}
	_, _, _ = fx.ssh(fx.key, "", "git-lfs-transfer new upload")
	if ref, err := fx.s.Live("new"); ref != "" || err != nil {
		t.Errorf("%q %v: another's repository was taken over", ref, err)
	}
	if found, _ := filepath.Glob(filepath.Join(fx.bare("new"), largeDir, "objects/*/*/*")); len(found) > 0 {
		t.Errorf("another's objects were taken over: %v", found)
	}
}
