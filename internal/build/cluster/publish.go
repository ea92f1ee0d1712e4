package cluster

import (
	"context"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/build/cluster/wire"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
	"github.com/gitd-io/gitd/internal/layer"
	"github.com/gitd-io/gitd/internal/parts"
)

// Repositories of the images that all builds need. They are "our own" to the registry.
const (
	builderRepository = "gitd/builder"
	runRepository     = "gitd/run"
)

// Published is a builder that is in the registry.
type Published struct {
	Image    string // "gitd/builder@sha256:…", without what stands before a repository
	RunImage string // likewise
	API      string // platform API version that its lifecycle and we both speak
	UID, GID int    // of the build's user

	Buildpacks []build.Buildpack // that it has
}

// Publisher is the registry that takes images: see registry.Images.
type Publisher interface {
	AddImage(ctx context.Context, repository, tag string, img v1.Image) error
}

// shared is a registry that others use as well, and that tells how far it is.
type shared interface {
	Write(ctx context.Context, repository, tag string, img v1.Image, told func(sent, total int64)) error
}

// add puts an image into the registry. One of our own keeps the newest builder alone; in another one, tags keep apart what several gitds
// put there.
func add(ctx context.Context, to Publisher, repository string, img v1.Image, digest v1.Hash, log *app.Log) error {
	remote, ok := to.(shared)
	if !ok {
		return to.AddImage(ctx, repository, "latest", img)
	}
	told := time.Now()
	return remote.Write(ctx, repository, digest.Hex[:12], img, func(sent, total int64) {
		if now := time.Now(); now.Sub(told) > 2*time.Second && total > 0 {
			told = now
			log.Detail("… %s to the registry, %s of %s", repository, app.Size(sent), app.Size(total))
		}
	})
}

// Publish puts the builder image, with gitd-pod on top, and the run image into the registry. What is there already is not sent again.
func Publish(ctx context.Context, b *builder.Builder, to Publisher, log *app.Log) (*Published, error) {
	config, err := b.Image.ConfigFile()
	if err != nil {
		return nil, err
	}
	p := &Published{UID: b.UID, GID: b.GID, Buildpacks: b.Buildpacks}
	if p.API, err = lifecycle.PlatformAPI(config.Config.Labels["io.buildpacks.lifecycle.apis"]); err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "take a builder with a lifecycle of 0.17 or newer, or leave --builder out",
			"the builder image %s cannot be used: %w", b.Ref, err)
	}
	program, err := parts.Path(parts.Pod)
	if err != nil {
		return nil, err
	}
	img, err := withProgram(b.Image, program)
	if err != nil {
		return nil, err
	}
	for _, i := range []struct {
		img        v1.Image
		repository string
		ref        *string
	}{{b.RunImage, runRepository, &p.RunImage}, {img, builderRepository, &p.Image}} {
		digest, err := i.img.Digest()
		if err != nil {
			return nil, err
		}
		if err := add(ctx, to, i.repository, i.img, digest, log); err != nil {
			return nil, err
		}
		*i.ref = i.repository + "@" + digest.String()
		log.Detail("%s@%s is in the registry", i.repository, digest.String()[:19])
	}
	return p, nil
}

// withProgram puts gitd-pod on top of a builder image.
func withProgram(img v1.Image, program string) (v1.Image, error) {
	top, err := layer.InMemory(func(w *layer.Writer) error { return w.Program(wire.Program[1:], program) })
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(img, top)
}
