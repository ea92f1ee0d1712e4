package receive

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	gossh "golang.org/x/crypto/ssh"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
)

// otherClient is a client that is no git.
type otherClient struct {
	name  string
	push  func(dir, url string, force bool, refs ...string) (string, error)
	clone func(url, dir string, depth int) (string, error)
	// what its words are
	upToDate string // when there is nothing to push; "" where it says nothing
	noReason bool   // it does not tell why a ref was refused
	noDepth  bool   // it cannot make shallow clones
}

func otherClients(t *testing.T, fx *fixture) []otherClient {
	interpreter := python(t)
	script := func(name string, args ...string) (string, error) {
		file, err := filepath.Abs(filepath.Join("testdata/clients", name))
		if err != nil {
			return "", err
		}
		c := fx.Cmd(fx.Home, interpreter, append([]string{file}, args...)...)
		c.Env = append(c.Env, "KEY="+fx.Key, "PYTHONWARNINGS=ignore")
		out, err := c.CombinedOutput()
		return string(out), err
	}
	withForce := func(force bool, refs []string, mark string) []string {
		if !force {
			return refs
		}
		return append([]string{mark}, refs...)
	}
	plus := func(force bool, refs []string) (all []string) {
		for _, r := range refs {
			if r = r + ":" + r; force {
				r = "+" + r
			}
			all = append(all, r)
		}
		return all
	}
	own := func(dir string) *git.Repository {
		r, err := git.PlainOpen(dir)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	auth := &gitssh.PublicKeys{User: "git", Signer: fx.Signer(fx.Key), HostKeyCallbackHelper: gitssh.HostKeyCallbackHelper{HostKeyCallback: gossh.FixedHostKey(fx.HostKey)}}
	jars := func(names ...string) string {
		for i, n := range names {
			names[i] = "/usr/share/java/" + n + ".jar"
		}
		return strings.Join(names, ":")
	}
	jgit := func(dir string, args ...string) (string, error) {
		wrapper := filepath.Join(fx.Home, "ssh-of-jgit")
		text := "#!/bin/sh\nexec ssh " + strings.Join(fx.SSHArgs(fx.Key), " ") + " \"$@\"\n"
		if err := os.WriteFile(wrapper, []byte(text), 0o755); err != nil {
			return "", err
		}
		// Debian's jgit leaves a library out of its path.
		c := fx.Cmd(dir, "java", append([]string{"-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", jars("org.eclipse.jgit", "org.eclipse.jgit.lfs", "org.eclipse.jgit.pgm", "org.eclipse.jgit.ui",
			"org.eclipse.jgit.archive", "org.eclipse.jgit.http.apache", "httpclient", "httpcore", "commons-logging", "args4j", "commons-compress", "jsch", "slf4j-api", "slf4j-nop", "JavaEWAH"), "org.eclipse.jgit.pgm.Main"}, args...)...)
		c.Env = append(c.Env, "GIT_SSH="+wrapper, "GIT_SSH_COMMAND="+wrapper)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	return []otherClient{
		{name: "dulwich",
			push: func(dir, url string, force bool, refs ...string) (string, error) {
				return script("dulwich_push.py", append([]string{dir, url}, withForce(force, refs, "--force")...)...)
			},
			clone: func(url, dir string, depth int) (string, error) {
				if depth > 0 {
					return script("dulwich_clone.py", url, dir, fmt.Sprint(depth))
				}
				return script("dulwich_clone.py", url, dir)
			}},
		{name: "libgit2 with libssh2",
			push: func(dir, url string, force bool, refs ...string) (string, error) {
				return script("libgit2.py", append([]string{"push", dir, url}, plus(force, refs)...)...)
			},
			clone: func(url, dir string, depth int) (string, error) {
				if depth > 0 {
					return script("libgit2.py", "clone", url, dir, fmt.Sprint(depth))
				}
				return script("libgit2.py", "clone", url, dir)
			}},
		{name: "go-git", upToDate: git.NoErrAlreadyUpToDate.Error(),
			push: func(dir, url string, force bool, refs ...string) (string, error) {
				var said bytes.Buffer
				var specs []config.RefSpec
				for _, r := range plus(force, refs) {
					specs = append(specs, config.RefSpec(r))
				}
				remote := git.NewRemote(own(dir).Storer, &config.RemoteConfig{Name: "x", URLs: []string{url}})
				err := remote.Push(&git.PushOptions{RemoteName: "x", RefSpecs: specs, Auth: auth, Force: force, Progress: sideband.Progress(&said)})
				if err != nil {
					fmt.Fprintln(&said, err)
				}
				return said.String(), err
			},
			clone: func(url, dir string, depth int) (string, error) {
				_, err := git.PlainClone(dir, false, &git.CloneOptions{URL: url, Auth: auth, Depth: depth})
				return fmt.Sprint(err), err
			}},
		{name: "jgit", noDepth: true,
			push: func(dir, url string, force bool, refs ...string) (string, error) {
				return jgit(dir, append([]string{"push", url}, plus(force, refs)...)...)
			},
			clone: func(url, dir string, _ int) (string, error) { return jgit(filepath.Dir(dir), "clone", url, dir) }},
	}
}

func TestProtocolWithOtherClients(t *testing.T) {
	fx := start(t, nil)
	for n, c := range otherClients(t, fx) {
		t.Run(c.name, func(t *testing.T) {
			name := fmt.Sprintf("other%d", n)
			dir, url := fx.Work(name), fx.URL(name)
			push := func(force bool, refs ...string) string {
				t.Helper()
				out, err := c.push(dir, url, force, refs...)
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				return out
			}
			const branch = "refs/heads/main"
			first := fx.Git(dir, "rev-parse", "HEAD")
			push(false, branch)
			fx.live(name, first)
			for i := range 3 {
				fx.Commit(dir, "lines", strings.Repeat(fmt.Sprintf("line %d\n", i), 500))
			}
			push(false, branch)
			fx.live(name, fx.Git(dir, "rev-parse", "HEAD"))

			count := fx.h.count()
			if out, err := c.push(dir, url, false, branch); err != nil && (c.upToDate == "" || !strings.Contains(out, c.upToDate)) {
				t.Errorf("nothing to push: %v\n%s", err, out)
			}
			fx.Git(dir, "commit", "-q", "--amend", "-m", "other words")
			amended := fx.Git(dir, "rev-parse", "HEAD")
			push(true, branch)
			fx.live(name, amended)
			if n := fx.h.count(); n > count+2 {
				t.Errorf("%d pushes", n-count)
			}

			fx.h.setDeploy(func(context.Context, *Push) error {
				return app.Errorf(app.CodeBuildFailed, "fix it", "it does not compile")
			})
			defer fx.h.setDeploy(nil)
			fx.Commit(dir, "broken", "x")
			out, _ := c.push(dir, url, false, branch)
			if !c.noReason {
				gittest.MustHold(t, out, "it does not compile")
			}
			fx.live(name, amended)
			fx.h.setDeploy(nil)

			fx.Git(dir, "tag", "v1")
			out, _ = c.push(dir, url, false, "refs/tags/v1")
			if !c.noReason {
				gittest.MustHold(t, out, "tags are not deployed")
			}
			fx.live(name, amended)

			for _, depth := range []int{0, 1} {
				if depth > 0 && c.noDepth {
					continue
				}
				clone := filepath.Join(t.TempDir(), "clone")
				if out, err := c.clone(url, clone, depth); err != nil {
					t.Fatalf("clone: %v\n%s", err, out)
				}
				if got := fx.Git(clone, "rev-parse", "HEAD"); got != amended {
					t.Errorf("cloned %s", got)
				}
				want := "4"
				if depth == 1 {
					want = "1"
				}
				if got := fx.Git(clone, "rev-list", "--count", "HEAD"); got != want {
					t.Errorf("cloned %s commits; want %s", got, want)
				}
				fx.Git(clone, "fsck", "--strict")
			}
		})
	}
}
