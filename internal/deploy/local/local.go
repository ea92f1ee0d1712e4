// Package local is the platform on one machine: it takes the same Service as Knative and runs it by runc, with Knative's
// own code deciding on traffic and scale.
package local

import (
	"context"
	"errors"
	"net/http"

	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// Options configure a Platform.
type Options struct {
	Dir      string // Services, revisions, instances' logs; survives restarts
	Domain   string // Services answer under NAME.DOMAIN, tags under TAG-NAME.DOMAIN
	Host     *sandbox.Host
	Registry *registry.Registry
	Layers   *sandbox.Layers
	Log      func(format string, args ...any)
}

// Platform implements deploy.Platform. It is also the http.Handler that routes requests to the instances.
type Platform struct{ http.Handler }

// Open loads the Services and adopts the instances that still run; when it returns, requests are answered.
func Open(ctx context.Context, o Options) (*Platform, error) {
	return nil, errors.New("local: not written yet")
}

// Close stops deciding and leaves the instances running for the next process.
func (p *Platform) Close() error { return nil }
