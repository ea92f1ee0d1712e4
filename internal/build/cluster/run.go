package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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

// running is one build.
type running struct {
	*Engine
	request  build.Request
	limits   build.Limits
	began    time.Time
	progress *lifecycle.Progress
	output   *lifecycle.Output
	result   build.Result

	before string // digest of the image before; "" where there is none
	cancel context.CancelCauseFunc

	name    string        // of the Pod
	asked   time.Time     // when the cluster was asked for it
	sending time.Duration // that handing the source over took
	watched *watched
}

// Build implements build.Builder.
func (e *Engine) Build(ctx context.Context, r build.Request) (*build.Result, error) {
	if n, err := app.ParseName(r.App); err != nil {
		return nil, err
	} else if n != r.App {
		return nil, app.Errorf(app.CodeInvalidName, "use the name "+n, "invalid app name %q", r.App)
	}
	release, err := e.locks.Acquire(ctx, r.App, func() { r.Log.Detail("waiting for the build before this one to end") })
	if err != nil {
		return nil, fmt.Errorf("build of %s v%d stopped: %w", r.App, r.Version, err)
	}
	release = sync.OnceFunc(release)
	b := &running{Engine: e, request: r, limits: r.Limits.WithDefaults(), began: time.Now(), progress: lifecycle.NewProgress(r.Log, e.patience)}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b.cancel = cancel
	timer := time.AfterFunc(b.limits.Time, func() { cancel(lifecycle.ErrTime) })
	defer timer.Stop()
	if err := b.run(inner, release); err != nil {
		release()
		return nil, lifecycle.Ended(ctx, inner, r, b.limits, b.progress.Phase(), err)
	}
	return &b.result, nil
}

// run builds, and calls release when nothing of it is under way any more, which may be after it has returned.
func (b *running) run(ctx context.Context, release func()) error {
	stop := make(chan struct{})
	var beside sync.WaitGroup
	defer beside.Wait()
	defer close(stop)
	beside.Go(func() { b.progress.Show(stop) })

	dir, err := os.MkdirTemp(b.home, b.request.App+"-")
	if err != nil {
		return app.Errorf(app.CodeUnavailable, "ask the operator to look at the server's disk", "the source cannot be written: %w", err)
	}
	b.after.Go(func() { // the tree may hold very many files: nobody waits for its end
		<-stop
		beside.Wait()
		_ = disk.RemoveAll(dir)
	})
	checkedOut, stopCheckout := context.WithCancel(ctx)
	defer stopCheckout()
	source := &checkout{done: make(chan struct{})}
	beside.Go(func() {
		defer close(source.done)
		began := time.Now()
		source.err = b.request.Source.Checkout(checkedOut, dir, os.Getuid(), os.Getgid())
		b.result.Times.Checkout = time.Since(began)
		if source.err != nil {
			b.cancel(source.err)
		}
	})
	if b.before, err = b.previous(); err != nil {
		return err
	}
	deliver, err := b.delivery(dir, source)
	if err != nil {
		return err
	}
	claim := ""
	if b.o.StorageClass != "" {
		if claim, err = b.claim(ctx, b.request.App, b.limits.Cache); err != nil {
			return err
		}
	}
	for try := 1; ; try++ {
		err := b.attempt(ctx, deliver, claim, release)
		var broken *brokenDelivery
		if !errors.As(err, &broken) {
			return err
		}
		if try == 3 {
			return app.Errorf(app.CodeUnavailable, "push again; where it fails again, look at the cluster's API server", "the source could not be handed to the build's Pod: %s", lifecycle.Clip(broken.Error()))
		}
		b.request.Log.Detail("the connection to the build's Pod broke before the source was there: once more")
	}
}

// brokenDelivery is why a Pod did not get the source. Another one may.
type brokenDelivery struct{ error }

