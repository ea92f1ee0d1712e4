package knative_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestInstall does what docs/install.md says of a cluster: it runs the commands of that page in their order, with this cluster's names in place of
// the examples', and sees an app live at the ingress. A command that is in the page and not run here fails the test.
func TestInstall(t *testing.T) {
	page := readPage(t)
	g := newGuide(t, page)

	g.in("What the cluster needs")
	g.run("kubectl get crd services.serving.knative.dev")
	g.run("kubectl -n knative-serving get configmap config-domain -o yaml", domain)

	g.in("Images")
	g.buildInstead("make build")
	g.run("bin/gitd image create --push registry.example.com/team/gitd:1", "is ready")
	g.run("bin/gitd builder create --push registry.example.com/team/builder:1", "builder:1 is ready")

	g.in("Inside the cluster")
	g.writeOverlay("../config/app-namespaces", "")
	t.Cleanup(g.remove)
	g.run("kubectl apply -k my-gitd")
	g.run("kubectl -n gitd-system rollout status statefulset/gitd --timeout=15m")
	g.follow("kubectl -n gitd-system logs gitd-0 -f", "Ready: ssh on")
	g.run("kubectl -n gitd-system exec -i gitd-0 -- gitd keys add laptop --admin < ~/.ssh/id_ed25519.pub", "Added key laptop")
	g.run("kubectl -n gitd-system get service gitd        # EXTERNAL-IP is where to push to", "LoadBalancer")
	g.forward()
	g.newApp("one")
	g.run("git remote add platform ssh://git@EXTERNAL-IP/hello")
	g.run("git push platform main", "is live")
	g.answers("hello.app-hello", "one")

	// Two more of what people do first, which the page does not spell out.
	requests := g.load("hello.app-hello")
	g.change("two")
	g.command("git push platform main", "is live")
	g.answers("hello.app-hello", "two")
	if asked, failed := requests(); failed > 0 || asked < 20 {
		t.Errorf("%d of %d requests failed while a new version went live", failed, asked)
	}
	g.command("kubectl get ksvc,revision -n app-hello", "hello-v2")
	g.example("node", "server.js")
	g.example("python", "app.py")

	g.in("Upgrading, and removing")
	g.run("bin/gitd image create --push registry.example.com/team/gitd:2", "is ready")
	requests = g.load("hello.app-hello")
	g.run("kubectl -n gitd-system set image statefulset/gitd gitd=registry.example.com/team/gitd:2")
	g.run("kubectl -n gitd-system rollout status statefulset/gitd --timeout=15m")
	if asked, failed := requests(); failed > 0 || asked < 20 {
		t.Errorf("%d of %d requests failed during the upgrade", failed, asked)
	}
	g.command("kubectl -n gitd-system get pod gitd-0 -o jsonpath='{.spec.containers[0].image}'", "gitd:2")
	g.forward()
	g.change("three") // builds on what the one before left, and nodes pull what the one before pushed
	g.command("git push platform main", "is live")
	g.answers("hello.app-hello", "three")
	g.run("kubectl -n gitd-system exec gitd-0 -- gitd apps destroy hello", "Destroyed hello")
	g.command("kubectl -n gitd-system exec gitd-0 -- gitd apps destroy node && kubectl -n gitd-system exec gitd-0 -- gitd apps destroy python", "Destroyed python")
	g.command("kubectl get namespaces", "!app-hello   Active")
	g.run("kubectl delete -k my-gitd")
	g.command(endPods)
	g.inline("kubectl delete namespace -l app.kubernetes.io/managed-by=gitd")
	g.command("kubectl get clusterrole,clusterrolebinding,namespace", "!gitd")

	// The default: rights in two namespaces, and no other. And images in another registry.
	g.writeOverlay("../config", g.otherRegistry())
	g.command("kubectl apply -k my-gitd")
	g.in("The registry")
	g.run("kubectl -n gitd-system create secret generic gitd-registry --from-file=config.json=$HOME/.docker/config.json")
	g.command("kubectl -n gitd-system rollout status statefulset/gitd --timeout=15m")
	g.command("kubectl auth can-i list secrets -n gitd-apps --as=system:serviceaccount:gitd-system:gitd", "yes")
	g.command("! kubectl auth can-i list secrets -n default --as=system:serviceaccount:gitd-system:gitd", "no")
	g.command("! kubectl auth can-i create namespaces --as=system:serviceaccount:gitd-system:gitd", "no")
	g.command("kubectl -n gitd-system exec -i gitd-0 -- gitd keys add laptop --admin < ~/.ssh/id_ed25519.pub", "Added key laptop")
	g.forward()
	g.command("git push platform main", "is live")
	g.answers("hello.gitd-apps", "three")
	g.command("kubectl -n gitd-apps get ksvc hello -o jsonpath='{.spec.template.spec.containers[0].image}'", pullFrom+"/"+g.team+"/apps/hello@sha256:")

	g.complete()
}

// readPage returns the part of docs/install.md that is about clusters.
func readPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, ok := strings.Cut(string(b), "\n# On a cluster\n")
	if !ok {
		t.Fatal("docs/install.md has no part about clusters")
	}
	return page
}

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

// explain logs what the cluster says, for whoever reads why the test failed.
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
// names of apps are nobody's.
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

var forwarding = regexp.MustCompile(`Forwarding from (127\.0\.0\.1:\d+)`)

