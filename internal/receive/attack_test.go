package receive

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gitd-io/gitd/internal/gittest"
)

// TestFrozenInMidPush stops git, ssh and all when a part of the pack has been sent.
func TestFrozenInMidPush(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("push", func(t *testing.T) {
		fx := start(t, func(o *options) {
			o.ssh.HandshakeTimeout, o.ssh.IdleTimeout, o.ssh.KeepAlive = 2*time.Second, time.Second, 100*time.Millisecond
		})
		fx.h.setDeploy(func(context.Context, *Push) error { return errors.New("must not be deployed") })
		dir := fx.Work("frozen")
		junk := make([]byte, 4<<20)
		_, _ = rand.Read(junk)
		fx.Commit(dir, "junk", string(junk))
		fx.Write("freeze", "#!/bin/sh\n{ head -c 1000000; kill -STOP 0; cat; } | ssh \"$@\"\n")
		git := fx.Cmd(dir, "git", "push", "platform", "main")
		for i, v := range git.Env {
			if rest, ok := strings.CutPrefix(v, "GIT_SSH_COMMAND=ssh "); ok {
				git.Env[i] = "GIT_SSH_COMMAND=sh " + filepath.Join(fx.Home, "freeze") + " " + rest
			}
		}
		git.Env = append(git.Env, "GIT_SSH_VARIANT=ssh")
		if err := git.Start(); err != nil {
			t.Fatal(err)
		}
		defer gittest.KillGroup(git)
		fx.Logged("cut off: the client has not answered for 1s")
		fx.Logged("push frozen", "key=laptop")
		gittest.Eventually(t, "no git process is left", func() bool { return len(gittest.Children(fx.bare("frozen"))) == 0 })
		gittest.Eventually(t, "its place is free", func() bool { return fx.s.Connections() == 0 })
		fx.live("frozen", "")
		if n := fx.h.count(); n > 0 {
			t.Errorf("%d pushes were deployed", n)
		}
	})
	gittest.NoMoreGoroutines(t, before)
}

// TestFiftyPushesAtOnce holds 50 pushes, to many apps and to one, in their deployments all at the same time.
func TestFiftyPushesAtOnce(t *testing.T) {
	const pushes, apps = 50, 40
	fx := start(t, func(o *options) { o.ssh.HandshakeTimeout = 2 * time.Minute; o.ssh.IdleTimeout = 2 * time.Minute })
	arrived, release := make(chan struct{}, pushes), make(chan struct{})
	fx.h.setDeploy(func(ctx context.Context, p *Push) error {
		arrived <- struct{}{}
		select {
		case <-release:
			return p.Accept()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	dir := fx.Work("many")
	junk := make([]byte, 1<<20)
	_, _ = rand.Read(junk)
	commit := fx.Commit(dir, "junk", string(junk))
	heap := gittest.HeapInUse()
	gittest.ResetPeak()
	rss := gittest.Memory(t, "VmHWM")
	type done struct {
		app, out string
		err      error
	}
	ended := make(chan done, pushes)
	for i := range pushes {
		name := fmt.Sprint("app-", min(i, apps-1)) // the last ones all go to one app
		go func() {
			out, err := fx.Try(dir, "push", fx.URL(name), "main")
			ended <- done{name, out, err}
		}()
	}
	for range pushes {
		select {
		case <-arrived:
		case d := <-ended:
			t.Fatalf("%s: %v\n%s", d.app, d.err, d.out)
		case <-time.After(2 * time.Minute):
			t.Fatal("not all pushes get to their deployment")
		}
	}
	grown, peak := gittest.HeapInUse()-heap, gittest.Memory(t, "VmHWM")-rss
	t.Logf("%d pushes: %d KB of heap and stacks each, %d MB of memory at the peak", pushes, grown/pushes>>10, peak>>20)
	if grown > 64<<20 || peak > 512<<20 {
		t.Errorf("%d MB of heap, %d MB at the peak", grown>>20, peak>>20)
	}
	close(release)
	for range pushes {
		if d := <-ended; d.err != nil {
			t.Errorf("%s: %v\n%s", d.app, d.err, d.out)
		}
	}
	for i := range apps {
		if i%13 == 0 || i == apps-1 {
			fx.live(fmt.Sprint("app-", i), commit)
		}
	}
	gittest.Eventually(t, "their places are free", func() bool { return fx.s.Connections() == 0 })
}

// TestPushBesideAnIdleCrowd has all places taken by connections that ask for nothing.
func TestPushBesideAnIdleCrowd(t *testing.T) {
	const crowd = 100
	fx := start(t, func(o *options) { o.ssh.MaxConnections = crowd; o.ssh.MaxPerAddress = -1 })
	key := fx.Signer(fx.Key)
	for i := range crowd {
		if _, err := fx.DialFrom(fmt.Sprint("127.0.1.", i%10), key); err != nil {
			t.Fatal(err)
		}
	}
	gittest.Eventually(t, "all are there", func() bool { return fx.s.Connections() == crowd })
	dir := fx.Work("served")
	fx.Git(dir, "push", "platform", "main")
	fx.live("served", fx.Git(dir, "rev-parse", "HEAD"))
}
