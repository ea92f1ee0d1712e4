package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// container is the one that detects and builds. It starts before the source is there, and waits for a line on its input.
type container struct {
	b     *running
	begin *io.PipeWriter // its input
	end   context.CancelCauseFunc
	ended chan struct{}  // closed when nothing of it runs any more, or when it did not start
	gone  chan struct{}  // closed when it is removed
	watch sync.WaitGroup // of what it uses

	// Valid once ended is closed.
	ran  bool // to its end
	exit sandbox.Exit
	err  error // why it did not run; else why it could not be removed, valid once gone is closed
}

var errNotNeeded = errors.New("the container is not needed any more")

// startContainer starts the container, and watches over what it uses.
func (b *running) startContainer(ctx context.Context) (*container, error) {
	out := b.Detect(func() (phase.Group, error) { return phase.ReadGroup(b.in("layers")) })
	spec, err := b.container()
	if err != nil {
		return nil, err
	}
	in, begin := io.Pipe()
	c := &container{b: b, begin: begin, ended: make(chan struct{}), gone: make(chan struct{})}
	ctx, c.end = context.WithCancelCause(ctx)
	c.watch.Go(func() {
		dirs := []string{b.in("workspace"), b.in("layers"), b.in("tmp"), b.in("places"), b.cacheDir()}
		b.Engine.watch(ctx, b.Limits, dirs, out, b.Cancel)
	})
	go func() {
		defer close(c.gone)
		_, c.err = b.opts.Host.Attach(ctx, spec, sandbox.Streams{Stdin: in, Stdout: out, Stderr: out, Ended: func(e sandbox.Exit) {
			c.exit, c.ran = e, true
			close(c.ended)
		}})
		_ = in.CloseWithError(errNotNeeded)
		if !c.ran {
			close(c.ended)
		}
	}()
	return c, nil
}

// stop ends the container, and returns when it is gone.
func (c *container) stop() {
	c.end(errNotNeeded)
	<-c.gone
	c.watch.Wait()
	_ = c.begin.Close()
	if c.ran && c.err != nil {
		c.b.opts.Log("build %s: its container cannot be removed: %v", c.b.name, c.err)
	}
}

// detectAndBuild lets the container begin, and returns when it has ended. It is removed beside what comes next.
func (c *container) detectAndBuild(ctx context.Context) error {
	b := c.b
	b.Detecting()
	_, _ = io.WriteString(c.begin, "\n") // one that has ended says why
	<-c.ended
	c.end(errNotNeeded) // nothing runs any more: it ends the watch
	c.watch.Wait()
	if stopped := b.Built(ctx); stopped != nil {
		return stopped
	}
	if !c.ran {
		return fmt.Errorf("run the build's container: %w", c.err)
	}
	if exit := c.exit; exit.Code != 0 || exit.Signal != "" {
		return b.Failed(lifecycle.Exit{Code: exit.Code, Signal: exit.Signal, OutOfMemory: exit.OutOfMemory})
	}
	return nil
}

// container says what the container is.
func (b *running) container() (sandbox.Spec, error) {
	mounts := []sandbox.Mount{
		{Source: b.in("workspace"), Target: wire.Workspace},
		{Source: b.in("layers"), Target: wire.Layers},
		{Source: b.in("platform"), Target: "/platform", ReadOnly: true},
		{Source: b.cacheDir(), Target: cacheMount},
		{Source: b.in("tmp"), Target: "/tmp"}, // on the disk, under its limit: compilers fill it
	}
	if b.secrets != "" {
		mounts = append(mounts, sandbox.Mount{Source: b.secrets, Target: "/platform/env", ReadOnly: true})
	}
	if b.shared != nil {
		mounts = append(mounts, sandbox.Mount{Source: b.shared.all, Target: sharedMount, ReadOnly: true})
	}
	for _, p := range b.places {
		mounts = append(mounts, sandbox.Mount{Source: p.source, Target: p.target})
	}
	if b.phases != "" {
		mounts = append(mounts, sandbox.Mount{Source: b.phases, Target: phasesMount, ReadOnly: true})
	}
	s, _, err := b.builderContainer(b.name, b.owner, b.Limits, mounts)
	s.Labels = map[string]string{"app": b.Request.App, "kind": "build"}
	s.Writable = true
	s.Args = b.command()
	s.Dir = wire.Workspace // the app's folder need not be there yet
	return s, err
}

// command runs detector and builder one after the other: by gitd-phases, or by the builder's own lifecycle where that is another. Both log at debug
// level: Output picks what people see.
func (b *running) command() []string {
	order := ""
	if len(b.Request.Buildpacks) > 0 {
		order = "/platform/" + orderFile
	}
	if b.phases != "" {
		return []string{phasesMount, "-marker", b.Marker, "-app", b.appDir(), "-order", order}
	}
	arguments := " -log-level debug -app " + quote(b.appDir()) + " -layers /layers -platform /platform"
	if order != "" {
		order = " -order " + order
	}
	return []string{"/bin/sh", "-c", "read -r begin || exit 1\n" +
		"/cnb/lifecycle/detector" + arguments + order + "; code=$?\n" +
		"echo; echo \"" + b.Marker + " detected $code\"\n" +
		"[ $code -eq 0 ] || exit $code\n" +
		"/cnb/lifecycle/builder" + arguments + "; exit $?"}
}

// orderFile is in the platform directory where the app says which buildpacks take part.
const orderFile = "order.toml"

// quote writes a word for the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
