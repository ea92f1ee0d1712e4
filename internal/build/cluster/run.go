package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/kube"
)

// running is one build: this engine's part of a session.
type running struct {
	*Engine
	*lifecycle.Session

	before  string        // digest of the previous image; "" if there is none
	name    string        // of the Pod
	asked   time.Time     // when the cluster was asked for it
	sending time.Duration // that handing the source over took
	watched *watched
}

// Build implements build.Builder.
func (e *Engine) Build(ctx context.Context, r build.Request) (*build.Result, error) {
	return e.sessions.Run(ctx, r, &running{Engine: e})
}

// Ended implements lifecycle.Work: a Pod is removed where its attempt ends.
func (b *running) Ended(context.Context, *lifecycle.Session, error) {}

// Run implements lifecycle.Work. The app's lock is held until nothing of the build is under way any more, which may be after Run has returned.
func (b *running) Run(ctx context.Context, s *lifecycle.Session) error {
	b.Session = s
	dir, err := os.MkdirTemp(b.home, b.Request.App+"-")
	if err != nil {
		return app.Errorf(app.CodeUnavailable, "ask the operator to look at the server's disk", "the source cannot be written: %w", err)
	}
	unused := make(chan struct{})
	b.after.Go(func() { // the tree may hold very many files: no build waits for its end
		<-unused
		_ = disk.RemoveAll(dir)
	})
	defer close(unused)
	source, stop := b.checkOut(ctx, dir)
	defer stop()
	tags, err := b.o.Images.Tags(b.Request.App)
	if err != nil {
		return err
	}
	b.before = lifecycle.Newest(tags)
	deliver, err := b.delivery(dir, source)
	if err != nil {
		return err
	}
	claim := ""
	if b.o.StorageClass != "" {
		if claim, err = b.claim(ctx, b.Request.App, b.Limits.Cache); err != nil {
			return err
		}
	}
	for try := 1; ; try++ {
		err := b.attempt(ctx, deliver, claim)
		var broken *brokenDelivery
		if !errors.As(err, &broken) {
			return err
		}
		if try == 3 {
			return app.Errorf(app.CodeUnavailable, "push again; where it fails again, look at the cluster's API server", "the source could not be handed to the build's Pod: %s", lifecycle.Clip(broken.Error()))
		}
		b.Request.Log.Detail("the connection to the build's Pod broke before the source was there: once more")
	}
}

// checkOut begins to write the source to dir. Where that fails, the build is cancelled. stop ends it, and waits for its end.
func (b *running) checkOut(ctx context.Context, dir string) (c *checkout, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	c = &checkout{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		began := time.Now()
		c.err = b.Request.Source.Checkout(ctx, dir, os.Getuid(), os.Getgid())
		b.Result.Times.Checkout = time.Since(began)
		b.Took("checkout", began, c.err != nil)
		if c.err != nil {
			b.Cancel(c.err)
		}
	}()
	return c, func() {
		cancel()
		<-c.done
	}
}

// brokenDelivery is why a Pod did not get the source. Another one may.
type brokenDelivery struct{ error }