// attempt builds in one Pod.
func (b *running) attempt(ctx context.Context, deliver *delivery, claim string, release func()) error {
	random := make([]byte, 8)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	marker := "gitd-" + hex.EncodeToString(random)
	pod, err := b.pod(spec{
		name: fmt.Sprintf("build-%s-v%d-%s", b.request.App, b.request.Version, hex.EncodeToString(random[:3])),
		app:  b.request.App, version: b.request.Version, limits: b.limits, job: b.job(b.request, b.limits, b.before, marker), claim: claim,
	})
	if err != nil {
		return err
	}
	u, err := kube.Unstructured(pod)
	if err != nil {
		return err
	}
	b.name, b.watched, b.asked = pod.Name, &watched{changed: make(chan struct{})}, time.Now()
	asked := app.WithNotice(ctx, b.request.Log.Detail)
	_, err = b.o.Client.Resource(pods, b.o.Namespace).Create(asked, u, metav1.CreateOptions{FieldManager: kube.FieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) { // the name is nobody else's: an answer was lost
		b.removeNow(ctx) // it may have got through
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return kube.Explain(err, "start the build's Pod")
	}
	var watchers sync.WaitGroup
	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	judging, acquit := context.WithCancel(ctx)
	watchers.Go(func() { b.follow(watching, b.watched, b.name, b.cancel) })
	watchers.Go(func() { b.judge(judging) })

	exported, err := b.phases(ctx, deliver, marker)
	acquit()
	if err != nil {
		b.remove(ctx)
		unwatch()
		watchers.Wait()
		return err
	}
	b.after.Go(func() { // the cache is being written: nobody waits for it but the next build of the app
		defer release()
		<-exported
		b.removeNow(ctx)
		unwatch()
		watchers.Wait()
	})
	return nil
}

// previous returns the digest of the newest release's image; "" where there is none.
func (b *running) previous() (string, error) {
	tags, err := b.o.Images.Tags(b.request.App)
	if err != nil {
		return "", err
	}
	newest, digest := -1, ""
	for tag, d := range tags {
		if n, err := strconv.Atoi(strings.TrimPrefix(tag, "v")); err == nil && n > newest && strings.HasPrefix(tag, "v") {
			newest, digest = n, d
		}
	}
	return digest, nil
}

// delivery puts together what the Pod gets.
func (b *running) delivery(dir string, source *checkout) (*delivery, error) {
	credentials, err := b.o.Images.PushConfig(b.o.Push, b.request.App, cacheRepository(b.request.App))
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
	d.env, err = lifecycle.PlatformEnv(b.request.Env, at, os.LookupEnv)
	return d, err
}

// judge ends the build when the Pod's state says that it cannot go on.
func (b *running) judge(ctx context.Context) {
	j := &judge{limits: b.limits, schedule: b.schedule, pull: b.Engine.pull, note: b.request.Log.Detail}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		p, gone, changed := b.watched.get()
		if err := j.verdict(p, gone, time.Now()); err != nil {
			b.cancel(err)
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
func (b *running) phases(ctx context.Context, d *delivery, marker string) (<-chan struct{}, error) {
	if err := b.prepare(ctx, d); err != nil {
		return nil, err
	}
	if err := b.detectAndBuild(ctx, marker); err != nil {
		return nil, err
	}
	return b.export(ctx)
}

func (b *running) prepare(ctx context.Context, d *delivery) error {
	b.progress.Enter("wait for a node")
	onNode := func(p *corev1.Pod) bool { return p != nil && p.Spec.NodeName != "" }
	if p, err := b.watched.wait(ctx, onNode); err != nil {
		return err
	} else if onNode(p) {
		b.progress.Enter("start on the node " + p.Spec.NodeName + " (a new node pulls the builder image first)")
	}
	if _, err := b.watched.wait(ctx, started(wire.Prepare)); err != nil {
		return err
	}
	b.progress.Enter("preparation")
	reading, stop := context.WithCancel(ctx)
	defer stop()
	sent := make(chan error, 1)
	go func() {
		began := time.Now()
		err := b.send(reading, d)
		b.sending = time.Since(began)
		if err != nil && reading.Err() == nil {
			// What was sent may have been enough for gitd-pod to say what is wrong. Where it did not get a word, it waits for ever.
			time.AfterFunc(2*time.Second, stop)
		}
		sent <- err
	}()
	var failed *wire.Failed
	whole := false
	err := b.events(reading, wire.Prepare, func(e wire.Event) (last bool) {
		switch {
		case e.Analyzed != nil:
			b.result.Times.Analyze = time.Duration(e.Analyzed.Milliseconds) * time.Millisecond
			whole = true
		case e.Failed != nil:
			failed = e.Failed
		}
		return whole || failed != nil
	})
	stop()
	sendErr := <-sent
	var told *app.Error
	switch {
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case whole:
		return nil
	case errors.As(err, &told):
		return told
	}
	if failed == nil {
		failed = b.failed(wire.Prepare)
	}
	switch {
	case failed != nil && failed.Phase != "source":
		return b.registryFailure(failed)
	case sendErr != nil && apierrors.IsForbidden(sendErr):
		return kube.Explain(sendErr, "hand the source to the build's Pod")
	case sendErr != nil && !errors.Is(sendErr, context.Canceled):
		return &brokenDelivery{sendErr}
	case failed != nil:
		return &brokenDelivery{errors.New(failed.Message)}
	case err != nil && !errors.Is(err, context.Canceled):
		return err
	}
	if p, err := b.watched.wait(ctx, ended(wire.Prepare)); err != nil {
		return err
	} else if s := state(p, wire.Prepare); s != nil && s.State.Terminated != nil && s.State.Terminated.ExitCode == 0 { // its log is lost
		return nil
	}
	return b.died(ctx, wire.Prepare, "preparation")
}

// send hands the source over.
func (b *running) send(ctx context.Context, d *delivery) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	written := make(chan error, 1)
	go func() {
		err := d.write(ctx, w)
		_ = w.Close()
		written <- err
	}()
	err = b.o.Client.Attach(ctx, b.o.Namespace, b.name, wire.Prepare, r)
	_ = r.Close()
	if writeErr := <-written; err == nil { // else it is only that nobody reads any more
		return writeErr
	}
	return err
}

// registryFailure tells why analysis, restoring or export failed.
func (b *running) registryFailure(f *wire.Failed) error {
	message := lifecycle.Clip(f.Message)
	cause := fmt.Errorf("%s: exit status %d: %s", f.Phase, f.Code, f.Message)
	switch f.Phase {
	case "analyze":
		return app.Wrap(cause, app.CodeUnavailable, "ask the operator: Pods must be able to reach "+b.o.Push+" and to push to it",
			"the build's Pod cannot use the registry: %s", lastCause(f.Message))
	case "restore":
		return app.Wrap(cause, app.CodeBuildFailed, "push again with the cache cleared; where it fails again, ask the operator to look at the server's log",
			"restore failed: what the build before left could not be read: %s", message)
	}
	return app.Wrap(cause, app.CodeExportFailed, "push again; where it fails again, look at the layers that the buildpack wrote, and at the registry",
		"export failed: the image could not be written: %s", message)
}

// failed is what a container left behind as its last words.
func (b *running) failed(container string) *wire.Failed {
	p, _, _ := b.watched.get()
	s := state(p, container)
	if s == nil || s.State.Terminated == nil {
		return nil
	}
	var e wire.Event
	if json.Unmarshal([]byte(s.State.Terminated.Message), &e) != nil {
		return nil
	}
	return e.Failed
}

// died is the error of a container that ended without a word.
func (b *running) died(ctx context.Context, container, phase string) error {
	p, err := b.watched.wait(ctx, ended(container))
	if err != nil {
		return err
	}
	s := state(p, container)
	if s == nil || s.State.Terminated == nil { // the Pod is gone: the judge says why
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Second):
			return removed()
		}
	}
	t := s.State.Terminated
	if t.Reason == "OOMKilled" {
		return app.Errorf(app.CodeLimitExceeded, "ask the operator for a higher memory limit", "the build was killed at its memory limit of %s, in the %s", lifecycle.Size(b.limits.Memory), phase)
	}
	return app.Errorf(app.CodeUnavailable, "push again; where it fails again, ask the operator to look at the builder image and the nodes",
		"the %s ended without a word (%s)", phase, strings.TrimSpace(fmt.Sprintf("%s, exit status %d %s", t.Reason, t.ExitCode, lifecycle.Clip(t.Message))))
}

