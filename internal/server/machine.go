package server

import (
	"context"
	"fmt"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/build/sandbox"
	"github.com/gitd-io/gitd/internal/deploy/local"
	"github.com/gitd-io/gitd/internal/registry"
	host "github.com/gitd-io/gitd/internal/sandbox"
)

// openMachine puts together what builds and runs apps on this machine.
func (s *Server) openMachine(ctx context.Context) (*site, error) {
	h, err := host.Open(ctx, host.Options{Dir: s.path("sandbox"), UIDs: s.o.UIDs, Log: s.o.Log})
	if err != nil {
		return nil, err
	}
	s.onClose(h.Close)
	images, err := registry.Open(ctx, s.path("registry"))
	if err != nil {
		return nil, err
	}
	s.onClose(images.Close)
	shared, err := builder.SharedLayers("")
	if err != nil {
		return nil, err
	}
	platform, err := local.Open(ctx, local.Options{
		Dir: s.path("platform"), Domain: s.o.Domain, Host: h, Registry: images,
		Layers: host.OpenLayers(s.path("layers"), shared), Log: s.o.Log, TrustedProxies: s.o.TrustedProxies,
	})
	if err != nil {
		return nil, err
	}
	s.onClose(platform.Close)
	return &site{
		platform: platform, images: images, web: local.NewServer(platform),
		url: func(name string) string { return machineURL(s.o, name) },
		removeCache: func(_ context.Context, name string) error {
			return sandbox.RemoveCache(s.path("builds"), name, s.o.Log)
		},
		where: func(l Listeners) string { return "http on " + l.HTTP.Addr().String() },
		prepare: func(ctx context.Context, log *app.Log) (engine, error) {
			b, err := builder.Ensure(ctx, builder.Options{Ref: s.o.Builder, Log: log})
			if err != nil {
				return nil, err
			}
			e, err := sandbox.New(ctx, sandbox.Options{Dir: s.path("builds"), Host: h, Registry: images, Builder: b, MinFree: s.o.MinFree, Log: s.o.Log})
			if err != nil {
				return nil, err
			}
			return sandboxEngine{e}, nil
		},
	}, nil
}

// machineURL is where an app on this machine answers.
func machineURL(o Options, name string) string {
	if o.HTTPPort != 0 && o.HTTPPort != 80 {
		return fmt.Sprintf("http://%s.%s:%d", name, o.Domain, o.HTTPPort)
	}
	return "http://" + name + "." + o.Domain
}

// sandboxEngine makes an engine of a sandbox's.
type sandboxEngine struct{ *sandbox.Engine }

// PurgeCache implements engine.
func (e sandboxEngine) PurgeCache(_ context.Context, app string) error {
	return e.Engine.PurgeCache(app)
}