// forward makes gitd's SSH service reachable from here, on a port that is free, and points the app's remote there. The page names the command in
// its text, with a port of its own.
func (g *guide) forward() {
	g.t.Helper()
	if !strings.Contains(g.page, "`kubectl -n gitd-system port-forward service/gitd 2222:22`") {
		g.t.Fatal("the page does not say how to forward a port")
	}
	g.stop()
	ctx, cancel := context.WithCancel(context.Background())
	c := g.shell(ctx, "exec kubectl -n gitd-system port-forward service/gitd :22")
	out, err := c.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		g.t.Fatal(err)
	}
	var ended sync.WaitGroup
	g.stop = sync.OnceFunc(func() { cancel(); ended.Wait(); _ = c.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := forwarding.FindStringSubmatch(lines.Text()); m != nil {
			g.ssh = m[1]
			break
		}
	}
	ended.Go(func() { _, _ = io.Copy(io.Discard, out) })
	if g.ssh == "" {
		g.t.Fatal("kubectl port-forward ended")
	}
	if _, err := os.Stat(filepath.Join(g.dir, "hello/.git")); err == nil {
		g.command("git remote set-url platform ssh://git@EXTERNAL-IP/hello")
	}
}

// newApp writes an app that answers with a word, and commits it.
func (g *guide) newApp(word string) {
	g.t.Helper()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(g.dir, "hello", name), []byte(text), 0o600); err != nil {
			g.t.Fatal(err)
		}
	}
	g.quick("hello")
	write("go.mod", "module example.com/hello\n\ngo 1.26\n")
	write("main.go", `package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, word) })
	fmt.Println(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
`)
	g.command("git init -q -b main")
	g.change(word)
}

// example pushes an example app, and a one-line change of it while it is asked all the time.
func (g *guide) example(name, source string) {
	g.t.Helper()
	dir := filepath.Join(g.dir, name)
	if err := os.CopyFS(dir, os.DirFS("../../examples/"+name)); err != nil {
		g.t.Fatal(err)
	}
	g.quick(name)
	git := "cd " + name + " && git "
	g.command(git + "init -q -b main && git add -A && git commit -qm one && git remote add platform ssh://git@EXTERNAL-IP/" + name)
	g.command(git+"push platform main", "is live")
	g.says(name, "v1")
	requests := g.load(name + ".app-" + name)
	g.command("cd " + name + " && sed -i s/v1/v2/ " + source + " && git commit -qam two")
	g.command(git+"push platform main", "is live")
	g.says(name, "v2")
	if asked, failed := requests(); failed > 0 || asked < 20 {
		g.t.Errorf("%s: %d of %d requests failed while a new version went live", name, failed, asked)
	}
}

// says sees a word in what an example answers at the ingress.
func (g *guide) says(name, word string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	if got, err := ask(ctx, name+".app-"+name); err != nil || !strings.Contains(got, word) {
		g.explain()
		g.t.Fatalf("%s answers %q, %v; want %q in it", name, got, err, word)
	}
}

// quick lets an app's Pods end within seconds. A namespace goes only some minutes after Pods that may take minutes.
func (g *guide) quick(app string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, app, "project.toml"), []byte("[io.gitd.web]\ntimeout = \"10s\"\n"), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// change makes the app answer with another word.
func (g *guide) change(word string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, "hello/word.go"), fmt.Appendf(nil, "package main\n\nconst word = %q\n", word), 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.command("git add -A && git commit -qm " + word)
}

// answers sees the app's word at the ingress.
func (g *guide) answers(app, want string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	got, err := ask(ctx, app)
	if err != nil || got != want {
		g.explain()
		g.t.Fatalf("%s answers %q, %v; want %q", app, got, err, want)
	}
	g.t.Logf("%s.%s answers %q", app, domain, got)
}

// load asks the app all the time, until end is called.
func (g *guide) load(app string) (end func() (asked, failed int64)) {
	ctx, cancel := context.WithCancel(g.t.Context())
	var asked, failed atomic.Int64
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for ctx.Err() == nil {
				one, done := context.WithTimeout(context.Background(), time.Minute)
				_, err := ask(one, app)
				done()
				asked.Add(1)
				if err != nil {
					failed.Add(1)
					g.t.Logf("a request failed: %v", err)
				}
				select { // a pace that leaves the machine to others
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	return func() (int64, int64) {
		cancel()
		running.Wait()
		g.t.Logf("%d requests meanwhile, %d failed", asked.Load(), failed.Load())
		return asked.Load(), failed.Load()
	}
}

// elsewhere are the sections whose commands need another cluster than the tests have (other tests do what they say), or that are part of the overlay.
var elsewhere = []string{"Outside the cluster", "The registry", "A proxy, mirrors, a certificate authority of your own"}

// complete fails where the page has a command that was not run.
func (g *guide) complete() {
	g.t.Helper()
	for section := range strings.SplitSeq(g.page, "\n## ") {
		title, text, _ := strings.Cut(section, "\n")
		known := false
		for _, e := range elsewhere {
			known = known || title == e
		}
		if known {
			continue
		}
		for i, block := range strings.Split(text, "```") {
			if i%2 == 0 || strings.Contains(block, "kustomization.yaml\n") {
				continue
			}
			for line := range strings.SplitSeq(strings.TrimSpace(block), "\n") {
				if line != "" && !g.done[line] {
					g.t.Errorf("%s: this is not run: %s", title, line)
				}
			}
		}
	}
	if g.t.Failed() {
		g.t.Error(errors.New("TestInstall and docs/install.md say different things"))
	}
}