// detectAndBuild follows the container that runs the app's code.
func (b *running) detectAndBuild(ctx context.Context, marker string) error {
	b.progress.Enter("start of detection")
	if _, err := b.watched.wait(ctx, started(wire.Build)); err != nil {
		return err
	}
	began := time.Now()
	detected := began
	b.progress.Enter("detection")
	var group wire.Group
	var groupErr error
	output := lifecycle.NewOutput(b.request.Log, marker, func() {
		detected = time.Now()
		b.progress.Enter("build")
		if groupErr = b.output.Refusal(); groupErr == nil {
			groupErr = b.tellGroup(group)
		}
		if groupErr != nil {
			b.cancel(groupErr) // the container goes on to build
		}
	})
	b.output = output
	b.progress.Watch(output)
	var end *wire.End
	prefix := marker + " "
	err := b.lines(ctx, wire.Build, func(l string) (last bool) {
		if rest, ok := strings.CutPrefix(l, prefix); ok {
			if g, ok := strings.CutPrefix(rest, wire.MarkGroup); ok {
				_ = json.Unmarshal([]byte(g), &group)
				return false
			}
			if e, ok := strings.CutPrefix(rest, wire.MarkEnded); ok {
				end = &wire.End{}
				return json.Unmarshal([]byte(e), end) == nil
			}
		}
		_, _ = output.Write([]byte(l + "\n"))
		return false
	})
	output.Flush()
	b.result.Times.Detect, b.result.Times.Build = detected.Sub(began), time.Since(detected)
	if end != nil { // as it was in the Pod: the log comes later, and in pieces
		b.result.Times.Detect, b.result.Times.Build = time.Duration(group.Milliseconds)*time.Millisecond, time.Duration(end.Milliseconds)*time.Millisecond
	}
	if err != nil {
		return err
	}
	if groupErr != nil {
		return groupErr
	}
	if end != nil && end.Code == 0 {
		return nil
	}
	if end != nil && end.Limit == "disk" {
		return diskExceeded(b.limits)
	}
	p, err := b.watched.wait(ctx, ended(wire.Build)) // only the node knows whether memory was at fault
	if err != nil {
		return err
	}
	s := state(p, wire.Build)
	if s == nil || s.State.Terminated == nil {
		return b.died(ctx, wire.Build, "build")
	}
	t := s.State.Terminated
	exit := lifecycle.Exit{Code: int(t.ExitCode), OutOfMemory: t.Reason == "OOMKilled"}
	if end != nil {
		exit.Signal = end.Signal
	} else if t.ExitCode == 0 {
		return nil
	} else if t.ExitCode > 128 {
		exit.Signal = fmt.Sprintf("signal %d", t.ExitCode-128)
	}
	return lifecycle.Failure(exit, output, b.limits)
}

