package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/build/lifecycle/phase"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// running is one build.
type running struct {
	*Engine
	request  build.Request
	limits   build.Limits
	name     string // of its directory, unique
	dir      string
	owner    int // user and group ID on the host of what runs in the build and of what it writes
	began    time.Time
	result   build.Result
	output   *lifecycle.Output
	places   []place
	progress *lifecycle.Progress
}

// Build implements build.Builder.
func (e *Engine) Build(ctx context.Context, r build.Request) (*build.Result, error) {
	if n, err := app.ParseName(r.App); err != nil {
		return nil, err
	} else if n != r.App {
		return nil, app.Errorf(app.CodeInvalidName, "use the name "+n, "invalid app name %q", r.App)
	}
	b := &running{Engine: e, request: r, owner: int(e.opts.Host.UID(r.AppID, r.App)), limits: r.Limits.WithDefaults(), began: time.Now(), progress: lifecycle.NewProgress(r.Log, e.patience)}
	release, err := e.locks.Acquire(ctx, r.App, func() { r.Log.Detail("waiting for the build before this one to end") })
	if err != nil {
		return nil, fmt.Errorf("build of %s v%d stopped: %w", r.App, r.Version, err)
	}
	defer release()
	defer e.settleCache(r.App)
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(b.limits.Time, func() { cancel(lifecycle.ErrTime) })
	defer timer.Stop()
	if err := b.run(inner, cancel); err != nil {
		b.tidy(context.WithoutCancel(ctx))
		return nil, lifecycle.Ended(ctx, inner, r, b.limits, b.progress.Phase(), err)
	}
	return &b.result, nil
}

func (b *running) run(ctx context.Context, cancel context.CancelCauseFunc) error {
	if err := b.checkRoom(); err != nil {
		return err
	}
	defer func() { b.discard(b.dir) }()
	if err := b.prepare(); err != nil {
		return err
	}
	previous, err := b.previous(b.request.App)
	if err != nil {
		return err
	}
	if previous != "" {
		defer b.opts.Registry.Hold(b.request.App, previous)()
	}

	stop := make(chan struct{})
	var beside sync.WaitGroup // what goes on beside the phases
	defer beside.Wait()
	defer close(stop)
	b.progress.Enter("preparation")
	beside.Go(func() { b.progress.Show(stop) })

	h, err := startHelper(ctx, b.opts.Host, b.opts.Registry, b.limits, b.job(previous))
	if err != nil {
		return fmt.Errorf("start the build helper: %w", err)
	}
	defer func() { _ = h.close() }()
	if err := b.checkoutAndAnalyze(ctx, h); err != nil {
		return err
	}

	if err := b.detectAndBuild(ctx, cancel); err != nil {
		return err
	}

	capped := make(chan error, 1)
	beside.Go(func() { capped <- b.capAppCache(ctx) })
	if err := b.export(ctx, h); err != nil {
		return err
	}
	return <-capped
}

func (b *running) in(name string) string { return filepath.Join(b.dir, name) }

