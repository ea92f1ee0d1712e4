package server

import (
	"cmp"
	"context"
	"fmt"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build"
	"github.com/gitd-io/gitd/internal/config"
)

// engines are the build engines; the first one of a platform is its default. A further engine is a line here.
var engines = []engineKind{
	{"sandbox", config.Local, (*Server).sandboxFactory},
	{"cluster", config.Knative, (*Server).clusterFactory},
}

type engineKind struct {
	name     string          // as in --build-engine
	platform config.Platform // that its images reach
	factory  func(*Server) engineFactory
}

// engineFactory makes a build engine.
type engineFactory interface {
	// make makes or loads the builder image, and the engine that builds with it.
	make(ctx context.Context, log *app.Log) (engine, error)
	// removeCache removes what the builds of an app kept. It needs no builder image.
	removeCache(ctx context.Context, app string) error
}

// engine builds.
type engine interface {
	build.Builder
	// Expect is called when a push begins, after which a build may come in some milliseconds. It does not block.
	Expect()
	// RunImage returns where the run image is on which it builds.
	RunImage() (repository, digest string)
	// PurgeCache removes what the builds of an app kept.
	PurgeCache(ctx context.Context, app string) error
	Close() error
}

// chooseEngine returns the engine that is configured, or the platform's own.
func (o *Options) chooseEngine() (engineKind, error) {
	name, own := o.Config.Builds.Engine, ""
	for _, e := range engines {
		if e.platform != o.platform() {
			continue
		}
		if name == "" || name == e.name {
			return e, nil
		}
		own = cmp.Or(own, e.name)
	}
	return engineKind{}, app.Errorf(app.CodeInvalidInput, fmt.Sprintf("use %s, or leave --build-engine out", own),
		"the build engine %q does not exist for --platform %s", name, o.platform())
}

// builds is the engine, once there is one.
type builds struct {
	ready  chan struct{}
	engine engine
}

// Build implements build.Builder.
func (b *builds) Build(ctx context.Context, r build.Request) (*build.Result, error) {
	select {
	case <-b.ready:
	default:
		r.Log.Step("Waiting for the builder image")
		select {
		case <-b.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return b.engine.Build(ctx, r)
}

// expect tells the engine that a push has begun.
func (b *builds) expect() {
	select {
	case <-b.ready:
		b.engine.Expect()
	default:
	}
}

// RunImage implements release.RunImages.
func (b *builds) RunImage(ctx context.Context) (repository, digest string, err error) {
	select {
	case <-b.ready:
	case <-ctx.Done():
		return "", "", ctx.Err()
	}
	repository, digest = b.engine.RunImage()
	return repository, digest, nil
}

// prepareBuilds makes or loads the builder image. Until it is done, pushes wait.
func (s *Server) prepareBuilds(ctx context.Context, log *app.Log) error {
	e, err := s.factory.make(ctx, log)
	if err != nil {
		return err
	}
	s.builds.engine = e
	s.onClose(e.Close)
	close(s.builds.ready)
	return nil
}

// removeCache removes what the builds of an app kept.
func (s *Server) removeCache(ctx context.Context, name string) error {
	select {
	case <-s.builds.ready:
		return s.builds.engine.PurgeCache(ctx, name)
	default: // nothing is built yet
		return s.factory.removeCache(ctx, name)
	}
}
