package builder

import (
	"context"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Base returns an image to stand on: Debian with these packages, bootstrapped once per machine, or the image that Options.Base names. The
// errors are *app.Error.
//
// Making runs functions of this program in processes of their own: main must call reexec.Init.
func Base(ctx context.Context, o Options, packages ...string) (v1.Image, error) {
	c, err := openCache(o)
	if err != nil {
		return nil, err
	}
	if o.Base != "" {
		return c.base(ctx, o)
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m := &maker{cache: c, recipe: &recipe{arch: runtime.GOARCH}, force: o.Force}
	system, err := m.bootstrap(ctx, "base", "Bootstrapping "+debianName, packages)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, m.words(err, "bootstrapping "+debianName)
	}
	return m.append(emptyImage(runtime.GOARCH), system)
}

// Images returns our own builder and run image (made if need be), or those that Options.Ref names, without unpacking them here.
func Images(ctx context.Context, o Options) (builder, run v1.Image, err error) {
	c, err := openCache(o)
	if err != nil {
		return nil, nil, err
	}
	return c.images(ctx, o)
}
