package registry

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"

	"github.com/gitd-io/gitd/internal/disk"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Repair forgets the images of a repository of which a part is missing, so that the next push of the same image is not told
// that all is there already. It returns the tags that are left, with their digests.
func (r *Registry) Repair(repository string) (map[string]string, error) {
	dir, err := r.repository(repository)
	if err != nil {
		return nil, err
	}
	revisions, err := entries(filepath.Join(dir, "_manifests/revisions/sha256"))
	if err != nil {
		return nil, err
	}
	gone := map[string]bool{}
	for _, hexDigest := range revisions {
		if _, err := r.Image(repository, "sha256:"+hexDigest); !errors.Is(err, ErrNotFound) {
			continue
		}
		gone["sha256:"+hexDigest] = true
		if err := r.forget(dir, hexDigest); err != nil {
			return nil, err
		}
	}
	tags, err := r.Tags(repository)
	if err != nil {
		return nil, err
	}
	for tag, digest := range tags {
		if gone[digest] {
			delete(tags, tag)
			if err := disk.RemoveAll(tagDir(dir, tag)); err != nil {
				return nil, err
			}
		}
	}
	return tags, nil
}

// forget removes a manifest from a repository, and those of its blobs that have the wrong size.
func (r *Registry) forget(dir, hexDigest string) error {
	r.collecting.RLock()
	defer r.collecting.RUnlock()
	if raw, err := r.readBlob(hexDigest); err != nil {
		_ = os.Remove(r.blob(hexDigest))
	} else if m, err := v1.ParseManifest(bytes.NewReader(raw)); err == nil {
		for _, d := range append(m.Layers, m.Config) {
			h, err := hexOf(d.Digest.String())
			if err != nil {
				continue
			}
			if info, err := os.Stat(r.blob(h)); err == nil && info.Size() != d.Size {
				_ = os.Remove(r.blob(h))
			}
		}
	}
	return disk.RemoveAll(filepath.Dir(revisionLink(dir, hexDigest)))
}
