package registry

import (
	"context"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Images is what gitd needs of a registry, whichever it is: *Registry or *Remote.
type Images interface {
	// Image returns an image of a repository; ErrNotFound (wrapped) where it is not there whole.
	Image(repository, digest string) (v1.Image, error)
	// Tags returns the tags of a repository that gitd put there, or was told of, and the digests that they stand for; none where there is no
	// such repository.
	Tags(repository string) (map[string]string, error)
	// AddImage stores an image under repository:tag.
	AddImage(ctx context.Context, repository, tag string, img v1.Image) error
	// Pushed records an image that another process has pushed for gitd, so that Collect removes it when it is no longer needed.
	Pushed(repository, digest string) error
	// Collect removes the unneeded images that are older than an hour and than since. Images of our own repositories that are in
	// use stay, and so do build caches of apps that need images. It returns the bytes freed, as far as they are known.
	Collect(ctx context.Context, needed Needed, since time.Time) (freed int64, err error)
	// CollectRepository does that for one repository, of which these digests are needed, and leaves to Collect what may be shared with others.
	CollectRepository(ctx context.Context, repository string, digests []string, since time.Time) error
	// DeleteRepository forgets all images of a repository.
	DeleteRepository(repository string) error
	// PushConfig is a docker config.json with which a Pod may push to these repositories and pull our own images; nil if the
	// registry asks for no credentials. host is what the Pod calls the registry.
	PushConfig(host string, repositories ...string) ([]byte, error)
	// PullConfig is one with which nodes may pull the repository and gitd's own images ("*": every repository, "": gitd's own alone);
	// nil where the registry asks for no credentials. host is what nodes call the registry.
	PullConfig(host, repository string) ([]byte, error)
}

var (
	_ Images = (*Registry)(nil)
	_ Images = (*Remote)(nil)
)

// Pushed implements Images: the registry has seen for itself what was pushed.
func (r *Registry) Pushed(_, _ string) error { return nil }