// tellGroup says which buildpacks take part.
func (b *running) tellGroup(g wire.Group) (err error) {
	var unread error
	if g.Error != "" || len(g.Buildpacks) == 0 {
		unread = errors.New(g.Error)
	}
	b.result.Buildpacks, err = lifecycle.TellGroup(b.request.Log, b.output, g.Group, unread)
	return err
}

// export waits for the image. The channel it returns is closed when the container has nothing more to say.
func (b *running) export(ctx context.Context) (<-chan struct{}, error) {
	b.progress.Enter("export")
	if _, err := b.watched.wait(ctx, started(wire.Export)); err != nil {
		return nil, err
	}
	var exported *wire.Exported
	var failed *wire.Failed
	known := make(chan struct{})
	done := make(chan struct{})
	once := sync.OnceFunc(func() { close(known) })
	var readErr error
	// The container goes on with the cache after the image is there, and so does this, after the build has returned; but no longer than the
	// Pod may live, for a node that is lost says nothing more, and the app's next build waits.
	reading, stop := context.WithTimeout(context.WithoutCancel(ctx), b.limits.Time+backstop)
	context.AfterFunc(b.closing, stop)
	go func() {
		defer close(done)
		defer once()
		defer stop()
		readErr = b.events(reading, wire.Export, func(e wire.Event) (last bool) {
			switch {
			case e.Exported != nil:
				if exported == nil {
					exported = e.Exported
					once()
				}
			case e.Failed != nil:
				failed = e.Failed
				return true
			case e.Note != "":
				b.o.Log("build of %s v%d: %s", b.request.App, b.request.Version, e.Note)
			case e.Cached != nil:
				return true
			}
			return false
		})
	}()
	select {
	case <-known:
	case <-ctx.Done():
		stop()
		<-done
		return nil, context.Cause(ctx)
	}
	if exported == nil {
		<-done
		if failed == nil {
			failed = b.failed(wire.Export)
		}
		if failed != nil {
			return nil, b.registryFailure(failed)
		}
		if e := b.lastWords(); e != nil {
			exported = e
		} else if readErr != nil {
			return nil, readErr
		} else {
			return nil, b.died(ctx, wire.Export, "export")
		}
	}
	took := time.Since(b.asked)
	err := b.finish(exported)
	t := &b.result.Times
	t.Wait = took - b.sending - t.Analyze - t.Detect - t.Build - t.Export
	return done, err
}

