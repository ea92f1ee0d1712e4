package receive

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
)

func TestPushAndClone(t *testing.T) {
	l := start(t, nil)
	dir := l.work("hello")
	first := l.git(dir, "rev-parse", "HEAD")
	out := l.git(dir, "push", "platform", "main")
	mustHold(t, out, "remote: -----> Receiving hello (main "+first[:7]+", 3 objects, ", " * [new branch]      main -> main")
	l.live("hello", first)
	p := l.h.last()
	if p.App != "hello" || p.Ref != "refs/heads/main" || p.Old != zeroID || p.Commit != first || p.Objects != 3 || p.Key.Name != "laptop" || p.Bytes < 100 {
		t.Errorf("push: %+v", p)
	}
	l.logged("key=laptop", "SHA256:", "push hello", "main "+first[:7]+" deployed")

	second := l.commit(dir, "hello.txt", "hello again\n")
	mustHold(t, l.git(dir, "push", "platform", "main"), first[:7]+".."+second[:7]+"  main -> main")
	l.live("hello", second)
	if p := l.h.last(); p.Old != first {
		t.Errorf("old is %s", p.Old)
	}
	mustHold(t, l.git(dir, "push", "platform", "main"), "Everything up-to-date")

	for _, version := range []string{"0", "1", "2"} {
		clone := filepath.Join(t.TempDir(), "clone")
		l.git("/", "-c", "protocol.version="+version, "clone", "-q", l.url("hello"), clone)
		if got := l.git(clone, "rev-parse", "HEAD"); got != second {
			t.Errorf("protocol %s: the clone has %s", version, got)
		}
		if got := l.git(clone, "symbolic-ref", "HEAD"); got != "refs/heads/main" {
			t.Errorf("HEAD of the clone is %s", got)
		}
	}
	mustHold(t, l.git(dir, "ls-remote", "platform"), second+"\tHEAD", second+"\trefs/heads/main")
}

