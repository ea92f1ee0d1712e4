package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/deploy"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/release"
)

// site is where builds and apps run: this machine, or a cluster.
type site struct {
	platform deploy.Platform
	images   images
	prepare  func(ctx context.Context, log *app.Log) (engine, error) // the builder image, then what builds with it
	// removeCache removes what the builds of an app kept, while there is no engine yet
	removeCache func(ctx context.Context, app string) error
	url         func(app string) string  // where people reach an app
	web         *http.Server             // takes the apps' requests; nil where they do not come through gitd
	where       func(l Listeners) string // where requests go, for people
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
			return app.Errorf(app.CodeInvalidInput, "serve it with --platform "+before.name()+", or name another folder: --data DIR",
				"the apps in %s run on the platform %s, not on %s", s.o.Data, before.name(), s.o.Cluster.name())
		}
	}
	b, err := json.Marshal(remembered{s.o.Cluster})
	if err != nil {
		return err
	}
	if before != nil && before.name() == s.o.Cluster.name() {
		if was, err := os.ReadFile(s.path(platformFile)); err == nil && bytes.Equal(was, b) {
			return nil
		}
	}
	return disk.ReplaceBytes(s.path(platformFile), 0o600, b)
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
		return nil, app.Errorf(app.CodeUnavailable, "remove it: the next start writes it anew", "%s/%s cannot be read: %w", data, platformFile, err)
	}
	return &r, nil
}

// instance returns what this data directory's objects on a cluster are labelled with. It stays the same as long as there is the directory.
func (s *Server) instance() (string, error) {
	b, err := os.ReadFile(s.path(instanceFile))
	if id := strings.TrimSpace(string(b)); err == nil && instanceForm.MatchString(id) {
		return id, nil
	} else if err == nil {
		return "", app.Errorf(app.CodeUnavailable, "write back what it said: kubectl get ksvc -A -L gitd.io/instance shows it", "%s cannot be understood: %q", s.path(instanceFile), app.Clip(id, 20))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := strings.ToLower(rand.Text()[:10])
	return id, disk.ReplaceBytes(s.path(instanceFile), 0o600, []byte(id+"\n"))
}

// instanceForm is a label's value, and the end of an object's name.
var instanceForm = regexp.MustCompile(`^[a-z0-9]{1,20}$`)
