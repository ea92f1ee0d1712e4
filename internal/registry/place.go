package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"github.com/gitd-io/gitd/internal/disk"
)

// PlaceImage stores an image under repository:tag, of which the caller has the manifest and the configuration, and whose layers are here: in the
// repository itself, or in that of the image that it stands on. It returns the image's digest, and ErrNotFound where a layer is missing. When it returns, the
// image outlives a power cut, with its layers.
func (r *Registry) PlaceImage(repository, tag, base string, manifest, config []byte) (digest string, err error) {
	dir, err := r.repository(repository)
	if err != nil {
		return "", err
	}
	below, err := r.repository(base)
	if err != nil {
		return "", err
	}
	if !tagForm.MatchString(tag) {
		return "", fmt.Errorf("registry: %q is not a tag", tag)
	}
	m, err := v1.ParseManifest(bytes.NewReader(manifest))
	if err != nil {
		return "", fmt.Errorf("registry: the manifest cannot be read: %w", err)
	}
	sum := sha256.Sum256(config)
	if m.MediaType.IsIndex() || m.Config.Digest.String() != "sha256:"+hex.EncodeToString(sum[:]) || m.Config.Size != int64(len(config)) {
		return "", fmt.Errorf("registry: the manifest of %s:%s is not that of an image with this configuration", repository, tag)
	}
	if len(manifest) > maxManifest || len(config) > maxManifest {
		return "", fmt.Errorf("registry: the manifest or the configuration of %s:%s is larger than %d bytes", repository, tag, maxManifest)
	}
	r.collecting.RLock()
	defer r.collecting.RUnlock()
	var b disk.Batch
	defer b.Drop()
	for _, l := range m.Layers {
		if err := r.linkLayer(&b, dir, below, l); err != nil {
			return "", err
		}
	}
	img, err := partial.CompressedToImage(&image{registry: r, manifest: m, rawManifest: manifest, rawConfig: config})
	if err != nil {
		return "", err
	}
	if err := r.addManifest(&b, dir, tag, img); err != nil {
		return "", err
	}
	name, err := img.Digest()
	return name.String(), err
}

// linkLayer lets the repository in dir read a layer that it has, or that the one in base has. What there is of it goes to the disk with the batch, and the
// folders that may have got it by PlaceBlob.
func (r *Registry) linkLayer(b *disk.Batch, dir, base string, l v1.Descriptor) error {
	digest := l.Digest.String()
	hexDigest, err := hexOf(digest)
	if err != nil {
		return err
	}
	link := layerLink(dir, hexDigest)
	linked := readLink(link) == digest
	if !linked && readLink(layerLink(base, hexDigest)) != digest || !r.has(hexDigest, l.Size) {
		return fmt.Errorf("registry: layer %s: %w", digest, ErrNotFound)
	}
	blob := r.blob(hexDigest)
	b.Sync(blob)
	b.SyncDir(filepath.Dir(filepath.Dir(blob)), filepath.Join(r.root(), "blobs/sha256"))
	if !linked {
		return b.Add(link, 0o644, []byte(digest))
	}
	b.Sync(link)
	for d := filepath.Dir(filepath.Dir(link)); len(d) >= len(r.repositories()); d = filepath.Dir(d) {
		b.SyncDir(d)
	}
	return nil
}
