package builder

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/build/builder/wire"
)

// Base returns an image to stand on: Debian with these packages, bootstrapped once per machine, or the image that Options.Base names. The
// errors are *app.Error.
func Base(ctx context.Context, o Options, packages ...string) (v1.Image, error) {
	c, err := cache.Open(o.Cache, o.Log)
	if err != nil {
		return nil, err
	}
	if o.Base != "" {
		return c.Base(ctx, o.Base, o.Force)
	}
	stage, err := run(ctx, c, wire.Request{Packages: packages, Force: o.Force})
	if err != nil {
		return nil, err
	}
	system, err := cache.ReadLayer(filepath.Join(c.Dir, stage))
	if err == nil && system == nil {
		err = errors.New("the base layer is not in the cache after it was made")
	}
	if err != nil {
		return nil, err
	}
	return cache.Append(cache.EmptyImage(runtime.GOARCH), system)
}

// Images returns our own builder and run image (made if need be), or those that Options.Ref names, without unpacking them here.
func Images(ctx context.Context, o Options) (builder, run v1.Image, err error) {
	c, err := cache.Open(o.Cache, o.Log)
	if err != nil {
		return nil, nil, err
	}
	return images(ctx, c, o)
}