// prepare makes the directories of the build.
func (b *running) prepare() error {
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	b.name = fmt.Sprintf("%s%s-v%d-%s", buildPrefix, b.request.App, b.request.Version, hex.EncodeToString(random))
	b.dir = filepath.Join(b.Engine.appDir(b.request.App), b.name)
	if err := b.prepareCache(b.request.App, b.owner, b.request.ClearCache); err != nil {
		return err
	}
	if err := os.Mkdir(b.dir, 0o711); err != nil {
		return err
	}
	for name, mode := range map[string]os.FileMode{"workspace": 0o755, "layers": 0o755, "tmp": 0o777 | os.ModeSticky, "artifacts": 0o700, "blobs": 0o700} {
		if err := ownedDir(b.in(name), b.owner, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(b.in("root"), 0o700); err != nil {
		return err
	}
	env, err := lifecycle.PlatformEnv(b.request.Env, bringing(lifecycle.HostBundle()), os.LookupEnv)
	if err != nil {
		return err
	}
	if err := writePlatform(b.in("platform"), env); err != nil {
		return err
	}
	b.places, err = b.makePlaces(b.in("places"), b.owner)
	return err
}

func (b *running) job(previous string) job {
	a, err := b.opts.Registry.Credentials(b.request.App).Authorization()
	if err != nil {
		panic(err) // static credentials do not fail
	}
	return job{
		Lower: b.opts.Builder.Layers, Root: b.in("root"), App: b.Engine.appDir(b.request.App), Build: b.name,
		UID: b.opts.Builder.UID, GID: b.opts.Builder.GID, Owner: b.owner,
		API: b.api, Launcher: b.launcher,
		Host: b.opts.Registry.Host(), Repository: b.request.App, Password: a.Password, Tag: fmt.Sprintf("v%d", b.request.Version),
		RunImage: b.runImage, Previous: previous, FileSize: b.limits.Disk,
	}
}

// checkoutAndAnalyze writes the source while the helper starts and reads the image before.
func (b *running) checkoutAndAnalyze(ctx context.Context, h *helperProcess) error {
	checkout := make(chan error, 1)
	go func() {
		began := time.Now()
		err := b.request.Source.Checkout(ctx, b.in("workspace"), b.owner, b.owner)
		b.result.Times.Checkout = time.Since(began)
		checkout <- err
	}()
	began := time.Now()
	_, err := h.next()
	b.result.Times.Analyze = time.Since(began)
	if err != nil {
		<-checkout
		return err
	}
	return <-checkout
}

// detectAndBuild runs the container, and watches over what it uses.
func (b *running) detectAndBuild(ctx context.Context, cancel context.CancelCauseFunc) error {
	random := make([]byte, 8)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	marker := "gitd-" + hex.EncodeToString(random)
	began := time.Now()
	detected := began
	var groupErr error
	b.progress.Enter("detection")
	b.output = lifecycle.NewOutput(b.request.Log, marker, func() {
		detected = time.Now()
		b.progress.Enter("build")
		if groupErr = b.output.Refusal(); groupErr == nil {
			groupErr = b.tellGroup()
		}
		if groupErr != nil {
			cancel(groupErr) // the container goes on to build
		}
	})
	b.progress.Watch(b.output)
	bundle := lifecycle.HostBundle()
	mounts := []sandbox.Mount{
		{Source: b.in("workspace"), Target: workspaceDir},
		{Source: b.in("layers"), Target: layersDir},
		{Source: b.in("platform"), Target: "/platform", ReadOnly: true},
		{Source: filepath.Join(b.Engine.appDir(b.request.App), "cache"), Target: cacheMount},
		{Source: b.in("tmp"), Target: "/tmp"}, // on the disk, under its limit: compilers fill it
	}
	for _, p := range b.places {
		mounts = append(mounts, sandbox.Mount{Source: p.source, Target: p.target})
	}
	if bundle != "" {
		mounts = append(mounts, sandbox.Mount{Source: bundle, Target: caBundle, ReadOnly: true})
	}
	env, err := lifecycle.PlatformEnv(nil, bringing(bundle), os.LookupEnv)
	if err != nil {
		return err
	}
	var watching sync.WaitGroup
	watched, unwatch := context.WithCancel(ctx)
	watching.Go(func() {
		dirs := []string{b.in("workspace"), b.in("layers"), b.in("tmp"), b.in("places"), filepath.Join(b.Engine.appDir(b.request.App), "cache")}
		b.watch(watched, b.limits, dirs, b.output, cancel)
	})
	exit, err := b.opts.Host.Run(ctx, sandbox.Spec{
		ID:       b.name,
		Labels:   map[string]string{"app": b.request.App, "kind": "build"},
		Layers:   b.opts.Builder.Layers,
		Writable: true,
		Args:     []string{"/bin/sh", "-c", phases(marker)},
		Env:      containerEnv(b.opts.Builder.Env, b.api, env),
		Dir:      workspaceDir,
		UID:      uint32(b.opts.Builder.UID), GID: uint32(b.opts.Builder.GID), Owner: uint32(b.owner),
		Hostname:   "build",
		Mounts:     mounts,
		Memory:     b.limits.Memory,
		CPU:        b.limits.CPU,
		PIDs:       b.limits.PIDs,
		FileSize:   b.limits.Disk,
		Egress:     true,
		Background: true,
		Output:     b.output,
	})
	unwatch()
	watching.Wait()
	b.output.Flush()
	b.result.Times.Detect, b.result.Times.Build = detected.Sub(began), time.Since(detected)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return fmt.Errorf("run the build's container: %w", err)
	}
	if groupErr != nil {
		return groupErr
	}
	if exit.Code != 0 || exit.Signal != "" {
		return lifecycle.Failure(lifecycle.Exit{Code: exit.Code, Signal: exit.Signal, OutOfMemory: exit.OutOfMemory}, b.output, b.limits)
	}
	return nil
}

// phases runs detector and builder one after the other. Both speak at debug level: output keeps what is worth it.
func phases(marker string) string {
	const arguments = " -log-level debug -app /workspace -layers /layers -platform /platform"
	return "/cnb/lifecycle/detector" + arguments + "; code=$?\n" +
		"echo; echo \"" + marker + " detected $code\"\n" +
		"[ $code -eq 0 ] || exit $code\n" +
		"/cnb/lifecycle/builder" + arguments + "; exit $?"
}

// tellGroup reads which buildpacks take part, and says so.
func (b *running) tellGroup() error {
	group, err := phase.ReadGroup(b.in("layers"))
	b.result.Buildpacks, err = lifecycle.TellGroup(b.request.Log, b.output, group, err)
	return err
}

func (b *running) export(ctx context.Context, h *helperProcess) error {
	began := time.Now()
	b.progress.Enter("export")
	if err := h.tell(cmdExport); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("build helper: %w: %s", err, h.stderr.String())
	}
	r, err := h.next()
	if err != nil {
		return err
	}
	if r.Done == nil || r.Done.Digest == "" {
		return errors.New("build helper: no image")
	}
	if err := b.opts.Registry.Sync(b.request.App, r.Done.Digest); err != nil {
		return app.Errorf(app.CodeExportFailed, "push again; where it fails again, look at the server's disk", "export failed: %w", err)
	}
	b.result.Times.Export = time.Since(began)
	b.result.Repository, b.result.Digest, b.result.Processes = b.request.App, r.Done.Digest, r.Done.Processes
	b.result.LayersReused, b.result.LayersAdded, b.result.AddedBytes = r.Done.Reused, r.Done.Added, r.Done.AddedBytes
	added := fmt.Sprintf("%d added", r.Done.Added)
	if r.Done.Added > 0 {
		added += ", " + lifecycle.Size(r.Done.AddedBytes)
	}
	b.request.Log.Step("Image %s@%s… (%d layer%s reused, %s) in %.1fs", b.request.App, short(r.Done.Digest),
		r.Done.Reused, plural(r.Done.Reused), added, time.Since(b.began).Seconds())
	return nil
}

