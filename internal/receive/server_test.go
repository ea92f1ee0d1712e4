package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/receive/pktline"
)

func stopGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGSTOP) }

func killGroupAndWait(c *exec.Cmd) {
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	_ = c.Wait()
}

func TestSource(t *testing.T) {
	fx := start(t, nil)
	dir := fx.work("src")
	for _, d := range []string{"bin", "lib/deep"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script := filepath.Join(dir, "bin", "run")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../bin/run", filepath.Join(dir, "lib", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("no-such-file", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("0123456789abcdef", 1<<18) // 4 MB
	fx.commit(dir, "lib/deep/big", big)
	fx.commit(dir, "odd \x1b name", "odd")
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		if err := p.Accept(); err != nil {
			return err
		}
		out := t.TempDir()
		if err := p.Source.Checkout(ctx, out, 1234, 5678); err != nil {
			return err
		}
		for name, mode := range map[string]os.FileMode{".": fs.ModeDir, "hello.txt": 0o644, "bin": fs.ModeDir | 0o755, "bin/run": 0o755,
			"lib/link": fs.ModeSymlink | 0o777, "dangling": fs.ModeSymlink | 0o777, "lib/deep/big": 0o644, "odd \x1b name": 0o644} {
			i, err := os.Lstat(filepath.Join(out, name))
			if err != nil {
				t.Error(err)
				continue
			}
			s := i.Sys().(*syscall.Stat_t)
			if name != "." && i.Mode() != mode || s.Uid != 1234 || s.Gid != 5678 {
				t.Errorf("%s: %v %d:%d", name, i.Mode(), s.Uid, s.Gid)
			}
		}
		if b, err := os.ReadFile(filepath.Join(out, "lib/deep/big")); err != nil || string(b) != big {
			t.Errorf("big: %d bytes, %v", len(b), err)
		}
		if b, err := p.Source.ReadFile("hello.txt", 100); err != nil || string(b) != "hello\n" {
			t.Errorf("%q %v", b, err)
		}
		for _, name := range []string{"nothing", "bin", "dangling", "../hello.txt", ""} {
			if _, err := p.Source.ReadFile(name, 100); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q: %v", name, err)
			}
		}
		if _, err := p.Source.ReadFile("hello.txt", 3); app.CodeOf(err) != app.CodeLimitExceeded {
			t.Error(err)
		}
		if b, err := p.Source.ReadFile("hello.txt", 6); err != nil || len(b) != 6 { // the process was started anew
			t.Errorf("%q %v", b, err)
		}
		if err := p.Source.Checkout(ctx, out, 0, 0); !errors.Is(err, fs.ErrExist) {
			t.Errorf("over what is there: %v", err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := p.Source.Checkout(ended, t.TempDir(), 0, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		return p.Source.Checkout(ctx, t.TempDir(), 0, 0)
	})
	fx.git(dir, "push", "platform", "main")
	fx.live("src", fx.git(dir, "rev-parse", "HEAD"))
	eventually(t, "no git process is left", func() bool { return len(children(fx.bare("src"))) == 0 })
}

func TestConcurrentPushes(t *testing.T) {
	fx := start(t, nil)
	dir := fx.work("both")
	other := filepath.Join(t.TempDir(), "other")
	fx.git("/", "clone", "-q", dir, other)
	one := fx.git(dir, "rev-parse", "HEAD")
	two := fx.commit(other, "two", "two")
	arrived := make(chan string, 2)
	var release sync.Map
	for _, c := range []string{one, two} {
		release.Store(c, make(chan struct{}))
	}
	fx.h.setDeploy(func(_ context.Context, p *Push) error {
		arrived <- p.Commit
		c, _ := release.Load(p.Commit)
		<-c.(chan struct{})
		return nil
	})
	push := func(dir string) chan error {
		done := make(chan error, 1)
		go func() {
			out, err := fx.try(dir, "push", fx.url("both"), "main")
			if err != nil {
				err = fmt.Errorf("%w\n%s", err, out)
			}
			done <- err
		}()
		return done
	}
	free := func(commit string) {
		c, _ := release.Load(commit)
		close(c.(chan struct{}))
	}
	first := push(dir)
	receiveOr(t, "the first deployment", arrived)
	second := push(other)
	receiveOr(t, "the second deployment beside it", arrived)
	free(two)
	if err := receiveOr(t, "the second push", second); err != nil {
		t.Error(err)
	}
	fx.refIs("both", two)
	free(one) // the older push must not move the ref back
	if err := receiveOr(t, "the first push", first); err != nil {
		t.Error(err)
	}
	fx.live("both", two)
}

// refIs checks the ref alone, while a push is under way.
func (fx *fixture) refIs(name, commit string) {
	fx.t.Helper()
	if got, err := fx.s.Live(name); err != nil || got != commit {
		fx.t.Errorf("live is %q (%v); it must be %q", got, err, commit)
	}
}

func TestSetLive(t *testing.T) {
	fx := start(t, nil)
	dir := fx.work("back")
	one := fx.git(dir, "rev-parse", "HEAD")
	if got, err := fx.s.Live("back"); got != "" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if err := fx.s.SetLive("back", one); app.CodeOf(err) != app.CodeNotFound {
		t.Error(err)
	}
	fx.git(dir, "push", "platform", "main")
	two := fx.commit(dir, "two", "two")
	fx.git(dir, "push", "platform", "main")
	if err := fx.s.SetLive("back", one); err != nil {
		t.Error(err)
	}
	fx.live("back", one)
	for _, bad := range []string{"", "main", strings.Repeat("12", 20), fx.git(dir, "rev-parse", "HEAD^{tree}"), "--help"} {
		if err := fx.s.SetLive("back", bad); app.CodeOf(err) != app.CodeNotFound {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := fx.s.SetLive("../x", one); app.CodeOf(err) != app.CodeInvalidName {
		t.Error(err)
	}
	if err := fx.s.SetLive("back", two); err != nil {
		t.Error(err)
	}
	fx.live("back", two)
	if err := fx.s.DeleteRepository("back"); err != nil {
		t.Error(err)
	}
	if err := fx.s.DeleteRepository("back"); err != nil {
		t.Error(err)
	}
	if found, _ := os.ReadDir(fx.s.opts.Dir); len(found) > 0 {
		t.Errorf("left: %v", found)
	}
	fx.git(dir, "push", "platform", "main")
	fx.live("back", two)
	// an app that was destroyed while its repository could not be: its past must not come back
	fx.h.mu.Lock()
	delete(fx.h.apps, "back")
	fx.h.mu.Unlock()
	mustHold(t, fx.git(dir, "push", "platform", "main"), "[new branch]")
	fx.live("back", two)
}

func TestNewCleansUp(t *testing.T) {
	fx := start(t, nil)
	dir := fx.work("crash")
	fx.git(dir, "push", "platform", "main")
	bare := fx.bare("crash")
	leftovers := []string{filepath.Join(bare, "objects/tmp_objdir-incoming-x/pack/tmp_pack_1"), filepath.Join(bare, "objects/pack/tmp_idx_x"),
		filepath.Join(bare, "refs/heads/main.lock"), filepath.Join(bare, "shallow.lock"), filepath.Join(bare, "objects/pack/pack-12.pack"),
		filepath.Join(fx.s.opts.Dir, ".new-1/HEAD"), filepath.Join(fx.s.opts.Dir, ".deleted-1/r/HEAD")}
	for _, f := range leftovers {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, nil, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(fx.s.opts); err != nil {
		t.Fatal(err)
	}
	for _, f := range leftovers {
		if _, err := os.Lstat(f); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", f)
		}
	}
	fx.live("crash", fx.git(dir, "rev-parse", "HEAD"))
}

func TestShutdown(t *testing.T) {
	fx := start(t, nil)
	dir := fx.work("down")
	started, ended := fx.waiting()
	out := make(chan string, 1)
	go func() { o, _ := fx.try(dir, "push", "platform", "main"); out <- o }()
	receiveOr(t, "the deployment starts", started)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := fx.s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := receiveOr(t, "the deployment is cancelled", ended); app.CodeOf(err) != app.CodeUnavailable {
		t.Error(err)
	}
	mustHold(t, receiveOr(t, "the client is told", out), "! [remote rejected] main -> main (the server is shutting down)")
	if n := fx.connections(); n > 0 {
		t.Errorf("%d connections are left", n)
	}
	fx.rejected(dir, nil, "push", "platform", "main")
}

func TestProgressOfLongTransfers(t *testing.T) {
	var b bytes.Buffer
	p := &transfer{log: app.NewLog(&b), title: "Receiving x (main 1234567)", next: time.Now().Add(time.Hour)}
	p.update("Indexing objects", 54000, 542000)
	if b.Len() > 0 {
		t.Error("too early")
	}
	p.next = time.Now()
	p.update("Indexing objects", 243900, 542000)
	p.update("Indexing objects", 250000, 542000)
	if got := b.String(); got != "-----> Receiving x (main 1234567)\n       Indexing objects:  45% (243k/542k)\n" {
		t.Errorf("%q", got)
	}
}

func TestSplit(t *testing.T) {
	for line, want := range map[string]string{
		"":                          "",
		"  a  b ":                   "a|b",
		"git-receive-pack '/hello'": "git-receive-pack|/hello",
		`x 'it'\''s' 'a'\!'b'`:      "x|it's|a!b",
		`x "a \"b\" \n $c" ''`:      `x|a "b" \n $c|`,
		`a\ b`:                      "a b",
	} {
		got, err := split(line)
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q: %q %v", line, got, err)
		}
	}
	for _, line := range []string{"'a", `"a`, `a\`, "a\x00", strings.Repeat("a ", 200), strings.Repeat("a", 10000)} {
		if got, err := split(line); err == nil {
			t.Errorf("%q: %q", app.Clip(line, 20), got)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"git-receive-pack '/hello'", `a "b\"c" 'd'\''e'`, "'", `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := split(line)
		if err != nil {
			return
		}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		joined := strings.Join(quoted, " ")
		if len(joined) > maxCommand {
			return
		}
		again, err := split(joined)
		if err != nil || strings.Join(again, "\x00") != strings.Join(words, "\x00") || len(again) != len(words) {
			t.Errorf("%q: %q, then %q (%v)", line, words, again, err)
		}
	})
}

func FuzzPushRequest(f *testing.F) {
	command := zeroID + " " + strings.Repeat("12", 20) + " refs/heads/main"
	f.Add(append(pktline.Append(nil, command+"\x00report-status side-band-64k push-options"), "00000007one0000"...))
	f.Add(append(pktline.Append(pktline.Append(nil, "shallow "+zeroID), command), "0000"...))
	f.Add([]byte("0000"))
	f.Add([]byte("0003"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		request, err := readPushRequest(&pktline.Reader{R: r})
		if err != nil || request == nil {
			return
		}
		if len(request.commands) == 0 {
			t.Fatal("a request without commands")
		}
		deploy := choose(request.commands, refMain, request.has("atomic"))
		for _, c := range request.commands {
			if (c == deploy) != (c.reason == "") {
				t.Errorf("%q: reason %q", c.name, c.reason)
			}
			if strings.ContainsAny(c.reason, "\n\x00") {
				t.Errorf("reason %q", c.reason)
			}
		}
	})
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte("100644 a\x0012345678901234567890"))
	f.Add([]byte("40000 .git\x0012345678901234567890"))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := parseTree(b)
		for _, e := range entries {
			if !filepath.IsLocal(e.path) || strings.Contains(e.path, "/") || strings.EqualFold(e.path, ".git") {
				t.Errorf("%q got through", e.path)
			}
		}
		_ = err
	})
}
