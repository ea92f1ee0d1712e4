package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// RefName is the annotation that names an image in an OCI layout.
const RefName = "org.opencontainers.image.ref.name"

// The names of the images of an entry. Our builder image names its run image gitd/run.
const (
	BuilderName = "gitd/builder"
	RunName     = "gitd/run"
)

// ErrNoEntry is returned for an entry that is not there, or not whole.
var ErrNoEntry = errors.New("not in the cache")

// Entry returns the builder and the run image of an entry of the cache.
func (c *Cache) Entry(link string) (img, run v1.Image, err error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(c.Dir, link))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, ErrNoEntry
	}
	if err != nil {
		return nil, nil, err
	}
	if ok, err := Hold(dir); err != nil {
		return nil, nil, err
	} else if !ok {
		return nil, nil, ErrNoEntry
	}
	Touch(dir)
	return ReadEntry(dir)
}

// ReadEntry returns the builder and the run image of an OCI layout.
func ReadEntry(dir string) (img, run v1.Image, err error) {
	images, err := NamedImages(dir)
	if err != nil {
		return nil, nil, err
	}
	img, run = images[BuilderName], images[RunName]
	if img == nil || run == nil {
		return nil, nil, ErrNoEntry
	}
	return img, run, nil
}

// NamedImages returns the images of an OCI layout by their names.
func NamedImages(dir string) (map[string]v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	images := map[string]v1.Image{}
	for _, d := range manifest.Manifests {
		if name := d.Annotations[RefName]; name != "" && d.MediaType.IsImage() {
			if images[name], err = index.Image(d.Digest); err != nil {
				return nil, err
			}
		}
	}
	return images, nil
}

// NewLayout makes an empty OCI layout.
func NewLayout(dir string) (layout.Path, error) {
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return "", err
	}
	return p, os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755)
}

// AddImage adds an image under a name. The blobs of our own layers are linked: the stages and all the builders that are made of them share
// one file.
func AddImage(p layout.Path, img v1.Image, name string) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return err
		}
		r, err := l.Compressed()
		if err != nil {
			return err
		}
		if f, ok := r.(*os.File); ok {
			err = os.Link(f.Name(), filepath.Join(string(p), "blobs", digest.Algorithm, digest.Hex))
			if errors.Is(err, fs.ErrExist) {
				err = nil
			}
		}
		r.Close()
		if err != nil && !errors.Is(err, fs.ErrPermission) { // AppendImage copies what is not there
			return fmt.Errorf("link layer %s: %w", digest, err)
		}
	}
	return p.AppendImage(img, layout.WithAnnotations(map[string]string{RefName: name}))
}
