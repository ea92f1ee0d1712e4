package server

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/release"
)

// site is where builds and apps run: this machine, or a cluster.
type site struct {
	platform deploy.Platform
	images   images
	prepare  func(ctx context.Context, log *app.Log) (engine, error) // the builder image, then what builds with it
	url      func(app string) string                                 // where people reach an app
	web      *http.Server                                            // takes the apps' requests; nil where they do not come through gitd
	where    func(l Listeners) string                                // where requests go, for people
}

// engine builds.
type engine interface {
	build.Builder
	// PurgeCache removes what the builds of an app kept.
	PurgeCache(ctx context.Context, app string) error
	Close() error
}

// images is the registry.
type images interface {
	release.Images
	// DeleteRepository removes all images of an app.
	DeleteRepository(repository string) error
}

// rememberPlatform notes in the data directory where its apps run, for commands while no server runs, and so that a directory of one
// platform is not served with another.
func (s *Server) rememberPlatform(ctx context.Context) error {
	before, err := platformOf(s.o.Data)
	if err != nil {
		return err
	}
	if before != nil && before.name() != s.o.Cluster.name() {
		apps, err := s.store.Apps(ctx)
		if err != nil {
			return err
		}
		if len(apps) > 0 {
			return app.Errorf(app.InvalidInput, "serve it with --platform "+before.name()+", or name another folder: --data DIR",
				"the apps in %s run on the platform %s, not on %s", s.o.Data, before.name(), s.o.Cluster.name())
		}
	}
	b, err := json.Marshal(remembered{s.o.Cluster})
	if err != nil {
		return err
	}
	return os.WriteFile(s.path(platformFile), b, 0o600)
}

// remembered is the content of the platform file.
type remembered struct {
	Cluster *Cluster `json:"cluster"` // null: this machine
}

func (r *remembered) name() string { return r.Cluster.name() }

// platformOf returns what a data directory's apps ran on the last time; nil where nothing did yet.
func platformOf(data string) (*remembered, error) {
	b, err := os.ReadFile(data + "/" + platformFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var r remembered
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, app.Errorf(app.Unavailable, "remove it: the next start writes it anew", "%s/%s cannot be read: %w", data, platformFile, err)
	}
	return &r, nil
}
