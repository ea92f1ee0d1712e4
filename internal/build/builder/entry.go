package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	ociManifest = types.OCIManifestSchema1
	ociConfig   = types.OCIConfigJSON
)

// refName is the annotation that names an image in an OCI layout.
const refName = "org.opencontainers.image.ref.name"

// The names of the images of an entry. Our builder image names its run image gitd/run.
const (
	builderName = "gitd/builder"
	runName     = "gitd/run"
)

var errNoEntry = errors.New("not in the cache")

// entry returns the builder and the run image of an entry of the cache.
func (c *cache) entry(link string) (img, run v1.Image, err error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(c.dir, link))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, errNoEntry
	}
	if err != nil {
		return nil, nil, err
	}
	if ok, err := hold(dir); err != nil {
		return nil, nil, err
	} else if !ok {
		return nil, nil, errNoEntry
	}
	touch(dir)
	return readEntry(dir)
}

func readEntry(dir string) (img, run v1.Image, err error) {
	images, err := namedImages(dir)
	if err != nil {
		return nil, nil, err
	}
	img, run = images[builderName], images[runName]
	if img == nil || run == nil {
		return nil, nil, errNoEntry
	}
	return img, run, nil
}

func namedImages(dir string) (map[string]v1.Image, error) {
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
		if name := d.Annotations[refName]; name != "" && d.MediaType.IsImage() {
			if images[name], err = index.Image(d.Digest); err != nil {
				return nil, err
			}
		}
	}
	return images, nil
}

// newLayout makes an empty OCI layout.
func newLayout(dir string) (layout.Path, error) {
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return "", err
	}
	return p, os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755)
}

// addImage adds an image under a name. The blobs of our own layers are linked: the stages and all the builders that are made of them share
// one file.
func addImage(p layout.Path, img v1.Image, name string) error {
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
	return p.AppendImage(img, layout.WithAnnotations(map[string]string{refName: name}))
}

// blobStore lets the registry that pack publishes to work on the blobs of an OCI layout: what is there need not be sent.
type blobStore struct{ dir string }

func (s blobStore) file(h v1.Hash) string { return filepath.Join(s.dir, "blobs", h.Algorithm, h.Hex) }

func mkdir(dir string) string {
	_ = os.MkdirAll(dir, 0o755) // what uses it fails in words
	return dir
}
