package receive

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

func TestPushAndClone(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("hello")
	first := fx.Git(dir, "rev-parse", "HEAD")
	out := fx.Git(dir, "push", "platform", "main")
	gittest.MustHold(t, out, "remote: -----> Receiving hello (main "+first[:7]+", 3 objects, ", " * [new branch]      main -> main")
	fx.live("hello", first)
	p := fx.h.last()
	if p.App != "hello" || p.Ref != "refs/heads/main" || p.Commit != first || p.By.Key.Name != "laptop" || p.Author != "a" || p.Subject != "change hello.txt" {
		t.Errorf("push: %+v", p)
	}
	fx.Logged("key=laptop", "SHA256:", "push hello", "main "+first[:7]+" deployed")

	second := fx.Commit(dir, "hello.txt", "hello again\n")
	gittest.MustHold(t, fx.Git(dir, "push", "platform", "main"), first[:7]+".."+second[:7]+"  main -> main")
	fx.live("hello", second)
	gittest.MustHold(t, fx.Git(dir, "push", "platform", "main"), "Everything up-to-date")

	for _, version := range []string{"0", "1", "2"} {
		clone := filepath.Join(t.TempDir(), "clone")
		fx.Git("/", "-c", "protocol.version="+version, "clone", "-q", fx.URL("hello"), clone)
		if got := fx.Git(clone, "rev-parse", "HEAD"); got != second {
			t.Errorf("protocol %s: the clone has %s", version, got)
		}
		if got := fx.Git(clone, "symbolic-ref", "HEAD"); got != "refs/heads/main" {
			t.Errorf("HEAD of the clone is %s", got)
		}
	}
	gittest.MustHold(t, fx.Git(dir, "ls-remote", "platform"), second+"\tHEAD", second+"\trefs/heads/main")
}