// lastWords finds the image in the termination message of the container, for when its log was lost.
func (b *running) lastWords() *wire.Exported {
	p, _, _ := b.watched.get()
	s := state(p, wire.Export)
	if s == nil || s.State.Terminated == nil {
		return nil
	}
	var e wire.Event
	if json.Unmarshal([]byte(s.State.Terminated.Message), &e) != nil {
		return nil
	}
	return e.Exported
}

// events hands out what a container of ours says, until one says that it is the last or the container ends.
func (b *running) events(ctx context.Context, container string, each func(wire.Event) (last bool)) error {
	return b.lines(ctx, container, func(l string) bool {
		var e wire.Event
		if json.Unmarshal([]byte(l), &e) != nil {
			if strings.TrimSpace(l) != "" {
				b.o.Log("build of %s v%d, %s: %s", b.request.App, b.request.Version, container, l)
			}
			return false
		}
		return each(e)
	})
}

// lines hands out the lines of a container that has started, until one says that it is the last or the container ends. Connections that
// break are made again.
func (b *running) lines(ctx context.Context, container string, each func(string) (last bool)) error {
	log := &kube.PodLog{Client: b.o.Client, Namespace: b.o.Namespace, Pod: b.name, Container: container}
	following, stop := context.WithCancel(ctx)
	defer stop()
	finished := false
	read := func(ctx context.Context, follow bool) error {
		return log.Read(ctx, follow, func(l string) {
			if !finished && each(l) {
				finished = true
				stop()
			}
		})
	}
	done := make(chan struct{})
	var refused error
	go func() {
		defer close(done)
		for following.Err() == nil {
			if err := read(following, true); apierrors.IsForbidden(err) {
				refused = kube.Explain(err, "read the log of the build's Pod")
				stop()
			}
			select {
			case <-following.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	_, _ = b.watched.wait(following, ended(container))
	if ctx.Err() == nil && following.Err() == nil { // it has ended
		select {
		case <-done:
		case <-time.After(50 * time.Millisecond): // the last lines are on their way; else they are read below
		}
	}
	stop()
	<-done
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if refused != nil {
		return refused
	}
	if !finished {
		_ = read(ctx, false)
	}
	return context.Cause(ctx)
}

// remove ends the Pod, and returns when nothing of it runs any more, or gitd cannot know.
func (b *running) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(kube.WithRetryTime(context.WithoutCancel(ctx), 5*time.Second), 20*time.Second)
	defer cancel()
	// With a grace of 1 s, the least there is, the node itself removes the Pod when its containers have ended.
	if err := b.deletePod(ctx, b.name, 1); err != nil {
		b.o.Log("build of %s v%d: its Pod %s is left: %v", b.request.App, b.request.Version, b.name, err)
		return
	}
	soon, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	if _, err := b.watched.wait(soon, func(*corev1.Pod) bool { return false }); err != nil {
		if err := b.deletePod(ctx, b.name, 0); err != nil {
			b.o.Log("build of %s v%d: its Pod %s is left: %v", b.request.App, b.request.Version, b.name, err)
		}
	}
}

// removeNow removes a Pod in which nothing is under way.
func (b *running) removeNow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(kube.WithRetryTime(context.WithoutCancel(ctx), 10*time.Second), 30*time.Second)
	defer cancel()
	if err := b.deletePod(ctx, b.name, 0); err != nil {
		b.o.Log("build of %s v%d: its Pod %s is left: %v", b.request.App, b.request.Version, b.name, err)
	}
}
