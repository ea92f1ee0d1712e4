// Package registry is the embedded OCI registry: distribution/v3 on the data directory, on a loopback port, with credentials
// for each app.
package registry

import (
	"context"
	"errors"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ErrNotFound is returned (wrapped) for an image or blob that is not in the registry.
var ErrNotFound = errors.New("not in the registry")

// RunImage is the repository of the run image. Every credential may read it.
const RunImage = "gitd/run"

// Registry serves images from a directory.
type Registry struct{}

// Open starts the registry on a free loopback port.
func Open(ctx context.Context, dir string) (*Registry, error) {
	return nil, errors.New("registry: not written yet")
}

// Host is the address that references start with: "127.0.0.1:PORT". It changes from start to start: store repository and
// digest, never a whole reference.
func (r *Registry) Host() string { return "" }

// Credentials may pull from and push to one repository. They live as long as the process.
func (r *Registry) Credentials(repository string) authn.Authenticator { return nil }

// Image reads an image from the disk, with no HTTP between. It returns ErrNotFound where the manifest, the configuration or
// a layer is missing.
func (r *Registry) Image(repository, digest string) (v1.Image, error) { return nil, ErrNotFound }

// AddImage stores an image under repository:tag; blobs that are files of an OCI layout on the same file system are linked, not copied.
func (r *Registry) AddImage(ctx context.Context, repository, tag string, img v1.Image) error {
	return nil
}

// PlaceBlob moves a file, whose digest the caller computed, into the repository.
func (r *Registry) PlaceBlob(repository, digest, file string) error { return nil }

// Collect removes all manifests that keep does not name (repository → digests) and the blobs that nothing needs any more.
// The run image stays. It returns the bytes freed. It is safe beside pushes that are under way.
func (r *Registry) Collect(ctx context.Context, keep map[string][]string) (int64, error) {
	return 0, nil
}

// Close stops serving.
func (r *Registry) Close() error { return nil }