func TestWaysToPush(t *testing.T) {
	l := start(t, nil)
	dir := l.work("ways")
	l.git(dir, "push", "platform", "main")

	t.Run("forced", func(t *testing.T) {
		l.git(dir, "commit", "-q", "--amend", "-m", "other words")
		l.rejected(dir, []string{"[rejected]"}, "push", "platform", "main")
		mustHold(t, l.git(dir, "push", "-f", "platform", "main"), "(forced update)")
		l.live("ways", l.git(dir, "rev-parse", "HEAD"))
	})
	t.Run("back to a commit that is here", func(t *testing.T) {
		first := l.git(dir, "rev-parse", "HEAD")
		l.commit(dir, "b", "b")
		l.git(dir, "push", "platform", "main")
		l.git(dir, "reset", "-q", "--hard", first)
		l.git(dir, "push", "-f", "platform", "main")
		l.live("ways", first)
		if p := l.h.last(); p.Objects != 0 {
			t.Errorf("%d objects were sent", p.Objects)
		}
	})
	t.Run("thin", func(t *testing.T) {
		l.commit(dir, "big.txt", strings.Repeat("a line that stays the same\n", 5000))
		l.git(dir, "push", "platform", "main")
		c := l.commit(dir, "big.txt", strings.Repeat("a line that stays the same\n", 5000)+"and one more\n")
		l.git(dir, "push", "--thin", "platform", "main")
		l.live("ways", c)
		if p := l.h.last(); p.Bytes > 2000 {
			t.Errorf("the pack was not thin: %d bytes", p.Bytes)
		}
	})
	t.Run("options", func(t *testing.T) {
		l.commit(dir, "o", "o")
		l.git(dir, "push", "-o", "one", "-o", "two=2", "platform", "main")
		if p := l.h.last(); strings.Join(p.Options, " ") != "one two=2" {
			t.Errorf("options: %q", p.Options)
		}
	})
	t.Run("another branch as main", func(t *testing.T) {
		l.git(dir, "checkout", "-q", "-b", "topic")
		c := l.commit(dir, "t", "t")
		l.git(dir, "push", "platform", "topic:main")
		l.live("ways", c)
		l.git(dir, "checkout", "-q", "main")
	})
	t.Run("shallow", func(t *testing.T) {
		l.commit(dir, "s", "s")
		l.commit(dir, "s", "ss")
		clone := filepath.Join(t.TempDir(), "clone")
		l.git("/", "clone", "-q", "--depth=1", "file://"+dir, clone)
		l.git(clone, "push", l.url("shallow"), "main")
		l.live("shallow", l.git(clone, "rev-parse", "HEAD"))
		c := l.commit(clone, "s", "sss")
		l.git(clone, "push", l.url("shallow"), "main")
		l.live("shallow", c)
		l.git("/", "clone", "-q", l.url("shallow"), filepath.Join(t.TempDir(), "back"))
		l.git(dir, "fetch", "-q", l.url("shallow"), "main")
		l.git(dir, "checkout", "-q", "-B", "full", "FETCH_HEAD")
		c = l.commit(dir, "s", "from a full clone")
		l.git(dir, "push", l.url("shallow"), "full:main")
		l.live("shallow", c)
		l.git(dir, "checkout", "-q", "main")
	})
	t.Run("shallow into what is here", func(t *testing.T) {
		l.git(dir, "push", "-f", "platform", "main")
		clone := filepath.Join(t.TempDir(), "clone")
		l.git("/", "clone", "-q", "--depth=1", l.url("ways"), clone)
		c := l.commit(clone, "x", "x")
		l.git(clone, "push", "origin", "main")
		l.live("ways", c)
		if cut, _ := readShallow(l.bare("ways")); len(cut) > 0 {
			t.Errorf("the whole history is here, and yet it is cut at %v", cut)
		}
	})
	t.Run("quoted path", func(t *testing.T) {
		host, port, _ := strings.Cut(l.addr, ":")
		l.write("config", "Host platform\n HostName "+host+"\n Port "+port+"\n User git\n")
		c := l.cmd(dir, "git", "push", "platform:quoted.git", "main")
		c.Env = append(c.Env, "GIT_SSH_COMMAND=ssh "+strings.Replace(strings.Join(l.sshArgs(l.key), " "), "/dev/null", l.home+"/config", 1))
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		l.live("quoted", l.git(dir, "rev-parse", "HEAD"))
	})
	t.Run("master first, main later", func(t *testing.T) {
		l.git(dir, "push", l.url("old"), "main:master")
		c := l.git(dir, "rev-parse", "main")
		l.live("old", c)
		mustHold(t, l.git("/", "ls-remote", "--symref", l.url("old")), "ref: refs/heads/master\tHEAD", c+"\trefs/heads/master")
		l.git(dir, "push", l.url("old"), "main")
		out := l.git("/", "ls-remote", "--symref", l.url("old"))
		mustHold(t, out, "ref: refs/heads/main\tHEAD", c+"\trefs/heads/main")
		if strings.Contains(out, "master") {
			t.Errorf("master is still there:\n%s", out)
		}
		l.rejected(dir, []string{"(only main is deployed: git push platform master:main)"}, "push", l.url("old"), "main:master")
	})
	t.Run("without sideband", func(t *testing.T) {
		c := l.commit(dir, "n", "n")
		l.git(dir, "-c", "protocol.version=1", "-c", "sendpack.sideband=false", "push", "platform", "+main")
		l.live("ways", c)
		l.h.setDeploy(func(context.Context, *Push) error { return app.Errorf(app.BuildFailed, "", "no luck") })
		defer l.h.setDeploy(nil)
		l.commit(dir, "n", "nn")
		l.rejected(dir, []string{"! [remote rejected] main -> main (no luck)"}, "-c", "sendpack.sideband=false", "push", "platform", "main")
	})
}

