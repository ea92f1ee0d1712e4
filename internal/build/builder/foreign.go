package builder

import (
	"context"
	"encoding/json"
	"runtime"
	"slices"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder/cache"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func notABuilder(ref, why string) *app.Error {
	if ref == "" {
		return app.Errorf(app.CodeInternal, "make it again: gitd builder create --force", "our builder image is broken: %s", why)
	}
	return app.Errorf(app.CodeInvalidInput, "name the image of a Cloud Native Buildpacks builder with --builder", "%s is no builder: %s", ref, why)
}

// runImages returns the names of the run images that a builder's apps may stand on, the preferred one first.
func runImages(ref string, config *v1.ConfigFile) ([]string, error) {
	label := config.Config.Labels[cache.MetadataLabel]
	if label == "" {
		return nil, notABuilder(ref, "it has no label "+cache.MetadataLabel)
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
		return nil, notABuilder(ref, "its label "+cache.MetadataLabel+" cannot be read: "+err.Error())
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

// fromLayout finds the builder and its run image in an OCI layout. A run image that is not in the layout is pulled.
func fromLayout(ctx context.Context, c *cache.Cache, o Options, dir string) (img, run v1.Image, err error) {
	all, err := cache.ReadLayout(o.Ref, dir)
	if err != nil {
		return nil, nil, err
	}
	var builders []cache.LayoutImage
	for _, i := range all {
		if i.Config.Config.Labels[cache.MetadataLabel] != "" {
			builders = append(builders, i)
		}
	}
	if len(builders) == 0 {
		return nil, nil, notABuilder(o.Ref, "none of its images has the label "+cache.MetadataLabel)
	}
	if builders, err = cache.ForThisMachine(o.Ref, builders); err != nil {
		return nil, nil, err
	}
	names, err := runImages(o.Ref, builders[0].Config)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range append(slices.Clone(names), "run") {
		for _, i := range all {
			if slices.ContainsFunc(i.Names, func(have string) bool { return sameReference(have, n) }) && i.Config.Architecture == runtime.GOARCH {
				return builders[0].Image, i.Image, nil
			}
		}
	}
	if run, err = pullRunImage(ctx, c, o, names); err != nil {
		return nil, nil, err
	}
	return builders[0].Image, run, nil
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
func fromRegistry(ctx context.Context, c *cache.Cache, o Options, ref string) (img, run v1.Image, err error) {
	if img, err = c.Pull(ctx, ref, o.Force); err != nil {
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
	run, err = pullRunImage(ctx, c, o, names)
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

// pullRunImage pulls the first of the names that is available.
func pullRunImage(ctx context.Context, c *cache.Cache, o Options, names []string) (v1.Image, error) {
	var first error
	for _, n := range names {
		run, err := c.Pull(ctx, n, o.Force)
		if err == nil {
			return run, nil
		}
		if first == nil {
			first = err
		}
	}
	message, next := app.Explain(first)
	return nil, app.Errorf(app.CodeOf(first), next, "cannot pull the builder's run image: %s", message)
}
