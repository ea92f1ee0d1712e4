package builder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// metadataLabel is the label that makes an image a builder.
const metadataLabel = "io.buildpacks.builder.metadata"

func notABuilder(ref, why string) *app.Error {
	if ref == "" {
		return app.Errorf(app.CodeInternal, "make it anew with gitd builder create", "our builder image is broken: %s", why)
	}
	return app.Errorf(app.CodeInvalidInput, "name the image of a Cloud Native Buildpacks builder with --builder", "%s is no builder: %s", ref, why)
}

// runImages returns the names of the run images that a builder's apps may stand on, the preferred one first.
func runImages(ref string, config *v1.ConfigFile) ([]string, error) {
	label := config.Config.Labels[metadataLabel]
	if label == "" {
		return nil, notABuilder(ref, "it has no label "+metadataLabel)
	}
	type image struct {
		Image   string   `json:"image"`
		Mirrors []string `json:"mirrors"`
	}
	var metadata struct {
		Images []image `json:"images"`
		Stack  struct {
			RunImage image `json:"runImage"`
		} `json:"stack"`
	}
	if err := json.Unmarshal([]byte(label), &metadata); err != nil {
		return nil, notABuilder(ref, "its label "+metadataLabel+" cannot be read: "+err.Error())
	}
	var names []string
	for _, i := range append(metadata.Images, metadata.Stack.RunImage) {
		for _, n := range append([]string{i.Image}, i.Mirrors...) {
			if n != "" && !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	if len(names) == 0 {
		return nil, notABuilder(ref, "it names no run image")
	}
	return names, nil
}

// layoutImage is an image of an OCI layout, with the names that its index has for it.
type layoutImage struct {
	image  v1.Image
	config *v1.ConfigFile
	names  []string
}

// layoutImages returns all images of an OCI layout.
func layoutImages(dir string) ([]layoutImage, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	var all []layoutImage
	var walk func(index v1.ImageIndex, names []string, depth int) error
	walk = func(index v1.ImageIndex, names []string, depth int) error {
		manifest, err := index.IndexManifest()
		if err != nil {
			return err
		}
		for _, d := range manifest.Manifests {
			names := names
			for _, a := range []string{refName, "io.containerd.image.name"} {
				if n := d.Annotations[a]; n != "" {
					names = append(slices.Clone(names), n)
				}
			}
			switch {
			case d.MediaType.IsIndex() && depth < 4:
				below, err := index.ImageIndex(d.Digest)
				if err != nil {
					return err
				}
				if err := walk(below, names, depth+1); err != nil {
					return err
				}
			case d.MediaType.IsImage():
				img, err := index.Image(d.Digest)
				if err != nil {
					return err
				}
				config, err := img.ConfigFile()
				if err != nil {
					return fmt.Errorf("image %s: %w", d.Digest, err)
				}
				all = append(all, layoutImage{img, config, names})
			}
		}
		return nil
	}
	return all, walk(index, nil, 0)
}

// readLayout is layoutImages with errors in words. ref is what the person named.
func readLayout(ref, dir string) ([]layoutImage, error) {
	images, err := layoutImages(dir)
	const next = "name a folder with oci-layout, index.json and blobs: oci:DIR"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, app.Errorf(app.CodeInvalidInput, next, "there is no whole OCI layout in %s: %w", dir, err)
	case err != nil:
		return nil, app.Errorf(app.CodeInvalidInput, next, "the OCI layout in %s cannot be read: %w", dir, err)
	case len(images) == 0:
		return nil, app.Errorf(app.CodeInvalidInput, next, "%s holds no image", ref)
	}
	return images, nil
}

// forThisMachine keeps the images that can run here; it fails where there are images, and none can.
func forThisMachine(ref string, images []layoutImage) ([]layoutImage, error) {
	var kept []layoutImage
	var other []string
	for _, i := range images {
		if i.config.Architecture == runtime.GOARCH && i.config.OS == "linux" {
			kept = append(kept, i)
		} else if p := i.config.OS + "/" + i.config.Architecture; !slices.Contains(other, p) {
			other = append(other, p)
		}
	}
	if len(kept) == 0 {
		return nil, wrongPlatform(ref, strings.Join(other, ", "))
	}
	return kept, nil
}

func wrongPlatform(ref, has string) error {
	return app.Errorf(app.CodeInvalidInput, "name an image that was made for this architecture", "%s is for %s; this machine is linux/%s", ref, has, runtime.GOARCH)
}

// fromLayout finds the builder and its run image in an OCI layout. A run image that is not in the layout is pulled.
func (c *cache) fromLayout(ctx context.Context, o Options, dir string) (img, run v1.Image, err error) {
	all, err := readLayout(o.Ref, dir)
	if err != nil {
		return nil, nil, err
	}
	var builders []layoutImage
	for _, i := range all {
		if i.config.Config.Labels[metadataLabel] != "" {
			builders = append(builders, i)
		}
	}
	if len(builders) == 0 {
		return nil, nil, notABuilder(o.Ref, "none of its images has the label "+metadataLabel)
	}
	if builders, err = forThisMachine(o.Ref, builders); err != nil {
		return nil, nil, err
	}
	names, err := runImages(o.Ref, builders[0].config)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range append(slices.Clone(names), "run") {
		for _, i := range all {
			if slices.ContainsFunc(i.names, func(have string) bool { return sameReference(have, n) }) && i.config.Architecture == runtime.GOARCH {
				return builders[0].image, i.image, nil
			}
		}
	}
	if run, err = c.pullRunImage(ctx, o, names); err != nil {
		return nil, nil, err
	}
	return builders[0].image, run, nil
}

// sameReference says whether two names stand for one image: "run" and "docker.io/library/run:latest" do.
func sameReference(a, b string) bool {
	if a == b {
		return true
	}
	ra, err := name.ParseReference(a)
	if err != nil {
		return false
	}
	rb, err := name.ParseReference(b)
	return err == nil && ra.Name() == rb.Name()
}

// fromRegistry pulls the builder and its run image.
func (c *cache) fromRegistry(ctx context.Context, o Options, ref string) (img, run v1.Image, err error) {
	if img, err = c.pull(ctx, ref, o.Force); err != nil {
		return nil, nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, nil, err
	}
	names, err := runImages(ref, config)
	if err != nil {
		return nil, nil, err
	}
	if beside := runImageBeside(ref); beside != "" {
		names = append(names, beside)
	}
	run, err = c.pullRunImage(ctx, o, names)
	return img, run, err
}

// RunSuffix is what the run image's tag has after the builder's, where gitd puts both into a registry.
const RunSuffix = "-run"

// runImageBeside is the name of the run image that gitd put beside a builder; "" where that has no tag. It is found there also under another
// name of the registry than the one that the builder remembers: clusters often have two, and images get copied.
func runImageBeside(ref string) string {
	tag, err := name.NewTag(ref)
	if err != nil {
		return ""
	}
	return tag.String() + RunSuffix
}

// pullRunImage pulls the first of the names that can be had.
func (c *cache) pullRunImage(ctx context.Context, o Options, names []string) (v1.Image, error) {
	var first error
	for _, n := range names {
		run, err := c.pull(ctx, n, o.Force)
		if err == nil {
			return run, nil
		}
		if first == nil {
			first = err
		}
	}
	message, next := app.Explain(first)
	return nil, app.Errorf(app.CodeOf(first), next, "the builder's run image cannot be had: %s", message)
}

// base returns the image that our own builder is to stand on.
func (c *cache) base(ctx context.Context, o Options) (v1.Image, error) {
	dir, isLayout := strings.CutPrefix(o.Base, "oci:")
	if !isLayout {
		return c.pull(ctx, o.Base, o.Force)
	}
	images, err := readLayout(o.Base, dir)
	if err != nil {
		return nil, err
	}
	if images, err = forThisMachine(o.Base, images); err != nil {
		return nil, err
	}
	return images[0].image, nil
}

// pull returns an image of a registry, from the cache where that has what the reference stands for now. When the registry
// cannot be reached, what it stood for last time will do.
func (c *cache) pull(ctx context.Context, reference string, force bool) (v1.Image, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, app.Errorf(app.CodeInvalidInput, "name a registry reference such as registry.example/builder:1, or oci:DIR", "%q is no image reference: %w", reference, err)
	}
	link := filepath.Join("image", key(ref.Name(), runtime.GOARCH))
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH})}
	cached, source := c.pulled(link)
	if _, isDigest := ref.(name.Digest); cached != nil && isDigest && !force {
		return cached, nil
	}
	desc, err := remote.Get(ref, options...)
	if err != nil {
		worded := registryError(ctx, reference, ref, err)
		if cached != nil && !force && app.CodeOf(worded) == app.CodeUnavailable {
			c.log.Detail("%s; using the image of the last time", worded)
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

// store downloads an image into the cache.
func (c *cache) store(ctx context.Context, link, reference string, ref name.Reference, source string, img v1.Image) (v1.Image, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if cached, s := c.pulled(link); cached != nil && s == source {
		return cached, nil
	}
	dir, err := c.temp("pull")
	if err != nil {
		return nil, err
	}
	p, err := newLayout(dir)
	if err != nil {
		return nil, err
	}
	total := int64(0)
	if m, err := img.Manifest(); err == nil {
		for _, l := range m.Layers {
			total += l.Size
		}
	}
	progress := start(c.log, 0, "Pulling %s (%d MB)", reference, total>>20)
	defer progress.stop()
	during, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &maker{cache: c, now: progress}
	go m.watchSize(during, dir)
	if err := p.AppendImage(img, layout.WithAnnotations(map[string]string{refName: reference, sourceNote: source})); err != nil {
		if worded := diskFull(c.dir, err); worded != err {
			return nil, worded
		}
		return nil, registryError(ctx, reference, ref, err)
	}
	if _, err := c.put(dir, link, source); err != nil {
		return nil, diskFull(c.dir, err)
	}
	if cached, _ := c.pulled(link); cached != nil {
		c.makeRoom()
		return cached, nil
	}
	return nil, fmt.Errorf("%s is not in the cache after it was pulled", reference)
}

// pulled returns an image of the cache, and the digest that its reference stood for.
func (c *cache) pulled(link string) (v1.Image, string) {
	dir, err := filepath.EvalSymlinks(filepath.Join(c.dir, link))
	if err != nil {
		return nil, ""
	}
	if ok, err := hold(dir); err != nil || !ok {
		return nil, ""
	}
	touch(dir)
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
