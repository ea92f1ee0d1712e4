package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/config"
	"github.com/gitd-io/gitd/internal/disk"
	"github.com/gitd-io/gitd/internal/pattern"
)

// remembered is the content of the platform file: where the directory's apps run, and what builds them.
type remembered struct {
	Cluster *rememberedCluster `json:"cluster"`          // null: this machine
	Engine  string             `json:"engine,omitempty"` // "": the platform's own

	SecretKey string `json:"secretKey,omitempty"` // file; "": the one in the data directory
}

type rememberedCluster struct {
	config.Cluster
	Registry config.Registry `json:"registry"`
}

func remember(c *config.Config) *remembered {
	r := &remembered{Engine: c.Builds.Engine, SecretKey: c.Server.SecretKey}
	if c.Server.Platform == config.Knative {
		r.Cluster = &rememberedCluster{c.Cluster, c.Registry}
	}
	return r
}

func (r *remembered) platform() config.Platform {
	if r.Cluster == nil {
		return config.Local
	}
	return config.Knative
}

// rememberPlatform notes in the data directory where its apps run, for commands while no server runs, and so that a directory of one
// platform is not served with another.
func (s *Server) rememberPlatform(ctx context.Context) error {
	before, err := platformOf(s.o.Config.Server.Data)
	if err != nil {
		return err
	}
	now := remember(&s.o.Config)
	if before != nil && before.platform() != now.platform() {
		apps, err := s.store.Apps(ctx)
		if err != nil {
			return err
		}
		if len(apps) > 0 {
			return app.Errorf(app.CodeInvalidInput, fmt.Sprintf("serve it with --platform %s, or name another folder: --data DIR", before.platform()),
				"the apps in %s run on the platform %s, not on %s", s.o.Config.Server.Data, before.platform(), now.platform())
		}
	}
	b, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if was, err := os.ReadFile(s.path(platformFile)); err == nil && bytes.Equal(was, b) {
		return nil // nothing is written, so that a start succeeds on a full disk
	}
	return disk.ReplaceBytes(s.path(platformFile), 0o600, b)
}

// platformOf returns what a data directory's apps ran on the last time; nil where nothing did yet.
func platformOf(data string) (*remembered, error) {
	b, err := os.ReadFile(filepath.Join(data, platformFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var r remembered
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "remove it: the next start writes it again", "%s/%s cannot be read: %w", data, platformFile, err)
	}
	return &r, nil
}

// offlineOptions are those of a server that is opened for one command, where none runs on the data directory. before may be nil.
func offlineOptions(data string, before *remembered, log func(format string, args ...any)) Options {
	o := Options{Log: log}
	c := &o.Config
	c.Server = config.Server{Data: data, Domain: "localhost", Platform: config.Local}
	if before != nil {
		c.Server.Platform, c.Builds.Engine, c.Server.SecretKey = before.platform(), before.Engine, before.SecretKey
		if before.Cluster != nil {
			c.Cluster, c.Registry = before.Cluster.Cluster, before.Cluster.Registry
		}
	}
	return o
}

// instance returns what this data directory's objects on a cluster are labelled with. It stays the same as long as the directory exists.
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
var instanceForm = pattern.New(`^[a-z0-9]{1,20}$`)
