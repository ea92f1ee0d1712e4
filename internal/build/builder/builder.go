// Package builder has the builder image: ours, which the program gitd-builder makes (package maker), and any other from a registry or an OCI
// layout.
package builder

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/sandbox"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Builder is a builder image that is ready for use on this machine.
type Builder struct {
	Ref      string   // as asked for; "" for our own
	Digest   string   // of the builder image
	Image    v1.Image // the builder image
	RunImage v1.Image // the run image that its apps stand on
	Layers   []string // the builder image's unpacked layers, bottom first
	Shared   string   // directory of unpacked layers to hand to sandbox.OpenLayers as shared: has those of builder and run image
	UID, GID int      // CNB_USER_ID, CNB_GROUP_ID of the builder image
	Env      []string // the builder image's environment

	Buildpacks []build.Buildpack // that it has
}

// Options say where from and where to.
type Options struct {
	Ref   string   // "": our own, made if need be; "oci:DIR": an OCI layout; else a registry reference
	Base  string   // base image for our own: "" bootstraps Debian; else a reference of an image with apt's packages in place
	Cache string   // default: gitd in the user's cache directory
	Force bool     // make our own again, pull others again
	Log   *app.Log // progress
}

// Ensure returns the builder, making or pulling it if need be: once per machine and content, guarded by a lock file against
// other processes. A second call takes milliseconds. The errors are *app.Error: Unavailable where something is missing here
// or out of reach, CodeInvalidInput where the reference names nothing that can be used.
//
// What is returned stays on the disk until this process ends, whatever another one removes from the cache meanwhile.
func Ensure(ctx context.Context, o Options) (*Builder, error) {
	c, err := cache.Open(o.Cache, o.Log)
	if err != nil {
		return nil, err
	}
	img, run, err := images(ctx, c, o)
	if err != nil {
		return nil, err
	}
	return ready(ctx, c, o, img, run)
}

func images(ctx context.Context, c *cache.Cache, o Options) (img, run v1.Image, err error) {
	switch dir, isLayout := strings.CutPrefix(o.Ref, "oci:"); {
	case o.Ref == "":
		return own(ctx, c, o)
	case isLayout:
		return fromLayout(ctx, c, o, dir)
	}
	return fromRegistry(ctx, c, o, o.Ref)
}

// ready checks the images and unpacks the layers that are not there yet.
func ready(ctx context.Context, c *cache.Cache, o Options, img, run v1.Image) (*Builder, error) {
	b, err := describe(o.Ref, img, run)
	if err != nil {
		return nil, err
	}
	b.Shared = c.LayersDir()
	p := cache.Start(c.Log, 2*time.Second, "Unpacking the builder's layers")
	defer p.Stop()
	layers := sandbox.OpenLayers(c.LayersDir())
	if err := c.MarkRun(run); err != nil {
		return nil, cache.DiskFull(c.Dir, err)
	}
	if b.Layers, err = c.HoldLayers(func() ([]string, error) { return layers.Ensure(ctx, img) }); err != nil {
		return nil, cache.DiskFull(c.Dir, err)
	}
	if _, err = layers.Ensure(ctx, run); err != nil {
		return nil, cache.DiskFull(c.Dir, err)
	}
	return b, nil
}

// otherBuilder is what to do about a builder image that cannot be used.
const otherBuilder = "use another builder image, or leave --builder out"

// userID reads one of the two numbers that the build runs as. Root is refused, as the Buildpacks platform specification asks.
func userID(env []string, name string) (int, error) {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			n, err := strconv.Atoi(v)
			if err != nil || n <= 0 || n > 1<<31-2 {
				return 0, app.Errorf(app.CodeInvalidInput, otherBuilder, "its %s is %q, not the number of an ordinary user", name, v)
			}
			return n, nil
		}
	}
	return 0, app.Errorf(app.CodeInvalidInput, otherBuilder, "its environment has no %s", name)
}