func TestWaysToPush(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("ways")
	fx.Git(dir, "push", "platform", "main")

	t.Run("forced", func(t *testing.T) {
		fx.Git(dir, "commit", "-q", "--amend", "-m", "other words")
		fx.Rejected(dir, []string{"[rejected]"}, "push", "platform", "main")
		gittest.MustHold(t, fx.Git(dir, "push", "-f", "platform", "main"), "(forced update)")
		fx.live("ways", fx.Git(dir, "rev-parse", "HEAD"))
	})
	t.Run("back to a commit that is here", func(t *testing.T) {
		first := fx.Git(dir, "rev-parse", "HEAD")
		fx.Commit(dir, "b", "b")
		fx.Git(dir, "push", "platform", "main")
		fx.Git(dir, "reset", "-q", "--hard", first)
		gittest.MustHold(t, fx.Git(dir, "push", "-f", "platform", "main"), "Receiving ways (main "+first[:7]+", nothing new)")
		fx.live("ways", first)
	})
	t.Run("thin", func(t *testing.T) {
		fx.Commit(dir, "big.txt", strings.Repeat("a line that stays the same\n", 5000))
		fx.Git(dir, "push", "platform", "main")
		c := fx.Commit(dir, "big.txt", strings.Repeat("a line that stays the same\n", 5000)+"and one more\n")
		out := fx.Git(dir, "push", "--thin", "platform", "main")
		fx.live("ways", c)
		if _, size, _ := strings.Cut(out, " objects, "); !strings.Contains(size[:min(12, len(size))], " bytes)") { // a KiB is more
			t.Errorf("the pack was not thin:\n%s", out)
		}
	})
	t.Run("another branch as main", func(t *testing.T) {
		fx.Git(dir, "checkout", "-q", "-b", "topic")
		c := fx.Commit(dir, "t", "t")
		fx.Git(dir, "push", "platform", "topic:main")
		fx.live("ways", c)
		fx.Git(dir, "checkout", "-q", "main")
	})
	t.Run("shallow", func(t *testing.T) {
		fx.Commit(dir, "s", "s")
		fx.Commit(dir, "s", "ss")
		clone := filepath.Join(t.TempDir(), "clone")
		fx.Git("/", "clone", "-q", "--depth=1", "file://"+dir, clone)
		fx.Git(clone, "push", fx.URL("shallow"), "main")
		fx.live("shallow", fx.Git(clone, "rev-parse", "HEAD"))
		c := fx.Commit(clone, "s", "sss")
		fx.Git(clone, "push", fx.URL("shallow"), "main")
		fx.live("shallow", c)
		fx.Git("/", "clone", "-q", fx.URL("shallow"), filepath.Join(t.TempDir(), "back"))
		fx.Git(dir, "fetch", "-q", fx.URL("shallow"), "main")
		fx.Git(dir, "checkout", "-q", "-B", "full", "FETCH_HEAD")
		c = fx.Commit(dir, "s", "from a full clone")
		fx.Git(dir, "push", fx.URL("shallow"), "full:main")
		fx.live("shallow", c)
		fx.Git(dir, "checkout", "-q", "main")
	})
	t.Run("shallow first, then back to what was cut off", func(t *testing.T) {
		back := filepath.Join(t.TempDir(), "back")
		fx.Git("/", "clone", "-q", dir, back)
		below := fx.Commit(back, "big.txt", strings.Repeat("another line that stays the same\n", 5000))
		fx.Commit(back, "y", "y")
		for name, commit := range map[string]func() string{
			"itself": func() string { return below },
			"child": func() string { // by a thin pack
				return fx.Commit(back, "big.txt", strings.Repeat("another line that stays the same\n", 5000)+"and one more\n")
			},
		} {
			clone, url := filepath.Join(t.TempDir(), "clone"), fx.URL(name)
			fx.Git("/", "clone", "-q", "--depth=1", "file://"+back, clone)
			fx.Git(clone, "push", url, "main")
			top := fx.Git(back, "rev-parse", "HEAD")
			fx.Git(back, "reset", "-q", "--hard", below)
			c := commit()
			fx.Rejected(back, []string{"push again: only the end of the history is here"}, "push", "-f", url, "main")
			fx.Git(back, "push", "-f", url, "main")
			fx.live(name, c)
			fx.Git(back, "push", "-f", url, top+":main") // what was live before, and is known
			fx.live(name, top)
			fx.Git(back, "reset", "-q", "--hard", top)
		}
	})
	t.Run("shallow into what is here", func(t *testing.T) {
		fx.Git(dir, "push", "-f", "platform", "main")
		clone := filepath.Join(t.TempDir(), "clone")
		fx.Git("/", "clone", "-q", "--depth=1", fx.URL("ways"), clone)
		c := fx.Commit(clone, "x", "x")
		fx.Git(clone, "push", "origin", "main")
		fx.live("ways", c)
		if cut, _ := fx.repos.Of("ways").Shallow(); len(cut) > 0 {
			t.Errorf("the whole history is here, and yet it is cut at %v", cut)
		}
	})
	t.Run("quoted path", func(t *testing.T) {
		host, port, _ := strings.Cut(fx.Addr, ":")
		fx.Write("config", "Host platform\n HostName "+host+"\n Port "+port+"\n User git\n")
		c := fx.Cmd(dir, "git", "push", "platform:quoted.git", "main")
		c.Env = append(c.Env, "GIT_SSH_COMMAND=ssh "+strings.Replace(strings.Join(fx.SSHArgs(fx.Key), " "), "/dev/null", fx.Home+"/config", 1))
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		fx.live("quoted", fx.Git(dir, "rev-parse", "HEAD"))
	})
	t.Run("master first, main later", func(t *testing.T) {
		fx.Git(dir, "push", fx.URL("old"), "main:master")
		c := fx.Git(dir, "rev-parse", "main")
		fx.live("old", c)
		gittest.MustHold(t, fx.Git("/", "ls-remote", "--symref", fx.URL("old")), "ref: refs/heads/master\tHEAD", c+"\trefs/heads/master")
		fx.Git(dir, "push", fx.URL("old"), "main")
		out := fx.Git("/", "ls-remote", "--symref", fx.URL("old"))
		gittest.MustHold(t, out, "ref: refs/heads/main\tHEAD", c+"\trefs/heads/main")
		if strings.Contains(out, "master") {
			t.Errorf("master is still there:\n%s", out)
		}
		fx.Rejected(dir, []string{"(only main is deployed: git push platform master:main)"}, "push", fx.URL("old"), "main:master")
	})
	t.Run("without sideband", func(t *testing.T) {
		c := fx.Commit(dir, "n", "n")
		fx.Git(dir, "-c", "protocol.version=1", "-c", "sendpack.sideband=false", "push", "platform", "+main")
		fx.live("ways", c)
		fx.h.setDeploy(func(context.Context, *Push) error { return app.Errorf(app.CodeBuildFailed, "", "no luck") })
		defer fx.h.setDeploy(nil)
		fx.Commit(dir, "n", "nn")
		fx.Rejected(dir, []string{"! [remote rejected] main -> main (no luck)"}, "-c", "sendpack.sideband=false", "push", "platform", "main")
	})
}

