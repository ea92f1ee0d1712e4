package knative_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// guide follows the page.
type guide struct {
	t       *testing.T
	page    string
	section string // text of the current one
	done    map[string]bool
	dir     string // with bin, config, my-gitd, home and the app's source
	team    string // stands for "team" in the names of images: nodes keep what they once pulled under a tag
	ssh     string // host:port to push to
	stop    func() // ends the port-forward
}

func newGuide(t *testing.T, page string) *guide {
	t.Helper()
	kubectl := os.Getenv("GITD_CLUSTER_KUBECTL")
	if kubectl == "" {
		t.Fatal("GITD_CLUSTER_KUBECTL is not set: make cluster prints it")
	}
	g := &guide{t: t, page: page, done: map[string]bool{}, dir: t.TempDir(), team: "install-" + strings.ToLower(rand.Text()[:6]), stop: func() {}}
	for _, d := range []string{"bin", "home/.ssh", "my-gitd", "hello"} {
		if err := os.MkdirAll(filepath.Join(g.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(kubectl, filepath.Join(g.dir, "bin/kubectl")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(g.dir, "config"), os.DirFS("../../config")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.stop() })
	return g
}

// in goes to a section of the page.
func (g *guide) in(title string) {
	g.t.Helper()
	_, rest, ok := strings.Cut(g.page, "\n## "+title+"\n")
	if !ok {
		g.t.Fatalf("the page has no section %q", title)
	}
	g.section, _, _ = strings.Cut(rest, "\n## ")
}

// run runs a command that the page has in this section, word for word.
func (g *guide) run(line string, want ...string) {
	g.t.Helper()
	if !strings.Contains(g.section, "\n"+line+"\n") {
		g.t.Fatalf("the section does not say: %s", line)
	}
	g.done[line] = true
	g.command(line, want...)
}

// inline runs a command that the page has within a sentence.
func (g *guide) inline(line string) {
	g.t.Helper()
	if !strings.Contains(g.section, "`"+line+"`") {
		g.t.Fatalf("the section does not say: %s", line)
	}
	g.command(line)
}

// command runs a command, with this cluster's names, and looks for words in what it prints; "!" before one means that it must not be there.
func (g *guide) command(line string, want ...string) {
	g.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Minute)
	defer cancel()
	c := g.shell(ctx, line)
	out, err := c.CombinedOutput()
	g.t.Logf("$ %s   (%.1f s)\n%s", line, time.Since(began).Seconds(), tail(string(out), 30))
	if err != nil {
		g.explain()
		g.t.Fatalf("%s: %v", line, err)
	}
	for _, w := range want {
		w, not := strings.CutPrefix(w, "!")
		if strings.Contains(string(out), w) == not {
			g.t.Fatalf("%s: %q is in what it prints: %v", line, w, not)
		}
	}
}

// shell is a command in the guide's folder.
func (g *guide) shell(ctx context.Context, line string) *exec.Cmd {
	line = strings.NewReplacer("registry.example.com/team", pushTo+"/"+g.team, "ssh://git@EXTERNAL-IP/", "ssh://git@"+g.ssh+"/").Replace(line)
	c := exec.CommandContext(ctx, "bash", "-c", line)
	c.Dir = g.dir
	if strings.HasPrefix(line, "git ") {
		c.Dir = filepath.Join(g.dir, "hello")
	}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "HOME=") && !strings.HasPrefix(e, "PATH=") && !strings.HasPrefix(e, "GIT_") {
			c.Env = append(c.Env, e)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		g.t.Fatal(err)
	}
	parts, err := filepath.Abs("../../bin/parts")
	if err != nil {
		g.t.Fatal(err)
	}
	c.Env = append(c.Env, "HOME="+filepath.Join(g.dir, "home"), "PATH="+filepath.Join(g.dir, "bin")+":"+os.Getenv("PATH"), "XDG_CACHE_HOME="+cache,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=test", "GIT_AUTHOR_EMAIL=test@example.com", "GIT_COMMITTER_NAME=test", "GIT_COMMITTER_EMAIL=test@example.com",
		"GIT_SSH_COMMAND=ssh -F none -i "+filepath.Join(g.dir, "home/.ssh/id_ed25519")+" -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR")
	if os.Getenv("GITD_PARTS") == "" {
		c.Env = append(c.Env, "GITD_PARTS="+parts)
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 10 * time.Second
	return c
}

// explain logs what the cluster says, for the reader of a failed test.
func (g *guide) explain() {
	for _, line := range []string{"kubectl get pods -A -o wide", "kubectl -n gitd-system describe pod gitd-0 | tail -20", "kubectl -n gitd-system logs gitd-0 --tail=40",
		"kubectl -n gitd-builds get events --sort-by=.lastTimestamp | tail -20"} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		out, _ := g.shell(ctx, line).CombinedOutput()
		cancel()
		g.t.Logf("$ %s\n%s", line, out)
	}
}