func short(digest string) string { return digest[:min(len(digest), len("sha256:")+4)] }

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// tidy sees to it that a build that failed keeps no more than one that did not, and nothing where the disk ran full: a cache can be made again.
func (b *running) tidy(ctx context.Context) {
	if free, err := b.free(b.opts.Dir); err == nil && free.Short(b.minFree()) != "" {
		b.request.Log.Detail("the build cache was removed to make room on the disk")
		b.dropCache(b.request.App)
		return
	}
	if err := b.capAppCache(ctx); err != nil {
		b.opts.Log("build: cache of %s: %v", b.request.App, err)
	}
}

// capAppCache keeps the cache under its limit, and says what it did.
func (b *running) capAppCache(ctx context.Context) error {
	removed, err := b.capCache(ctx, b.request.App, b.limits)
	if err != nil {
		return err
	}
	if removed.Entries > 0 {
		limit := lifecycle.Size(b.limits.Cache)
		if removed.Bytes <= b.limits.Cache {
			limit = fmt.Sprintf("%d files", b.share(b.limits.CacheFiles, 10))
		}
		b.request.Log.Detail("the build cache had grown to %s in %d files, over its limit of %s, and was removed: the next build starts without", lifecycle.Size(removed.Bytes), removed.Entries, limit)
	}
	return nil
}
