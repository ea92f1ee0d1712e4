package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/build/sandbox/wire"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// running is one build: this engine's part of a session.
type running struct {
	*Engine
	*lifecycle.Session
	name   string // of its directory, unique
	dir    string
	owner  int // user and group ID on the host of what runs in the build and of what it writes
	places []place

	secrets string // folder with the environment of the build, where that is in memory; else ""
}

// Build implements build.Builder.
func (e *Engine) Build(ctx context.Context, r build.Request) (*build.Result, error) {
	return e.sessions.Run(ctx, r, &running{Engine: e, owner: int(e.opts.Host.UID(r.AppID, r.App))})
}

// Run implements lifecycle.Work.
func (b *running) Run(ctx context.Context, s *lifecycle.Session) error {
	b.Session = s
	if err := b.checkRoom(); err != nil {
		return err
	}
	defer func() {
		b.forgetSecrets()
		b.discard(b.dir)
	}()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	previous, err := b.previous(b.Request.App)
	if err != nil {
		return err
	}
	if previous != "" {
		defer b.opts.Registry.Hold(b.Request.App, previous)()
	}
	h, err := b.startHelper(ctx, previous)
	if err != nil {
		return fmt.Errorf("start the build helper: %w", err)
	}
	defer func() { _ = h.close() }()
	c, err := b.startContainer(ctx) // beside the helper's work, of which much is waiting
	if err != nil {
		return err
	}
	defer c.stop()
	if err := b.checkoutAndAnalyze(ctx, h); err != nil {
		return err
	}
	if err := c.detectAndBuild(ctx); err != nil {
		return err
	}
	capped := make(chan error, 1)
	go func() { capped <- b.capAppCache(ctx) }()
	exported := b.export(ctx, h)
	if err := <-capped; exported == nil {
		return err
	}
	return exported
}

// Ended implements lifecycle.Work.
func (b *running) Ended(ctx context.Context, _ *lifecycle.Session, err error) {
	if err != nil {
		b.tidy(ctx)
	}
	b.settleCache(b.Request.App)
	if err == nil && b.shared != nil {
		b.shared.take(b.cacheDir())
	}
}

func (b *running) in(name string) string { return filepath.Join(b.dir, name) }

