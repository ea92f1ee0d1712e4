package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxManifest is the size in bytes of the largest manifest or configuration that we read.
const maxManifest = 4 << 20

// Image reads an image from the disk, with no HTTP between. It returns ErrNotFound where the manifest, the configuration or
// a layer is missing or has another size than the manifest says. Layers are read from the disk when they are asked for.
func (r *Registry) Image(repository, digest string) (v1.Image, error) {
	dir, err := r.repository(repository)
	if err != nil {
		return nil, err
	}
	hexDigest, err := hexOf(digest)
	if err != nil {
		return nil, err
	}
	r.collecting.RLock()
	defer r.collecting.RUnlock()
	missing := func(what string) error {
		return fmt.Errorf("image %s@%s: %s is %w", repository, digest, what, ErrNotFound)
	}
	if readLink(revisionLink(dir, hexDigest)) != digest {
		return nil, missing("the manifest")
	}
	raw, err := r.readBlob(hexDigest)
	if err != nil {
		return nil, missing("the manifest")
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("image %s@%s: the manifest cannot be read: %w", repository, digest, err)
	}
	if m.MediaType.IsIndex() || m.Config.Digest.Hex == "" {
		return nil, fmt.Errorf("image %s@%s: an index of images, where one image is wanted", repository, digest)
	}
	i := &image{registry: r, manifest: m, rawManifest: raw, diffIDs: map[v1.Hash]v1.Hash{}}
	if i.rawConfig, err = r.readBlob(m.Config.Digest.Hex); err != nil {
		return nil, missing("the configuration")
	}
	c, err := v1.ParseConfigFile(bytes.NewReader(i.rawConfig))
	if err != nil {
		return nil, fmt.Errorf("image %s@%s: the configuration cannot be read: %w", repository, digest, err)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("image %s@%s: %d layers, but the configuration has %d", repository, digest, len(m.Layers), len(c.RootFS.DiffIDs))
	}
	for n, l := range m.Layers {
		hexLayer, err := hexOf(l.Digest.String())
		if err != nil {
			return nil, err
		}
		if info, err := os.Stat(r.blob(hexLayer)); err != nil || info.Size() != l.Size {
			return nil, missing("layer " + l.Digest.String())
		}
		i.diffIDs[l.Digest] = c.RootFS.DiffIDs[n]
	}
	return partial.CompressedToImage(i)
}

// Tags returns the tags of a repository and the digests that they stand for.
func (r *Registry) Tags(repository string) (map[string]string, error) {
	dir, err := r.repository(repository)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(dir, "_manifests/tags"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	tags := map[string]string{}
	for _, e := range entries {
		if d := readLink(filepath.Join(tagDir(dir, e.Name()), "current/link")); d != "" {
			tags[e.Name()] = d
		}
	}
	return tags, nil
}

// readBlob returns a small blob whose content is what its name says.
func (r *Registry) readBlob(hexDigest string) ([]byte, error) {
	if len(hexDigest) != 64 {
		return nil, fs.ErrNotExist
	}
	f, err := os.Open(r.blob(hexDigest))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxManifest {
		return nil, fmt.Errorf("registry: blob sha256:%s is larger than %d bytes, too large for a manifest or a configuration", hexDigest, maxManifest)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != hexDigest {
		return nil, fmt.Errorf("registry: the content of blob sha256:%s has changed", hexDigest)
	}
	return b, nil
}

// image is what partial.CompressedToImage needs.
type image struct {
	registry    *Registry
	manifest    *v1.Manifest
	rawManifest []byte
	rawConfig   []byte
	diffIDs     map[v1.Hash]v1.Hash
}

func (i *image) MediaType() (types.MediaType, error) { return i.manifest.MediaType, nil }
func (i *image) RawManifest() ([]byte, error)        { return i.rawManifest, nil }
func (i *image) RawConfigFile() ([]byte, error)      { return i.rawConfig, nil }

// LayerByDigest implements partial.CompressedImageCore.
func (i *image) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if h == i.manifest.Config.Digest {
		return &layer{i, i.manifest.Config, v1.Hash{}}, nil
	}
	for _, d := range i.manifest.Layers {
		if d.Digest == h {
			return &layer{i, d, i.diffIDs[h]}, nil
		}
	}
	return nil, fmt.Errorf("layer %s: %w", h, ErrNotFound)
}

type layer struct {
	image      *image
	descriptor v1.Descriptor
	diffID     v1.Hash
}

func (l *layer) Digest() (v1.Hash, error)            { return l.descriptor.Digest, nil }
func (l *layer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l *layer) Size() (int64, error)                { return l.descriptor.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.descriptor.MediaType, nil }

// Compressed opens the blob. It is an *os.File.
func (l *layer) Compressed() (io.ReadCloser, error) {
	f, err := os.Open(l.image.registry.blob(l.descriptor.Digest.Hex))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("layer %s: %w", l.descriptor.Digest, ErrNotFound)
	}
	return f, err
}
