package cache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Base returns the image that our own builder is to stand on: of a registry, or of an OCI layout (oci:DIR).
func (c *Cache) Base(ctx context.Context, reference string, force bool) (v1.Image, error) {
	dir, isLayout := strings.CutPrefix(reference, "oci:")
	if !isLayout {
		return c.Pull(ctx, reference, force)
	}
	images, err := ReadLayout(reference, dir)
	if err != nil {
		return nil, err
	}
	if images, err = ForThisMachine(reference, images); err != nil {
		return nil, err
	}
	return images[0].Image, nil
}

// Pull returns an image of a registry, from the cache where that has what the reference stands for now. When the registry
// cannot be reached, what it stood for last time will do.
func (c *Cache) Pull(ctx context.Context, reference string, force bool) (v1.Image, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, app.Errorf(app.CodeInvalidInput, "name a registry reference such as registry.example/builder:1, or oci:DIR", "%q is no image reference: %w", reference, err)
	}
	link := filepath.Join("image", Key(ref.Name(), runtime.GOARCH))
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH})}
	cached, source := c.pulled(link)
	if _, isDigest := ref.(name.Digest); cached != nil && isDigest && !force {
		return cached, nil
	}
	desc, err := remote.Get(ref, options...)
	if err != nil {
		worded := registryError(ctx, reference, ref, err)
		if cached != nil && !force && app.CodeOf(worded) == app.CodeUnavailable {
			c.Log.Detail("%s; using the image of the last time", worded)
			return cached, nil
		}
		return nil, worded
	}
	if cached != nil && !force && source == desc.Digest.String() {
		return cached, nil
	}
	img, err := desc.Image()
	if err != nil {
		if desc.MediaType.IsIndex() {
			return nil, wrongPlatform(reference, "other platforms")
		}
		return nil, registryError(ctx, reference, ref, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, registryError(ctx, reference, ref, err)
	}
	if config.Architecture != runtime.GOARCH || config.OS != "linux" {
		return nil, wrongPlatform(reference, config.OS+"/"+config.Architecture)
	}
	return c.store(ctx, link, reference, ref, desc.Digest.String(), img)
}

// sourceNote is the annotation with the digest that a tag stood for when its image was pulled; that of an index where there are several platforms.
const sourceNote = "io.gitd.source.digest"

// store downloads an image into the
func (c *Cache) store(ctx context.Context, link, reference string, ref name.Reference, source string, img v1.Image) (v1.Image, error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if cached, s := c.pulled(link); cached != nil && s == source {
		return cached, nil
	}
	dir, err := c.Temp("pull")
	if err != nil {
		return nil, err
	}
	p, err := NewLayout(dir)
	if err != nil {
		return nil, err
	}
	total := int64(0)
	if m, err := img.Manifest(); err == nil {
		for _, l := range m.Layers {
			total += l.Size
		}
	}
	progress := Start(c.Log, 0, "Pulling %s (%s)", reference, app.Size(total))
	defer progress.Stop()
	during, cancel := context.WithCancel(ctx)
	defer cancel()
	go progress.WatchSize(during, dir)
	if err := p.AppendImage(img, layout.WithAnnotations(map[string]string{RefName: reference, sourceNote: source})); err != nil {
		if worded := DiskFull(c.Dir, err); worded != err {
			return nil, worded
		}
		return nil, registryError(ctx, reference, ref, err)
	}
	if _, err := c.Put(dir, link, source); err != nil {
		return nil, DiskFull(c.Dir, err)
	}
	if cached, _ := c.pulled(link); cached != nil {
		c.MakeRoom()
		return cached, nil
	}
	return nil, fmt.Errorf("%s is not in the cache after it was pulled", reference)
}

// pulled returns an image of the cache, and the digest that its reference stood for.
func (c *Cache) pulled(link string) (v1.Image, string) {
	dir, err := filepath.EvalSymlinks(filepath.Join(c.Dir, link))
	if err != nil {
		return nil, ""
	}
	if ok, err := Hold(dir); err != nil || !ok {
		return nil, ""
	}
	Touch(dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, ""
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		return nil, ""
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return nil, ""
	}
	return img, manifest.Manifests[0].Annotations[sourceNote]
}

// registryError words what a registry, or the way to it, answered.
func registryError(ctx context.Context, reference string, ref name.Reference, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	host := ref.Context().RegistryStr()
	var answer *transport.Error
	var network net.Error
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return app.Errorf(app.CodeInvalidInput, "check the name and the tag", "there is no image %s in the registry %s: %w", reference, host, err)
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return app.Errorf(app.CodeInvalidInput, "check the name, and log in for root as docker login does (~/.docker/config.json)", "the registry %s does not give out %s: %w", host, reference, err)
	case errors.As(err, &answer):
		return app.Errorf(app.CodeUnavailable, "try again later", "the registry %s failed: %w", host, err)
	case errors.As(err, &network) || errors.Is(err, os.ErrDeadlineExceeded):
		return app.Errorf(app.CodeUnavailable, "check the network and the proxy variables (https_proxy); oci:DIR takes a builder from a folder", "the registry %s cannot be reached: %w", host, err)
	}
	return app.Errorf(app.CodeUnavailable, "try again later; oci:DIR takes a builder from a folder", "%s cannot be pulled: %w", reference, err)
}