// prepare makes the directories of the build.
func (b *running) prepare(ctx context.Context) error {
	random, err := lifecycle.RandomHex(4)
	if err != nil {
		return err
	}
	b.name = fmt.Sprintf("%s%s-v%d-%s", buildPrefix, b.Request.App, b.Request.Version, random)
	b.dir = filepath.Join(b.Engine.appDir(b.Request.App), b.name)
	if b.Request.CacheOf.ID != 0 && !b.Request.ClearCache {
		if err := b.lendCache(ctx, b.Request.CacheOf, b.Request.App, b.owner); err != nil { // the build takes longer
			b.opts.Log("build %s: it cannot begin with the cache of %s: %v", b.Request.App, b.Request.CacheOf.Name, err)
		}
	}
	if err := b.prepareCache(b.Request.App, b.owner, b.Request.ClearCache); err != nil {
		return err
	}
	if b.shared != nil {
		forgetRequests(b.cacheDir())
	}
	if err := os.Mkdir(b.dir, 0o711); err != nil {
		return err
	}
	for name, mode := range map[string]os.FileMode{"workspace": 0o755, "layers": 0o755, "tmp": 0o777 | os.ModeSticky, artifactsDir: 0o700, "blobs": 0o700} {
		if err := ownedDir(b.in(name), b.owner, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(b.in("root"), 0o700); err != nil {
		return err
	}
	env, err := lifecycle.PlatformEnv(b.Request.Environment(), b.bringing(lifecycle.HostBundle()), os.LookupEnv)
	if err != nil {
		return err
	}
	if err := b.writePlatform(env); err != nil {
		return err
	}
	order, err := b.Order(b.opts.Builder.Buildpacks)
	if err != nil {
		return err
	}
	if order != "" {
		if err := os.WriteFile(filepath.Join(b.in("platform"), orderFile), []byte(order), 0o644); err != nil {
			return err
		}
	}
	b.places, err = b.makePlaces(b.in("places"), b.owner)
	return err
}

func (b *running) job(previous string) wire.Job {
	a, err := b.opts.Registry.Credentials(b.Request.App).Authorization()
	if err != nil {
		panic(err) // static credentials do not fail
	}
	return wire.Job{
		Lower: b.opts.Builder.Layers, Root: b.in("root"), App: b.Engine.appDir(b.Request.App), Build: b.name,
		UID: b.opts.Builder.UID, GID: b.opts.Builder.GID, Owner: b.owner,
		API: b.api, ExecEnv: lifecycle.ExecEnv, Launcher: b.launcher,
		Host: b.opts.Registry.Host(), Repository: b.Request.App, Password: a.Password, Tag: fmt.Sprintf("v%d", b.Request.Version),
		RunName: registry.RunImage, RunImage: b.runImage, Previous: previous, FileSize: b.Limits.Disk, AppDir: b.Request.AppDir,
	}
}

// checkoutAndAnalyze writes the source while the helper starts and reads the previous image.
func (b *running) checkoutAndAnalyze(ctx context.Context, h *helperProcess) error {
	checkout := make(chan error, 1)
	go func() {
		began := time.Now()
		err := b.Request.Source.Checkout(ctx, b.in("workspace"), b.owner, b.owner)
		b.Result.Times.Checkout = time.Since(began)
		b.Took("checkout", began, err != nil)
		checkout <- err
	}()
	began := time.Now()
	_, err := h.next()
	b.Result.Times.Analyze = time.Since(began)
	b.Took("analyze", began, err != nil)
	if err != nil {
		<-checkout
		return err
	}
	return <-checkout
}

// cacheDir is what the buildpacks keep for the app's next build.
func (b *running) cacheDir() string { return filepath.Join(b.Engine.appDir(b.Request.App), "cache") }

// builderContainer is a container of the builder image, as builds run in: with a way out, the host's authorities, and little of its time. It returns what
// buildpacks are told of the host as well.
func (e *Engine) builderContainer(id string, owner int, l build.Limits, mounts []sandbox.Mount) (sandbox.Spec, map[string]string, error) {
	bundle := lifecycle.HostBundle()
	if bundle != "" {
		mounts = append(mounts, sandbox.Mount{Source: bundle, Target: caBundle, ReadOnly: true})
	}
	env, err := lifecycle.PlatformEnv(nil, e.bringing(bundle), os.LookupEnv)
	return sandbox.Spec{
		ID:     id,
		Layers: e.opts.Builder.Layers,
		Env:    containerEnv(e.opts.Builder.Env, e.api, env),
		UID:    uint32(e.opts.Builder.UID), GID: uint32(e.opts.Builder.GID), Owner: uint32(owner),
		Hostname:   "build",
		Mounts:     mounts,
		Memory:     l.Memory,
		CPU:        l.CPU,
		PIDs:       l.PIDs,
		FileSize:   l.Disk,
		Egress:     true,
		Background: true,
	}, env, err
}

// appDir is the app's folder in the container.
func (b *running) appDir() string { return path.Join(wire.Workspace, b.Request.AppDir) }

func (b *running) export(ctx context.Context, h *helperProcess) (err error) {
	began := time.Now()
	defer func() { b.Took("export", began, err != nil) }()
	b.Progress.Enter("export")
	if err := h.tell(wire.CommandExport); err != nil {
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
	if r.Done.Digest != h.placed { // it was pushed
		if err := b.opts.Registry.Sync(b.Request.App, r.Done.Digest); err != nil {
			return app.Errorf(app.CodeExportFailed, "push again; where it fails again, look at the server's disk", "export failed: %w", err)
		}
	}
	b.Result.Times.Export = time.Since(began)
	b.Result.Digest, b.Result.Processes = r.Done.Digest, r.Done.Processes
	if err := b.Labelled(r.Done.Function); err != nil {
		return err
	}
	b.Result.LayersReused, b.Result.LayersAdded, b.Result.AddedBytes = r.Done.Reused, r.Done.Added, r.Done.AddedBytes
	return b.Exported()
}

// tidy keeps a failed build's cache under the same limit as others, and removes it where the disk ran full: a cache can be made again.
func (b *running) tidy(ctx context.Context) {
	if free, err := b.free(b.opts.Dir); err == nil && free.Short(b.minFree()) != "" {
		b.Request.Log.Detail("the build cache was removed to make room on the disk")
		b.dropCache(b.Request.App)
		return
	}
	if err := b.capAppCache(ctx); err != nil {
		b.opts.Log("build: cache of %s: %v", b.Request.App, err)
	}
}

// capAppCache keeps the cache under its limit, and says what it did.
func (b *running) capAppCache(ctx context.Context) error {
	c, err := b.capCache(ctx, b.Request.App, b.Limits)
	if err != nil || c.removed == "" {
		return err
	}
	limit := app.Size(b.Limits.Cache)
	if c.used.Bytes <= b.Limits.Cache {
		limit = fmt.Sprintf("%d files", b.share(b.Limits.CacheFiles, 10))
	}
	next := "the next build fetches it again"
	if c.removed == "all of it" {
		next = "the next build starts without"
	}
	b.Request.Log.Detail("the build cache had grown to %s in %d files, over its limit of %s: %s was removed, %s", app.Size(c.used.Bytes), c.used.Entries, limit, c.removed, next)
	return nil
}
