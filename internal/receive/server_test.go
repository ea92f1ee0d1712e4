package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/gittest"
	"github.com/gitd-io/gitd/internal/pktline"
	"github.com/gitd-io/gitd/internal/repository"
)

func TestSource(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("src")
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
	fx.Commit(dir, "lib/deep/big", big)
	fx.Commit(dir, "odd \x1b name", "odd")
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
		if b, err := p.Source.ReadFile("hello.txt", 6); err != nil || len(b) != 6 { // the process was started again
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
	fx.Git(dir, "push", "platform", "main")
	fx.live("src", fx.Git(dir, "rev-parse", "HEAD"))
	gittest.Eventually(t, "no git process is left", func() bool { return len(gittest.Children(fx.bare("src"))) == 0 })
}

func TestConcurrentPushes(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("both")
	other := filepath.Join(t.TempDir(), "other")
	fx.Git("/", "clone", "-q", dir, other)
	one := fx.Git(dir, "rev-parse", "HEAD")
	two := fx.Commit(other, "two", "two")
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
			out, err := fx.Try(dir, "push", fx.URL("both"), "main")
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
	gittest.Receive(t, "the first deployment", arrived)
	second := push(other)
	gittest.Receive(t, "the second deployment beside it", arrived)
	free(two)
	if err := gittest.Receive(t, "the second push", second); err != nil {
		t.Error(err)
	}
	fx.refIs("both", two)
	free(one) // the older push must not move the ref back
	if err := gittest.Receive(t, "the first push", first); err != nil {
		t.Error(err)
	}
	fx.live("both", two)
}

// refIs checks the ref alone, while a push is under way.
func (fx *fixture) refIs(name, commit string) {
	fx.T.Helper()
	if got, err := fx.repos.Live(app.App{Name: name}); err != nil || got != commit {
		fx.T.Errorf("live is %q (%v); it must be %q", got, err, commit)
	}
}

func TestSetLive(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("back")
	one := fx.Git(dir, "rev-parse", "HEAD")
	if got, err := fx.repos.Live(app.App{Name: "back"}); got != "" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if err := fx.repos.SetLive(app.App{Name: "back"}, one); app.CodeOf(err) != app.CodeNotFound {
		t.Error(err)
	}
	fx.Git(dir, "push", "platform", "main")
	two := fx.Commit(dir, "two", "two")
	fx.Git(dir, "push", "platform", "main")
	if err := fx.repos.SetLive(app.App{Name: "back"}, one); err != nil {
		t.Error(err)
	}
	fx.live("back", one)
	if err := fx.repos.SetLive(app.App{Name: "back"}, ""); err != nil { // of an image from elsewhere, which has no commit
		t.Error(err)
	}
	fx.live("back", "")
	if err := fx.repos.SetLive(app.App{Name: "back"}, one); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"main", strings.Repeat("12", 20), fx.Git(dir, "rev-parse", "HEAD^{tree}"), "--help"} {
		if err := fx.repos.SetLive(app.App{Name: "back"}, bad); app.CodeOf(err) != app.CodeNotFound {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := fx.repos.SetLive(app.App{Name: "../x"}, one); app.CodeOf(err) != app.CodeInvalidName {
		t.Error(err)
	}
	if err := fx.repos.SetLive(app.App{Name: "back"}, two); err != nil {
		t.Error(err)
	}
	fx.live("back", two)
	if err := fx.repos.Delete("back"); err != nil {
		t.Error(err)
	}
	if err := fx.repos.Delete("back"); err != nil {
		t.Error(err)
	}
	if found, _ := os.ReadDir(fx.dir); len(found) > 0 {
		t.Errorf("left: %v", found)
	}
	fx.Git(dir, "push", "platform", "main")
	fx.live("back", two)
	// an app that was destroyed while its repository could not be: its past must not come back
	fx.h.mu.Lock()
	delete(fx.h.apps, "back")
	fx.h.mu.Unlock()
	gittest.MustHold(t, fx.Git(dir, "push", "platform", "main"), "[new branch]")
	fx.live("back", two)
}

func TestShutdown(t *testing.T) {
	fx := start(t, nil)
	dir := fx.Work("down")
	started, ended := fx.waiting()
	out := make(chan string, 1)
	go func() { o, _ := fx.Try(dir, "push", "platform", "main"); out <- o }()
	gittest.Receive(t, "the deployment starts", started)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := fx.s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := gittest.Receive(t, "the deployment is cancelled", ended); app.CodeOf(err) != app.CodeUnavailable {
		t.Error(err)
	}
	gittest.MustHold(t, gittest.Receive(t, "the client is told", out), "! [remote rejected] main -> main (the server is shutting down)")
	if n := fx.s.Connections(); n > 0 {
		t.Errorf("%d connections are left", n)
	}
	fx.Rejected(dir, nil, "push", "platform", "main")
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

func FuzzPushRequest(f *testing.F) {
	command := repository.ZeroID + " " + strings.Repeat("12", 20) + " refs/heads/main"
	f.Add(append(pktline.Append(nil, command+"\x00report-status side-band-64k push-options"), "00000007one0000"...))
	f.Add(append(pktline.Append(pktline.Append(nil, "shallow "+repository.ZeroID), command), "0000"...))
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
		deploy := choose(request.commands, here{live: repository.RefMain}, request.has("atomic"))
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
