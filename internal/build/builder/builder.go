// Package builder has the builder image: it makes ours, and takes any other from a registry or an OCI layout.
package builder

import (
	"context"
	"errors"

	"github.com/gitd-io/gitd/internal/app"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Builder is a builder image that is ready for use on this machine.
type Builder struct {
	Ref      string   // as asked for; "" for our own
	Digest   string   // of the builder image
	Image    v1.Image // the builder image
	RunImage v1.Image // the run image that its apps stand on
	Layers   []string // the builder image's unpacked layers, bottom first
	Shared   string   // directory of unpacked layers to hand to sandbox.OpenLayers as shared: has those of builder and run image
	UID, GID int      // CNB_USER_ID, CNB_GROUP_ID of the builder image
	Env      []string // the builder image's environment
}

// Options say where from and where to.
type Options struct {
	Ref   string   // "": our own, made if need be; "oci:DIR": an OCI layout; else a registry reference
	Base  string   // base image for our own: "" bootstraps Debian; else a reference of an image with apt's packages in place
	Cache string   // default: gitd in the user's cache directory
	Force bool     // make our own anew
	Log   *app.Log // progress
}

// Ensure returns the builder, making or pulling it if need be: once per machine and content, guarded by a lock file against
// other processes. A second call takes milliseconds.
func Ensure(ctx context.Context, o Options) (*Builder, error) {
	return nil, errors.New("builder: not written yet")
}