func TestRefusedRefs(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("refs")
	first := fx.Git(dir, "rev-parse", "HEAD")
	fx.Git(dir, "push", "platform", "main")
	fx.Git(dir, "tag", "-a", "-m", "v1", "v1")
	fx.Git(dir, "branch", "topic")
	n := fx.h.count()
	for _, c := range []struct {
		name  string
		words []string
		args  []string
	}{
		{"two branches", []string{"! [remote rejected] topic -> topic (one branch is deployed at a time", "! [remote rejected] topic -> other (one branch"}, []string{"push", "platform", "topic", "topic:other"}},
		{"within main", []string{"! [remote rejected] main -> main/x (the branch \"main/x\" makes no preview: main and master are what is live)"}, []string{"push", "platform", "main:main/x"}},
		{"tag", []string{"! [remote rejected] v1 -> v1 (tags are not deployed: git push platform v1^{commit}:refs/heads/main)"}, []string{"push", "platform", "v1"}},
		{"delete main", []string{"(main is live and cannot be deleted; to remove the app: apps destroy APP)"}, []string{"push", "platform", ":main"}},
		{"delete another", []string{"unable to delete 'gone'"}, []string{"push", "platform", ":gone"}},
		{"odd ref", []string{"(only main is deployed: git push platform HEAD:main)"}, []string{"push", "platform", "main:refs/notes/x"}},
		{"master beside main", []string{"(only main is deployed: git push platform master:main)"}, []string{"push", "platform", "main:master"}},
		{"tag as main", []string{"is a tag, not a commit"}, []string{"push", "-f", "platform", "v1:refs/heads/main"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fx.Rejected(dir, c.words, c.args...)
			fx.live("refs", first)
		})
	}
	if fx.h.count() != n {
		t.Error("something was deployed")
	}
	t.Run("several with main", func(t *testing.T) {
		second := fx.Commit(dir, "f", "f")
		out := fx.Rejected(dir, []string{"main -> main", "! [remote rejected] topic -> topic (one branch is deployed at a time: git push platform topic)", "! [remote rejected] v1 -> v1"}, "push", "platform", "main", "topic", "v1")
		gittest.MustHold(t, out, first[:7]+".."+second[:7]+"  main -> main")
		fx.live("refs", second)
	})
	t.Run("atomic", func(t *testing.T) {
		second := fx.Git(dir, "rev-parse", "HEAD")
		fx.Commit(dir, "f", "ff")
		fx.Rejected(dir, []string{"! [remote rejected] main -> main (atomic push: another ref was refused)"}, "push", "--atomic", "platform", "main", "topic")
		fx.live("refs", second)
		fx.Git(dir, "push", "--atomic", "platform", "main")
		fx.live("refs", fx.Git(dir, "rev-parse", "HEAD"))
	})
	t.Run("empty tree", func(t *testing.T) {
		empty := fx.Git(dir, "commit-tree", "-m", "nothing", "4b825dc642cb6eb9a060e54bf8d69288fbee4904")
		fx.Rejected(dir, []string{" !     the commit holds no files", "git add -A", "(the commit holds no files)"}, "push", "-f", "platform", empty+":refs/heads/main")
	})
	t.Run("submodule", func(t *testing.T) {
		other := fx.Work("other")
		fx.Git(dir, "submodule", "--quiet", "add", other, "lib")
		fx.Git(dir, "commit", "-qm", "submodule")
		fx.Rejected(dir, []string{`(submodule "lib": its URL is a path, and the server has only what was pushed)`}, "push", "platform", "main")
		fx.Git(dir, "reset", "-q", "--hard", "HEAD~1")
		_ = os.RemoveAll(filepath.Join(dir, "lib"))
	})
	t.Run("symlink out of the tree", func(t *testing.T) {
		if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		fx.Git(dir, "add", "-A")
		fx.Git(dir, "commit", "-qm", "link")
		fx.Rejected(dir, []string{`(the symlink "link" points outside of the app: "/etc/passwd")`}, "push", "platform", "main")
		fx.Git(dir, "reset", "-q", "--hard", "HEAD~1")
	})
	t.Run("a virtual environment of Python", func(t *testing.T) {
		bin := filepath.Join(dir, "env/bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Symlink("/usr/bin/python3", filepath.Join(bin, "python")), os.WriteFile(filepath.Join(dir, "env/pyvenv.cfg"), []byte("home = /usr/bin\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
		fx.Git(dir, "add", "-A")
		fx.Git(dir, "commit", "-qm", "environment")
		fx.Rejected(dir, []string{`(the symlink "env/bin/python" points outside of the app: "/usr/bin/python3")`, "git rm -r -q --cached env,"}, "push", "platform", "main")
	})
	fx.clean("refs")
}

func TestRefusedApps(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("x")
	for _, c := range []struct{ path, words string }{
		{"Hello", `fatal: remote error: invalid app name "Hello": it has upper-case letters`},
		{strings.Repeat("a", 80), "it is longer than 40 characters"},
		{"../x", "invalid app name"},
		{"-x", "invalid app name"},
		{"a/b", "invalid app name"},
		{"", "invalid app name"},
	} {
		fx.Rejected(dir, []string{c.words, "remote error"}, "push", fx.URL(c.path), "main")
		fx.Rejected(dir, []string{c.words, "remote error"}, "ls-remote", fx.URL(c.path))
	}
	entries, err := os.ReadDir(fx.dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("%v %v", entries, err)
	}
	gittest.MustHold(t, fx.Rejected(dir, nil, "clone", fx.URL("nobody")), "remote error: app nobody does not exist")
	fx.Key = fx.newKey("ci", app.Key{Name: "ci", Apps: []app.Scope{{Name: "allowed"}}})
	fx.Rejected(dir, []string{"fatal: remote error: the key ci may not push hello", "ask the operator for the right"}, "push", fx.URL("hello"), "main")
	fx.Git(dir, "push", fx.URL("allowed"), "main")
	fx.Rejected(dir, []string{"the key ci may not read hello"}, "fetch", fx.URL("hello"))
}

func TestFailedDeploy(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("fails")
	fx.h.setDeploy(func(_ context.Context, p *Push) error {
		p.Log.Step("Building")
		p.Log.Detail("main.go:3: undefined: x")
		return app.Errorf(app.CodeBuildFailed, "fix it and push again", "build failed: go build")
	})
	out := fx.Rejected(dir, []string{"remote: -----> Building", "remote:        main.go:3: undefined: x", "remote:  !     build failed: go build",
		"remote:  !     fix it and push again", " ! [remote rejected] main -> main (build failed: go build)"}, "push", "platform", "main")
	if strings.Contains(out, "new branch") {
		t.Error(out)
	}
	fx.live("fails", "")
	if found, _ := filepath.Glob(filepath.Join(fx.bare("fails"), "objects/pack/*")); len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
	fx.Rejected(dir, []string{"main.go:3", "build failed: go build"}, "push", "-q", "platform", "main")
	fx.h.setDeploy(func(context.Context, *Push) error { return os.ErrPermission })
	fx.Rejected(dir, []string{"(internal error)"}, "push", "platform", "main")
	fx.Logged("internal error", "permission denied", "status ")
	fx.h.setDeploy(nil)
	fx.Git(dir, "push", "-q", "platform", "main")
	fx.live("fails", fx.Git(dir, "rev-parse", "HEAD"))
}
