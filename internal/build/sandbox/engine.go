// Package sandbox is the default build engine: detector and builder of the CNB lifecycle in one runc container, analyze,
// restore and export by the lifecycle library in a confined helper.
package sandbox

import (
	"context"
	"errors"

	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/registry"
	"github.com/gitd-io/gitd/internal/sandbox"
)

// Options configure an Engine.
type Options struct {
	Dir      string // builds under way and the apps' caches
	Host     *sandbox.Host
	Registry *registry.Registry
	Builder  *builder.Builder
}

// Engine builds in sandboxes.
type Engine struct{ opts Options }

// New returns an engine, and removes what builds of an earlier process left behind.
func New(ctx context.Context, o Options) (*Engine, error) {
	return nil, errors.New("build: not written yet")
}

// Build implements build.Builder.
func (e *Engine) Build(ctx context.Context, r build.Request) (*build.Result, error) { return nil, nil }

// PurgeCache removes the cache of an app.
func (e *Engine) PurgeCache(app string) error { return nil }
