// Package recipe says what our builder image is made of, and by what name the cache has it. The server reads it to find the image; gitd-builder
// makes it.
package recipe

import (
	"context"
	"path/filepath"
	"runtime"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/gitd-io/gitd/internal/parts"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The system that our images stand on.
const (
	DebianVersion = catalog.DebianVersion
	DebianName    = "Debian " + DebianVersion
	DebianRelease = "trixie"
)

// The versions of what stages do: raised when the code changes in a way that their keys do not show.
const (
	LayersVersion  = "1" // the stages
	builderVersion = "3" // how images are put together of them
)

// Part is a program that the builder image holds.
type Part struct {
	Path   string
	Digest string // SHA-256, hex
}

// Recipe is all that decides what our builder is made of.
type Recipe struct {
	Arch                                    string
	Base                                    v1.Image // nil to bootstrap Debian
	BaseDigest                              string
	Buildpacks, Lambda, Lifecycle, Launcher Part
}

// New looks up what our builder is made of on this machine. base is the image to stand on, "" to bootstrap Debian; with force it is pulled from its
// registry even where the cache has it. A program that is missing is an *app.Error, as is a base that cannot be used.
func New(ctx context.Context, c *cache.Cache, base string, force bool) (*Recipe, error) {
	r := &Recipe{Arch: runtime.GOARCH}
	for name, f := range map[string]*Part{parts.Buildpacks: &r.Buildpacks, parts.Lambda: &r.Lambda, parts.Lifecycle: &r.Lifecycle, parts.Launcher: &r.Launcher} {
		var err error
		if f.Path, err = parts.Path(name); err != nil {
			return nil, err
		}
		if f.Digest, err = c.DigestOf(f.Path); err != nil {
			return nil, err
		}
	}
	if base != "" {
		var err error
		if r.Base, err = c.Base(ctx, base, force); err != nil {
			return nil, err
		}
		d, err := r.Base.Digest()
		if err != nil {
			return nil, err
		}
		r.BaseDigest = d.String()
	}
	return r, nil
}

// Key names the builder that the recipe makes.
func (r *Recipe) Key() string {
	return cache.Key(LayersVersion, builderVersion, r.Arch, DebianRelease, r.BaseDigest, catalog.RunPackages, catalog.BuildPackages, Toolchains[r.Arch],
		r.Buildpacks.Digest, r.Lambda.Digest, r.Lifecycle.Digest, r.Launcher.Digest, catalog.All(), catalog.Order(), Seed())
}

// Link is where the cache has that builder.
func (r *Recipe) Link() string { return filepath.Join("builder", r.Key()) }

// Seed is what fills the Go cache, as far as it decides the content.
func Seed() []any {
	args, env := catalog.SeedGoCache(catalog.GoRoot, catalog.GoCache)
	return []any{args, env}
}
