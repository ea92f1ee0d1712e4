package knative_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

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
