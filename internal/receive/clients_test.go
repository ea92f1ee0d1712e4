package receive

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
	"github.com/gitd-io/gitd/internal/repository"
)

// The clients of these tests are real. What is not on the machine is fetched once, into the user's cache directory:
// the newest git there is, into a folder that it runs in by chroot, and Python's clients into a virtual environment.

// clientsDir returns a folder of the cache, which is filled by fill when it is first needed.
func clientsDir(t testing.TB, name string, fill func(dir string) error) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "gitd", "test-clients", name)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".complete")); err == nil {
		return dir
	}
	_ = os.RemoveAll(dir)
	if err := fill(dir); err != nil {
		t.Fatalf("%s could not be fetched: %v", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".complete"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func quietly(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// newestRoot returns a folder to run Debian unstable's git and ssh in, by chroot.
func newestRoot(t testing.TB) string {
	return clientsDir(t, "git-newest-"+runtime.GOARCH, func(dir string) error {
		err := quietly("mmdebstrap", "--variant=extract", "--include=git,openssh-client,dash", `--aptopt=APT::Install-Recommends "false"`,
			`--aptopt=Acquire::Check-Valid-Until "false"`, "sid", dir)
		if err != nil {
			return err
		}
		for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
			if err := os.Symlink("usr/"+link, filepath.Join(dir, link)); err != nil && !os.IsExist(err) {
				return err
			}
		}
		if err := os.Symlink("dash", filepath.Join(dir, "usr/bin/sh")); err != nil && !os.IsExist(err) {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("root:x:0:0:root:/:/bin/sh\n"), 0o644)
	})
}

// python returns a Python that has dulwich and pygit2.
func python(t testing.TB) string {
	dir := clientsDir(t, "python-1", func(dir string) error {
		if err := quietly("python3", "-m", "venv", dir); err != nil {
			return fmt.Errorf("%w\ninstall it: apt-get install python3-venv", err)
		}
		return quietly(filepath.Join(dir, "bin/pip"), "install", "--disable-pip-version-check", "--only-binary", ":all:", "dulwich==1.2.21", "pygit2==1.21.0")
	})
	return filepath.Join(dir, "bin/python")
}

// gitClient is one git, and where it sees files.
type gitClient struct {
	fx   *fixture
	root string // it is confined to this folder; "" for the machine's own
	home string // as it sees it: keys and repositories
}

func machineGit(t *testing.T, fx *fixture) *gitClient { return &gitClient{fx: fx, home: t.TempDir()} }

func newestGit(t *testing.T, fx *fixture) *gitClient {
	t.Helper()
	root := newestRoot(t)
	inside, err := os.MkdirTemp(filepath.Join(root, "tmp"), "home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(inside) })
	for _, f := range []string{"laptop", "laptop.pub", "known_hosts"} {
		b, err := os.ReadFile(filepath.Join(fx.Home, f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(inside, f), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &gitClient{fx: fx, root: root, home: strings.TrimPrefix(inside, root)}
}

func (c *gitClient) try(dir string, args ...string) (string, error) {
	cmd := c.fx.Cmd(dir, "git", args...)
	if c.root != "" {
		cmd = exec.Command("/usr/bin/git", args...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Chroot: c.root}
		for _, v := range c.fx.Env(c.fx.Key) {
			v = strings.NewReplacer(c.fx.Home, c.home, c.fx.Tmp, c.home).Replace(v)
			if strings.HasPrefix(v, "PATH=") {
				v = "PATH=/usr/bin"
			}
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (c *gitClient) git(dir string, args ...string) string {
	c.fx.T.Helper()
	out, err := c.try(dir, args...)
	if err != nil {
		c.fx.T.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *gitClient) rejected(dir string, words []string, args ...string) {
	c.fx.T.Helper()
	out, err := c.try(dir, args...)
	if err == nil {
		c.fx.T.Errorf("git %s went well\n%s", strings.Join(args, " "), out)
	}
	gittest.MustHold(c.fx.T, out, words...)
}

// commit changes a file; dir is as the client sees it.
func (c *gitClient) commit(dir, file, text string) string {
	c.fx.T.Helper()
	if err := os.WriteFile(filepath.Join(c.root, dir, file), []byte(text), 0o644); err != nil {
		c.fx.T.Fatal(err)
	}
	c.git(dir, "add", "-A")
	c.git(dir, "commit", "-qm", "change "+file)
	return c.git(dir, "rev-parse", "HEAD")
}

// work makes a repository with a few commits.
func (c *gitClient) work(name string) string {
	c.fx.T.Helper()
	dir := filepath.Join(c.home, name)
	c.git("/", "init", "-q", dir)
	c.git(dir, "remote", "add", "platform", c.fx.URL(name))
	for i := range 5 {
		c.commit(dir, "lines", strings.Repeat(fmt.Sprintf("line of commit %d\n", i), 200))
	}
	return dir
}

// protocolRows are what is done with every git.
var protocolRows = []struct {
	name string
	run  func(t *testing.T, c *gitClient, app string)
}{
	{"first, unchanged, thin, forced", func(t *testing.T, c *gitClient, app string) {
		dir := c.work(app)
		gittest.MustHold(t, c.git(dir, "push", "platform", "main"), "* [new branch]")
		gittest.MustHold(t, c.git(dir, "push", "platform", "main"), "Everything up-to-date")
		next := c.commit(dir, "lines", strings.Repeat("line of commit 4\n", 200)+"more\n")
		c.git(dir, "push", "--thin", "platform", "main")
		c.fx.live(app, next)
		c.git(dir, "commit", "-q", "--amend", "-m", "other words")
		c.rejected(dir, []string{"[rejected]"}, "push", "platform", "main")
		gittest.MustHold(t, c.git(dir, "push", "-f", "platform", "main"), "(forced update)")
		c.fx.live(app, c.git(dir, "rev-parse", "HEAD"))
	}},
	{"protocol versions", func(t *testing.T, c *gitClient, app string) {
		dir := c.work(app)
		for _, v := range []string{"0", "1", "2"} {
			next := c.commit(dir, "v", v)
			c.git(dir, "-c", "protocol.version="+v, "push", "platform", "main")
			c.fx.live(app, next)
			gittest.MustHold(t, c.git(dir, "-c", "protocol.version="+v, "ls-remote", "platform"), next+"\trefs/heads/main")
		}
	}},
	{"deletes, tags, other branches, many refs, atomic", func(t *testing.T, c *gitClient, app string) {
		dir := c.work(app)
		c.git(dir, "push", "platform", "main")
		c.git(dir, "tag", "v1")
		c.git(dir, "branch", "topic")
		live := c.git(dir, "rev-parse", "HEAD")
		c.rejected(dir, []string{"[remote rejected] main", "is live and cannot be deleted"}, "push", "platform", ":main")
		c.rejected(dir, []string{"[remote rejected] v1 -> v1", "tags are not deployed"}, "push", "platform", "v1")
		c.git(dir, "push", "platform", "topic")
		c.git(dir, "push", "platform", "--delete", "topic")
		c.rejected(dir, []string{"topic"}, "push", "platform", ":topic")
		next := c.commit(dir, "a", "a")
		c.rejected(dir, []string{"atomic push"}, "push", "--atomic", "platform", "main", "v1")
		c.fx.live(app, live)
		c.rejected(dir, []string{"[remote rejected] v1 -> v1", "main -> main"}, "push", "platform", "main", "v1", "topic")
		c.fx.live(app, next)
	}},
	{"push options, quiet", func(t *testing.T, c *gitClient, app string) {
		dir := c.work(app)
		c.rejected(dir, []string{`unknown push option "fast"`, "the push options are: "}, "push", "-o", "fast", "platform", "main")
		c.git(dir, "push", "-q", "-o", "message=hello there", "-o", "clear-cache", "platform", "main")
		if o := c.fx.h.last(); o.Message != "hello there" || !o.ClearCache {
			t.Errorf("%+v", o)
		}
		c.fx.live(app, c.git(dir, "rev-parse", "HEAD"))
	}},
	{"no traffic, dry run, detached", func(t *testing.T, c *gitClient, name string) {
		dir := c.work(name)
		c.git(dir, "push", "platform", "main")
		live := c.git(dir, "rev-parse", "HEAD")
		dryRun := app.Errorf(app.CodeDryRun, "push without it", "dry run: the build works")
		c.fx.h.setDeploy(func(_ context.Context, p *Push) error {
			p.Version = 7
			if p.Mode == app.ModeDryRun {
				return dryRun
			}
			return p.Accept()
		})
		defer c.fx.h.setDeploy(nil)
		next := c.commit(dir, "next", "next")
		gittest.MustHold(t, c.git(dir, "push", "-o", "no-traffic", "platform", "main"), "[new reference]", "main -> refs/releases/v7")
		c.fx.live(name, live) // the branch is what is live, for the client as well
		if got := c.git(dir, "rev-parse", "platform/main"); got != live {
			t.Errorf("the client takes main for %s, not %s", got, live)
		}
		c.rejected(dir, []string{"[remote rejected] main -> main (dry run: the build works)"}, "push", "-o", "dry-run", "platform", "main")
		c.fx.live(name, live)
		if out := c.git(dir, "push", "-o", "detach", "platform", "main"); !strings.Contains(out, "Detached: ") {
			t.Error(out)
		}
		c.fx.live(name, next)
	}},
	{"shallow, then deepened", func(t *testing.T, c *gitClient, app string) {
		full := c.work(app + "-full")
		dir := filepath.Join(c.home, app)
		c.git("/", "clone", "-q", "--depth=1", "file://"+full, dir)
		c.git(dir, "push", c.fx.URL(app), "main")
		c.fx.live(app, c.git(dir, "rev-parse", "HEAD"))
		next := c.commit(dir, "b", "b")
		c.git(dir, "push", c.fx.URL(app), "main")
		c.fx.live(app, next)
		c.git(dir, "fetch", "-q", "--deepen=2", "origin", "main")
		next = c.commit(dir, "c", "c")
		c.git(dir, "push", c.fx.URL(app), "main")
		c.fx.live(app, next)
		c.git(dir, "fetch", "-q", "--unshallow", "origin", "main")
		next = c.commit(dir, "d", "d")
		c.git(dir, "push", c.fx.URL(app), "main")
		c.fx.live(app, next)
	}},
	{"signed", func(t *testing.T, c *gitClient, app string) {
		dir := c.work(app)
		c.git(dir, "config", "gpg.format", "ssh")
		c.git(dir, "config", "user.signingKey", filepath.Join(c.keys(), "laptop"))
		gittest.MustHold(t, c.git(dir, "push", "--signed", "platform", "main"), "signed by laptop SHA256:")
		c.fx.live(app, c.git(dir, "rev-parse", "HEAD"))
	}},
	{"refused by the deployment", func(t *testing.T, c *gitClient, name string) {
		dir := c.work(name)
		c.fx.h.setDeploy(func(context.Context, *Push) error {
			return app.Errorf(app.CodeBuildFailed, "fix it", "it does not compile")
		})
		defer c.fx.h.setDeploy(nil)
		c.rejected(dir, []string{"[remote rejected] main -> main (it does not compile)", " !     fix it"}, "push", "platform", "main")
		c.fx.live(name, "")
	}},
	{"sha256", func(t *testing.T, c *gitClient, app string) {
		dir := filepath.Join(c.home, app)
		c.git("/", "init", "-q", "--object-format=sha256", dir)
		c.commit(dir, "a", "a")
		c.rejected(dir, []string{"fatal: "}, "push", c.fx.URL(app), "main")
		c.fx.live(app, "")
	}},
	{"clone, shallow, deepened, partial", func(t *testing.T, c *gitClient, app string) {
		dir := c.work(app)
		c.git(dir, "push", "platform", "main")
		head := c.git(dir, "rev-parse", "HEAD")
		at := func(name string) string { return filepath.Join(c.home, app+"-"+name) }
		for _, v := range []string{"0", "2"} {
			c.git("/", "-c", "protocol.version="+v, "clone", "-q", c.fx.URL(app), at("full"+v))
			shallow := at("shallow" + v)
			c.git("/", "-c", "protocol.version="+v, "clone", "-q", "--depth=1", c.fx.URL(app), shallow)
			count := func(want string) {
				t.Helper()
				if n := c.git(shallow, "rev-list", "--count", "HEAD"); n != want || c.git(shallow, "rev-parse", "HEAD") != head {
					t.Errorf("%s commits; want %s", n, want)
				}
				c.git(shallow, "fsck", "--strict")
			}
			count("1")
			c.git(shallow, "-c", "protocol.version="+v, "fetch", "-q", "--deepen=2")
			count("3")
			c.git(shallow, "-c", "protocol.version="+v, "fetch", "-q", "--unshallow")
			count("5")
			since := at("since" + v)
			c.git("/", "-c", "protocol.version="+v, "clone", "-q", "--shallow-since=2000-01-01", c.fx.URL(app), since)
		}
		for _, filter := range []string{"blob:none", "blob:limit=100", "tree:0"} {
			partial := at(strings.ReplaceAll(filter, ":", "-"))
			c.git("/", "clone", "-q", "--no-checkout", "--filter="+filter, c.fx.URL(app), partial)
			if missing := c.git(partial, "rev-list", "--objects", "--all", "--missing=print"); !strings.Contains(missing, "\n?") {
				t.Errorf("with %s nothing is missing", filter)
			}
			c.git(partial, "checkout", "-q", "main") // fetches what is missing
			if got, err := os.ReadFile(filepath.Join(c.root, partial, "lines")); err != nil || !bytes.HasPrefix(got, []byte("line of commit 4\n")) {
				t.Errorf("%s: %v", filter, err)
			}
			next := c.commit(partial, "from-partial", filter)
			c.git(partial, "push", "-f", c.fx.URL(app), "HEAD:main")
			c.fx.live(app, next)
			c.git(dir, "push", "-f", "platform", "main")
		}
		c.rejected("/", []string{"filter 'sparse:oid' not supported"}, "clone", "-q", "--filter=sparse:oid="+head, c.fx.URL(app), at("sparse"))
		c.fx.live(app, head)
	}},
}

func (c *gitClient) keys() string {
	if c.root == "" {
		return c.fx.Home
	}
	return c.home
}

// TestProtocolWithGit has each git push into a server with one of the two indexers.
func TestProtocolWithGit(t *testing.T) {
	fx := start(t, func(o *options) { o.repo.Indexer = repository.NewGitIndexer() })
	own := start(t, func(o *options) { o.repo.Indexer = repository.NewPackIndexer() })
	n := 0
	for _, c := range []*gitClient{machineGit(t, fx), newestGit(t, own)} {
		version := strings.TrimPrefix(c.git(c.home, "version"), "git version ")
		for _, row := range protocolRows {
			n++
			t.Run("git "+version+"/"+row.name, func(t *testing.T) { row.run(t, c, fmt.Sprintf("app%d", n)) })
		}
	}
}
