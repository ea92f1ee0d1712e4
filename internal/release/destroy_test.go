package release

import (
	"context"
	"strings"
	"testing"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
)

// slowDelete is a platform whose Delete waits.
type slowDelete struct {
	deploy.Platform
	deleting, proceed chan struct{}
}

func (p *slowDelete) Delete(ctx context.Context, _ string) error {
	p.deleting <- struct{}{}
	<-p.proceed
	return ctx.Err()
}

func (p *slowDelete) Describe(context.Context, string) ([]deploy.RevisionStatus, error) {
	return nil, deploy.ErrNotFound
}

// While an app is being destroyed nothing enters it: a push, a rollback and a second destroy are refused in words. The release that was under way
// is stopped. Who asked to destroy it may leave.
func TestAttack_PushWhileDestroyed(t *testing.T) {
	p := &slowDelete{deleting: make(chan struct{}), proceed: make(chan struct{})}
	building := make(chan struct{}, 1)
	m := newMachine(t, builderFunc(func(ctx context.Context, _ build.Request) (*build.Result, error) {
		building <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}), func(o *Options) {
		o.Platform = p
		o.Images = make(collected, 10)
		o.Remove = func(ctx context.Context, _ app.App) error { return ctx.Err() }
	})
	past(t, m, "hello", app.StateLive, "hello-v1")
	past(t, m, "hello", app.StateReady, "hello-v2")
	under := make(chan error, 1)
	go func() { _, err := push(t.Context(), m, "hello", "c"); under <- err }()
	<-building
	ctx, leave := context.WithCancel(t.Context())
	destroyed := make(chan error, 1)
	go func() { destroyed <- m.Destroy(ctx, app.Root, "hello") }()
	if err := <-under; app.CodeOf(err) != app.CodeSuperseded || !strings.Contains(err.Error(), "destroyed") {
		t.Fatal(err)
	}
	<-p.deleting
	leave()
	refused := func(what string, err error) {
		t.Helper()
		if app.CodeOf(err) != app.CodeUnavailable || !strings.Contains(err.Error(), "the app hello is being destroyed") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := push(t.Context(), m, "hello", "d")
	refused("push", err)
	_, err = dryRun(t.Context(), m, "hello", "d")
	refused("dry run", err)
	log := app.NewLog(&strings.Builder{})
	_, err = m.Rollback(t.Context(), app.Root, "hello", 1, log)
	refused("rollback", err)
	_, err = m.Promote(t.Context(), app.Root, "hello", 2, log)
	refused("promotion", err)
	refused("destroy", m.Destroy(t.Context(), app.Root, "hello"))
	close(p.proceed)
	if err := <-destroyed; err != nil {
		t.Fatal(err)
	}
	if _, err := m.o.Store.App(t.Context(), "hello"); app.CodeOf(err) != app.CodeNotFound {
		t.Fatal(err)
	}
	if err := m.Destroy(t.Context(), app.Root, "hello"); app.CodeOf(err) != app.CodeNotFound {
		t.Error("a second time:", err)
	}
}

// A key loses its right while its release builds: the release does not go live.
func TestAttack_RightGoneInTheBuild(t *testing.T) {
	m := newMachine(t, builderFunc(func(context.Context, build.Request) (*build.Result, error) {
		return &build.Result{Repository: "hello", Digest: "sha256:1", Processes: []app.Process{{Type: "web"}}}, nil
	}), nil)
	k := app.Key{Name: "temp", Fingerprint: "SHA256:temp"}
	if err := m.o.Store.AddKey(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	k, err := m.o.Store.KeyByName(t.Context(), "temp")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.o.Store.Enter(t.Context(), app.Caller{Key: k}, app.Release{App: "hello", Commit: "c", Ref: "refs/heads/main"})
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{m: m, by: app.Caller{Key: k}, release: r}
	if err := d.allowed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.o.Store.RemoveKey(t.Context(), "temp"); err != nil {
		t.Fatal(err)
	}
	if err := d.allowed(t.Context()); app.CodeOf(err) != app.CodeForbidden || !strings.Contains(err.Error(), "the key temp was removed") {
		t.Fatal(err)
	}
}
