// Package sandbox is the default build engine: detector and builder of the CNB lifecycle in one runc container, analyze,
// restore and export by the lifecycle library in a confined helper, the program gitd-helper.
package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/parts"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/sandbox"
)

var _ build.Builder = (*Engine)(nil)

// Options configure an Engine.
type Options struct {
	Dir      string // builds under way and the apps' caches
	Host     *sandbox.Host
	Registry *registry.Registry
	Builder  *builder.Builder
	Layers   *sandbox.Layers // of the machine that runs the apps: an image is unpacked there while it is exported; nil for none
	MinFree  int64           // bytes that must be free on Dir's disk for a build to start; default 512 MiB
	Log      func(format string, args ...any)
}

// Engine builds in sandboxes.
type Engine struct {
	opts     Options
	api      string   // platform API version that the builder's lifecycle and ours both speak
	program  *os.File // gitd-helper: the one of this version, also where another is installed while we run
	launcher string   // version of the builder's lifecycle
	phases   string   // file of gitd-phases; "" where the builder's lifecycle is another
	runImage string   // digest
	sessions lifecycle.Sessions
	trash    *disk.Trash   // for what builds left
	settler  *disk.Settler // of caches
	shared   *shared       // nil where the builder is another's

	unpacking sync.WaitGroup
	stop      context.CancelFunc // ends it
	running   context.Context    // until then

	findPlaces   func() ([]string, error) // of the builder image that its user may write to
	free         func(dir string) (disk.Space, error)
	diskInterval time.Duration
}

// New returns an engine, and removes what builds of an earlier process left behind.
func New(ctx context.Context, o Options) (*Engine, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	e := &Engine{opts: o, free: disk.Free, diskInterval: time.Second, sessions: lifecycle.Sessions{Quiet: 2 * time.Second}, trash: trashOf(dir, o.Log),
		settler: &disk.Settler{Dir: dir, Log: o.Log}}
	e.running, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	e.findPlaces = sync.OnceValues(func() ([]string, error) {
		return writablePlaces(context.Background(), o.Builder.Layers, o.Builder.UID, o.Builder.GID)
	})
	if err := os.MkdirAll(filepath.Join(dir, "apps"), 0o700); err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "check who owns the data directory and that its disk is not full", "cannot make the build directory %s: %w", filepath.Join(dir, "apps"), err)
	}
	program, err := parts.Path(parts.Helper)
	if err != nil {
		return nil, err
	}
	if e.program, err = os.Open(program); err != nil {
		return nil, err
	}
	e.removeLeftovers()
	e.distrustCaches()
	if err := e.openShared(); err != nil {
		return nil, err
	}
	if err := e.readBuilder(); err != nil {
		return nil, err
	}
	if err := e.placePhases(); err != nil {
		return nil, err
	}
	digest, err := o.Builder.RunImage.Digest()
	if err != nil {
		return nil, err
	}
	e.runImage = digest.String()
	tags, err := o.Registry.Repair(registry.RunImage)
	if err != nil {
		return nil, err
	}
	if tags["latest"] != e.runImage {
		if err := o.Registry.AddImage(ctx, registry.RunImage, "latest", o.Builder.RunImage); err != nil {
			return nil, fmt.Errorf("put the run image into the registry: %w", err)
		}
	}
	return e, nil
}

// Expect begins what the kernel makes a build wait for.
func (e *Engine) Expect() { e.opts.Host.Hasten() }

// RunImage returns the run image's repository in the registry, and its digest.
func (e *Engine) RunImage() (repository, digest string) { return registry.RunImage, e.runImage }

// Close ends the removal of what builds left; the next engine goes on with it.
func (e *Engine) Close() error {
	if e.shared != nil {
		e.shared.close()
	}
	e.stop()
	e.unpacking.Wait()
	e.trash.Close()
	return e.program.Close()
}

// trashOf is where an engine moves folders that are to be removed.
func trashOf(dir string, log func(string, ...any)) *disk.Trash {
	return &disk.Trash{Dir: filepath.Join(dir, "trash"), Log: log}
}

// readBuilder takes from the builder image's labels what its lifecycle is.
func (e *Engine) readBuilder() error {
	c, err := e.opts.Builder.Image.ConfigFile()
	if err != nil {
		return err
	}
	e.launcher = c.Config.Labels["io.buildpacks.lifecycle.version"]
	if e.launcher == "" { // pack has it among what it says of the builder
		var builder struct{ Lifecycle struct{ Version string } }
		if err := json.Unmarshal([]byte(c.Config.Labels[cache.MetadataLabel]), &builder); err == nil {
			e.launcher = builder.Lifecycle.Version
		}
	}
	if e.api, err = lifecycle.PlatformAPI(c.Config.Labels["io.buildpacks.lifecycle.apis"]); err != nil {
		return app.Errorf(app.CodeUnavailable, "take a builder with a lifecycle of 0.17 or newer, or leave --builder out",
			"the builder image %s cannot be used: %w", e.opts.Builder.Ref, err)
	}
	return nil
}

const buildPrefix = "build-"

// removeLeftovers removes the directories of builds that a killed process left, and mounts in them. What cannot be removed is logged: it
// disturbs no build.
func (e *Engine) removeLeftovers() {
	if err := unmountBelow(e.opts.Dir); err != nil {
		e.opts.Log("build: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(e.opts.Dir, "apps", "*", buildPrefix+"*")) // the pattern is right
	for _, dir := range left {
		e.discard(dir)
	}
	e.trash.Empty()
}

// unmountBelow unmounts everything below dir, the deepest first. Ours live in namespaces that end with their process; this
// is for mounts that another program left.
func unmountBelow(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	lines := strings.Split(string(b), "\n")
	for i := len(lines) - 1; i >= 0; i-- { // later mounts lie on earlier ones
		f := strings.Fields(lines[i])
		if len(f) < 5 {
			continue
		}
		at := f[4]
		if s, err := strconv.Unquote(`"` + strings.ReplaceAll(at, `"`, `\"`) + `"`); err == nil {
			at = s
		}
		if strings.HasPrefix(at, dir+"/") {
			if err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
				return fmt.Errorf("unmount %s: %w", at, err)
			}
		}
	}
	return nil
}

// discard removes a directory, in the background: it may hold very many files.
func (e *Engine) discard(dir string) {
	if err := e.trash.Discard(dir); err != nil {
		e.opts.Log("build: %v", err)
	}
}

// previous returns the newest complete image of an app; "" if there is none.
func (e *Engine) previous(repository string) (string, error) {
	tags, err := e.opts.Registry.Repair(repository)
	if err != nil {
		return "", err
	}
	return lifecycle.Newest(tags), nil
}
