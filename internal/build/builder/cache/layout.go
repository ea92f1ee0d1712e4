package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// MetadataLabel is the label that makes an image a builder.
const MetadataLabel = "io.buildpacks.builder.metadata"

// LayoutImage is an image of an OCI layout, with the names that its index has for it.
type LayoutImage struct {
	Image  v1.Image
	Config *v1.ConfigFile
	Names  []string
}

// layoutImages returns all images of an OCI layout.
func layoutImages(dir string) ([]LayoutImage, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	var all []LayoutImage
	var walk func(index v1.ImageIndex, names []string, depth int) error
	walk = func(index v1.ImageIndex, names []string, depth int) error {
		manifest, err := index.IndexManifest()
		if err != nil {
			return err
		}
		for _, d := range manifest.Manifests {
			names := names
			for _, a := range []string{RefName, "io.containerd.image.name"} {
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
				all = append(all, LayoutImage{img, config, names})
			}
		}
		return nil
	}
	return all, walk(index, nil, 0)
}

// ReadLayout is layoutImages with errors in words. ref is what the person named.
func ReadLayout(ref, dir string) ([]LayoutImage, error) {
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

// ForThisMachine keeps the images that can run here; it fails where there are images, and none can.
func ForThisMachine(ref string, images []LayoutImage) ([]LayoutImage, error) {
	var kept []LayoutImage
	var other []string
	for _, i := range images {
		if i.Config.Architecture == runtime.GOARCH && i.Config.OS == "linux" {
			kept = append(kept, i)
		} else if p := i.Config.OS + "/" + i.Config.Architecture; !slices.Contains(other, p) {
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