// tail returns the last lines of a text.
func tail(s string, lines int) string {
	all := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// buildInstead builds gitd in a place of its own: what the command of the page makes may be in use. It needs that command's programs.
func (g *guide) buildInstead(line string) {
	g.t.Helper()
	if !strings.Contains(g.section, "\n"+line+"\n") {
		g.t.Fatalf("the section does not say: %s", line)
	}
	g.done[line] = true
	repository, err := filepath.Abs("../..")
	if err != nil {
		g.t.Fatal(err)
	}
	build := exec.CommandContext(g.t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(g.dir, "bin/gitd"), "./cmd/gitd")
	build.Dir, build.Env = repository, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		g.t.Fatalf("go build: %v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(g.dir, "home/.ssh/id_ed25519")); err != nil {
		g.command("ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519")
	}
}

// writeOverlay writes the page's my-gitd/kustomization.yaml, with what this cluster needs besides: it calls the registry by another name, and the
// names of apps do not resolve.
func (g *guide) writeOverlay(base, more string) {
	g.t.Helper()
	g.in("Inside the cluster")
	_, text, ok := strings.Cut(g.section, "# my-gitd/kustomization.yaml\n")
	if !ok {
		g.t.Fatal("the page has no my-gitd/kustomization.yaml")
	}
	text, _, _ = strings.Cut(text, "```")
	text = regexp.MustCompile(`(?m)^- \.\./config .*$`).ReplaceAllString(text, "- "+base)
	text = strings.ReplaceAll(text, "--builder=registry.example.com/team/", "--builder="+pullFrom+"/"+g.team+"/")
	text = strings.ReplaceAll(text, "registry.example.com/team/", pushTo+"/"+g.team+"/")
	text += `    - op: add
      path: /spec/template/spec/containers/0/args/-
      value: --ingress=kourier.kourier-system.svc:80
` + more
	// This machine's authorities: packages may come by way of one that only it knows.
	g.in("A proxy, mirrors, a certificate authority of your own")
	blocks := strings.Split(g.section, "```\n")
	if len(blocks) != 5 {
		g.t.Fatal("the section has other examples than a generator and a patch")
	}
	text += blocks[3] + blocks[1]
	authorities, err := os.ReadFile(cmp.Or(os.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"))
	if err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, "my-gitd/ca.crt"), authorities, 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.in("Inside the cluster")
	if err := os.WriteFile(filepath.Join(g.dir, "my-gitd/kustomization.yaml"), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// endPods ends what the apps left: Pods take minutes to drain.
const endPods = "for n in app-hello app-node app-python gitd-apps; do kubectl delete ksvc,revision,pods --all -n $n --grace-period=0 --force --ignore-not-found; done"

// otherRegistry is what the page has for the patch where images are to go to another registry, for one that speaks plain HTTP. It writes the
// credentials, too: the cluster's registry takes any.
func (g *guide) otherRegistry() string {
	g.t.Helper()
	g.in("The registry")
	blocks := strings.Split(g.section, "```\n")
	if len(blocks) != 5 {
		g.t.Fatal("the section has other examples than a Secret and a patch")
	}
	if err := os.MkdirAll(filepath.Join(g.dir, "home/.docker"), 0o700); err != nil {
		g.t.Fatal(err)
	}
	login := fmt.Appendf(nil, `{"auths":{%q:{"auth":"dXNlcjpwYXNzd29yZA=="}}}`, pullFrom)
	if err := os.WriteFile(filepath.Join(g.dir, "home/.docker/config.json"), login, 0o600); err != nil {
		g.t.Fatal(err)
	}
	return strings.ReplaceAll(blocks[3], "registry.example.com/team", pullFrom+"/"+g.team+"/apps") + `    - op: add
      path: /spec/template/spec/containers/0/args/-
      value: --registry-insecure
`
}

// remove takes everything off the cluster.
func (g *guide) remove() {
	g.stop()
	for _, line := range []string{
		endPods,
		"kubectl delete -k my-gitd --ignore-not-found --timeout=3m", "kubectl delete namespace app-hello app-node app-python gitd-apps gitd-system gitd-builds --ignore-not-found --timeout=3m",
		"kubectl delete clusterrole,clusterrolebinding gitd-apps --ignore-not-found"} {
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
		if out, err := g.shell(ctx, line).CombinedOutput(); err != nil {
			g.t.Errorf("%s: %v: %s", line, err, out)
		}
		cancel()
	}
}

// follow runs a command that does not end until it has printed something.
func (g *guide) follow(line, want string) {
	g.t.Helper()
	if !strings.Contains(g.section, "\n"+line+"\n") {
		g.t.Fatalf("the section does not say: %s", line)
	}
	g.done[line] = true
	ctx, cancel := context.WithTimeout(g.t.Context(), 15*time.Minute)
	defer cancel()
	c := g.shell(ctx, line)
	out, err := c.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		g.t.Fatal(err)
	}
	found := false
	lines := bufio.NewScanner(out)
	for !found && lines.Scan() {
		g.t.Log(lines.Text())
		found = strings.Contains(lines.Text(), want)
	}
	cancel()
	_ = c.Wait()
	if !found {
		g.explain()
		g.t.Fatalf("%s: no line with %q", line, want)
	}
}