// attempt builds in one Pod.
func (b *running) attempt(ctx context.Context, deliver *delivery, claim string) error {
	random, err := lifecycle.RandomHex(3)
	if err != nil {
		return err
	}
	job := b.job(b.Request, b.Limits, b.before, b.Marker)
	if job.Order, err = b.Order(b.o.Builder.Buildpacks); err != nil {
		return err
	}
	job.AppDir = b.Request.AppDir
	pod, err := b.pod(spec{
		name: fmt.Sprintf("build-%s-v%d-%s", b.Request.App, b.Request.Version, random),
		app:  b.Request.App, version: b.Request.Version, limits: b.Limits, job: job, claim: claim,
	})
	if err != nil {
		return err
	}
	u, err := kube.Unstructured(pod)
	if err != nil {
		return err
	}
	b.name, b.watched, b.asked = pod.Name, &watched{changed: make(chan struct{})}, time.Now()
	asked := app.WithNotice(ctx, b.Request.Log.Detail)
	_, err = b.o.Client.Resource(pods, b.o.Namespace).Create(asked, u, metav1.CreateOptions{FieldManager: kube.FieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) { // no other Pod has the name: an answer was lost
		b.removeNow(ctx) // it may have got through
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return kube.Explain(err, "start the build's Pod")
	}
	var watchers sync.WaitGroup
	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	judging, acquit := context.WithCancel(ctx)
	watchers.Go(func() { b.follow(watching, b.watched, b.name, b.Cancel) })
	watchers.Go(func() { b.judge(judging) })

	exported, err := b.phases(ctx, deliver)
	acquit()
	if err != nil {
		b.remove(ctx)
		unwatch()
		watchers.Wait()
		return err
	}
	release := b.Hold()
	b.after.Go(func() { // the cache is being written: only the next build of the app waits for it
		defer release()
		<-exported
		b.removeNow(ctx)
		unwatch()
		watchers.Wait()
	})
	return nil
}

// delivery puts together what the Pod gets.
func (b *running) delivery(dir string, source *checkout) (*delivery, error) {
	credentials, err := b.o.Images.PushConfig(b.o.Push, b.Request.App, cacheRepository(b.Request.App))
	if err != nil {
		return nil, err
	}
	d := &delivery{credentials: credentials, proxies: map[string]string{}, bundle: lifecycle.HostBundle(), dir: dir, source: source}
	for _, n := range phase.Proxies {
		if v := os.Getenv(n); v != "" {
			d.proxies[n] = v
		}
	}
	var at lifecycle.Places
	if d.bundle != "" {
		at.Bundle = wire.Bundle
	}
	if b.o.StorageClass != "" {
		at.Cache = wire.BuildCache
	}
	d.env, err = lifecycle.PlatformEnv(b.Request.Environment(), at, os.LookupEnv)
	return d, err
}

// judge ends the build when the Pod's state says that it cannot go on.
func (b *running) judge(ctx context.Context) {
	j := &judge{limits: b.Limits, schedule: b.schedule, pull: b.Engine.pull, note: b.Request.Log.Detail}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		p, gone, changed := b.watched.get()
		if err := j.verdict(p, gone, time.Now()); err != nil {
			b.Cancel(err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// phases follows the containers, one after the other. The channel it returns is closed when the last one has nothing more to say.
func (b *running) phases(ctx context.Context, d *delivery) (<-chan struct{}, error) {
	began := time.Now()
	err := b.prepare(ctx, d)
	b.Took("analyze", began, err != nil)
	if err != nil {
		return nil, err
	}
	if err := b.detectAndBuild(ctx); err != nil {
		return nil, err
	}
	began = time.Now()
	done, err := b.export(ctx)
	b.Took("export", began, err != nil)
	return done, err
}

// remove ends the Pod, and returns when nothing of it runs any more, or gitd cannot know.
func (b *running) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(kube.WithRetryTime(context.WithoutCancel(ctx), 5*time.Second), 20*time.Second)
	defer cancel()
	// With a grace of 1 s, the least there is, the node itself removes the Pod when its containers have ended.
	if err := b.deletePod(ctx, b.name, 1); err != nil {
		b.o.Log("build of %s v%d: its Pod %s is left: %v", b.Request.App, b.Request.Version, b.name, err)
		return
	}
	soon, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	if _, err := b.watched.wait(soon, func(*corev1.Pod) bool { return false }); err != nil {
		if err := b.deletePod(ctx, b.name, 0); err != nil {
			b.o.Log("build of %s v%d: its Pod %s is left: %v", b.Request.App, b.Request.Version, b.name, err)
		}
	}
}

// removeNow removes a Pod in which nothing is under way.
func (b *running) removeNow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(kube.WithRetryTime(context.WithoutCancel(ctx), 10*time.Second), 30*time.Second)
	defer cancel()
	if err := b.deletePod(ctx, b.name, 0); err != nil {
		b.o.Log("build of %s v%d: its Pod %s is left: %v", b.Request.App, b.Request.Version, b.name, err)
	}
}