func TestRefusedRefs(t *testing.T) {
	l := start(t, nil)
	dir := l.work("refs")
	first := l.git(dir, "rev-parse", "HEAD")
	l.git(dir, "push", "platform", "main")
	l.git(dir, "tag", "-a", "-m", "v1", "v1")
	l.git(dir, "branch", "topic")
	n := l.h.count()
	for _, c := range []struct {
		name  string
		words []string
		args  []string
	}{
		{"branch", []string{"! [remote rejected] topic -> topic (only main is deployed: git push platform topic:main)"}, []string{"push", "platform", "topic"}},
		{"tag", []string{"! [remote rejected] v1 -> v1 (tags are not deployed: git push platform v1^{commit}:refs/heads/main)"}, []string{"push", "platform", "v1"}},
		{"delete main", []string{"(main is what is live: use 'gitd apps destroy')"}, []string{"push", "platform", ":main"}},
		{"delete another", []string{"unable to delete 'gone'"}, []string{"push", "platform", ":gone"}},
		{"odd ref", []string{"(only main is deployed: git push platform HEAD:main)"}, []string{"push", "platform", "main:refs/notes/x"}},
		{"master beside main", []string{"(only main is deployed: git push platform master:main)"}, []string{"push", "platform", "main:master"}},
		{"tag as main", []string{"is a tag, not a commit"}, []string{"push", "-f", "platform", "v1:refs/heads/main"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.rejected(dir, c.words, c.args...)
			l.live("refs", first)
		})
	}
	if l.h.count() != n {
		t.Error("something was deployed")
	}
	t.Run("several with main", func(t *testing.T) {
		second := l.commit(dir, "f", "f")
		out := l.rejected(dir, []string{"main -> main", "! [remote rejected] topic -> topic (only main is deployed", "! [remote rejected] v1 -> v1"}, "push", "platform", "main", "topic", "v1")
		mustHold(t, out, first[:7]+".."+second[:7]+"  main -> main")
		l.live("refs", second)
	})
	t.Run("atomic", func(t *testing.T) {
		second := l.git(dir, "rev-parse", "HEAD")
		l.commit(dir, "f", "ff")
		l.rejected(dir, []string{"! [remote rejected] main -> main (atomic push: another ref was refused)"}, "push", "--atomic", "platform", "main", "topic")
		l.live("refs", second)
		l.git(dir, "push", "--atomic", "platform", "main")
		l.live("refs", l.git(dir, "rev-parse", "HEAD"))
	})
	t.Run("empty tree", func(t *testing.T) {
		empty := l.git(dir, "commit-tree", "-m", "nothing", emptyTree)
		l.rejected(dir, []string{" !     the commit holds no files", "git add -A", "(the commit holds no files)"}, "push", "-f", "platform", empty+":refs/heads/main")
	})
	t.Run("submodule", func(t *testing.T) {
		other := l.work("other")
		l.git(dir, "submodule", "--quiet", "add", other, "lib")
		l.git(dir, "commit", "-qm", "submodule")
		l.rejected(dir, []string{`(submodules are not supported yet: "lib")`}, "push", "platform", "main")
		l.git(dir, "reset", "-q", "--hard", "HEAD~1")
		_ = os.RemoveAll(filepath.Join(dir, "lib"))
	})
	t.Run("symlink out of the tree", func(t *testing.T) {
		if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		l.git(dir, "add", "-A")
		l.git(dir, "commit", "-qm", "link")
		l.rejected(dir, []string{`(the symlink "link" points outside of the app: "/etc/passwd")`}, "push", "platform", "main")
	})
	l.clean("refs")
}

func TestRefusedApps(t *testing.T) {
	l := start(t, nil)
	dir := l.work("x")
	for _, c := range []struct{ path, words string }{
		{"Hello", `fatal: remote error: invalid app name "Hello": it has upper-case letters`},
		{strings.Repeat("a", 80), "it is longer than 40 characters"},
		{"../x", "invalid app name"},
		{"-x", "invalid app name"},
		{"a/b", "invalid app name"},
		{"", "invalid app name"},
	} {
		l.rejected(dir, []string{c.words, "remote error"}, "push", l.url(c.path), "main")
		l.rejected(dir, []string{c.words, "remote error"}, "ls-remote", l.url(c.path))
	}
	entries, err := os.ReadDir(l.s.opts.Dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("%v %v", entries, err)
	}
	mustHold(t, l.rejected(dir, nil, "clone", l.url("nobody")), "remote error: there is no app nobody")
	l.key = l.newKey("ci", app.Key{Name: "ci", Apps: []string{"allowed"}})
	l.rejected(dir, []string{"fatal: remote error: the key ci may not push hello", "ask the operator for the right"}, "push", l.url("hello"), "main")
	l.git(dir, "push", l.url("allowed"), "main")
	l.rejected(dir, []string{"the key ci may not read hello"}, "fetch", l.url("hello"))
}

func TestFailedDeploy(t *testing.T) {
	l := start(t, nil)
	dir := l.work("fails")
	l.h.setDeploy(func(_ context.Context, p *Push) error {
		p.Log.Step("Building")
		p.Log.Detail("main.go:3: undefined: x")
		return app.Errorf(app.BuildFailed, "mend it and push again", "build failed: go build")
	})
	out := l.rejected(dir, []string{"remote: -----> Building", "remote:        main.go:3: undefined: x", "remote:  !     build failed: go build",
		"remote:  !     mend it and push again", " ! [remote rejected] main -> main (build failed: go build)"}, "push", "platform", "main")
	if strings.Contains(out, "new branch") {
		t.Error(out)
	}
	l.live("fails", "")
	if found, _ := filepath.Glob(filepath.Join(l.bare("fails"), "objects/pack/*")); len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
	l.rejected(dir, []string{"main.go:3", "build failed: go build"}, "push", "-q", "platform", "main")
	l.h.setDeploy(func(context.Context, *Push) error { return os.ErrPermission })
	l.rejected(dir, []string{"(internal error)"}, "push", "platform", "main")
	l.logged("internal error", "permission denied")
	l.h.setDeploy(nil)
	l.git(dir, "push", "-q", "platform", "main")
	l.live("fails", l.git(dir, "rev-parse", "HEAD"))
}
